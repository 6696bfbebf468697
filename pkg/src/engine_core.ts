/**
 * One WebAssembly instance and what drives it.
 *
 * The module does nothing by itself: somebody calls `advance` when frames or socket calls have given it work, or when its
 * next deadline has come. Work is done in a microtask after the calls that caused it, so that what a turn of the event
 * loop writes goes out together; after {@link TURN_BUDGET} of such work in one turn the rest waits for a task of its own, so
 * that timers, rendering and input are never starved. One timer is armed for the next deadline. Nothing polls.
 */

import { holdProgram, macrotask, monotonic, realClock, reportUncaught } from "./clock.js";
import { EngineError, SocketError, type SocketErrorOptions } from "./errors.js";
import type { LazyModule } from "./module.js";
import { FAILURE } from "./names.js";
import type { ModuleMemory } from "./platform.js";
import { type Field, fieldsOf, recordOf, recordsOf, type Why } from "./records.js";
import type { Clock, Engine } from "./types.js";
import type { Bindings } from "./wasm/ethertab_bindings.js";

/** Milliseconds of work in one turn of the event loop. */
const TURN_BUDGET = 8;
/** setTimeout takes a longer delay for none. */
const LONGEST_DELAY = 2 ** 31 - 1;
/** Most events that one call of `advance` tells. */
const MOST_EVENTS = 1_024;
/** Marks the event words that are about an external port. */
const PORT_EVENT = 0x8000_0000;
/** Frames in batches begin at multiples of this. */
const ALIGNMENT = 4;
/** What the longest frame takes in a batch, with the lengths around it: more than it needs. */
const LONGEST_IN_BATCH = 66_000;
/** Bytes that are copied one by one: a view of the source takes longer. */
const SHORT = 64;
/** The same for batches of frames, which are copied by the word. */
const SHORT_BATCH = 512;
/** As many frames as fit. */
const ALL = 0xffff_ffff;
/** Bytes of a number and of a word in the module's memory. */
const DOUBLE = 8;
const WORD = 4;

/** What a call returns that has failed. */
const FAILED = -(2 ** 31);
const failure = fieldsOf(FAILURE);
const FAILURE_NUMBERS = 10;

/** Gets what happens at one socket. */
export interface Sink {
  /** Bits of `Signals` in the core crate, merged since the last call. */
  onSignals(signals: number): void;
  /** The engine is over; nothing of it can be called any more. */
  onEngineOver(error: Error): void;
}

/** Gets told that frames wait to leave the engine by an external port. */
export interface FrameSink {
  onFrames(): void;
  onEngineOver(error: Error): void;
}

/** Ends with the engine. */
export interface Dependent {
  onEngineOver(error: Error): void;
}

/** What the module exports, as much as is needed beside its bindings. */
type Exports = Pick<
  ReturnType<Bindings["initSync"]>,
  "memory" | "__wbindgen_malloc" | "__wbindgen_free"
>;

/** Where the buffers are that frames, bytes and numbers cross in, and how long those are that are written here. */
interface Buffers {
  ingress: number;
  ingressCapacity: number;
  egress: number;
  events: number;
  given: number;
  givenCapacity: number;
}

/** What only an error needs; a function where it is not worth making for each call. */
type Given<T> = T | (() => T);
/** What a call attempts, for its error's message. */
type Attempt = Given<string>;
type EightNumbers = [number, number, number, number, number, number, number, number];
/** The ends that an error of a call names. */
export type Ends = Pick<SocketErrorOptions, "localAddress" | "remoteAddress">;
type Wake = "asleep" | "microtask" | "macrotask" | "pumping";

/** See the module's comment. */
export class EngineCore implements Engine {
  readonly clock: Clock;
  /** Where its gateways have their services from; null for the package's own file. */
  readonly services: LazyModule | null;
  /** Where its sockets have TLS from; null for the package's own file. */
  readonly tls: LazyModule | null;
  /** Fills what its TLS draws at random, in a world; null for the platform's randomness. */
  random: ((bytes: Uint8Array) => void) | null = null;
  /** Where the bytes of one call are: what is sent goes there, what is received comes from there. */
  readonly scratch: number;
  readonly scratchCapacity: number;
  readonly closed: Promise<void>;
  readonly #wasm: Bindings;
  readonly #memory: ModuleMemory;
  readonly #exports: Exports;
  readonly #origin: number;
  /** By number, which the module keeps small. A map that changes all the time would keep what it has forgotten from young collections. */
  readonly #sinks: (Sink | undefined)[] = [];
  /** Those of the sinks that keep no program from its end. */
  readonly #background = new Set<number>();
  readonly #ports = new Map<number, FrameSink>();
  readonly #dependents = new Set<Dependent>();
  readonly #observers = new Set<() => void>();
  readonly #buffers: Buffers;
  #staged = 0;
  /** All of the memory, as bytes and as numbers. */
  #view: Uint8Array<ArrayBuffer>;
  #doubles: Float64Array<ArrayBuffer>;
  #words: Uint32Array<ArrayBuffer>;
  #events: number[] = [];
  readonly #bytesAt = (at: number, length: number): Uint8Array =>
    this.#view.subarray(at, at + length);
  #now = 0;
  #wake: Wake = "asleep";
  #again = false;
  /** Whether the pump has to see whether there is work. */
  #looks = false;
  #news = 0;
  #turnBegan: number | null = null;
  readonly #pumpSoon = (): void => {
    leader = this;
    try {
      this.#pump(this.now());
    } finally {
      leader = null;
      for (let next = followers.shift(); next !== undefined; next = followers.shift()) {
        next.#pump(next.#nowOf(this));
      }
    }
  };
  readonly #turnEnds = (): void => {
    this.#turnBegan = null;
    if (this.#wake !== "asleep" || this.#over !== null) return;
    try {
      this.#arm(this.ask(nextTimeout));
    } catch (error) {
      // A trap has told everybody already.
      if (this.#over === null) reportUncaught(error);
    }
  };
  /** What its clock calls when the module has something to do: that the program is told of anything then is among the {@link news}. */
  readonly onDeadline = (): void => {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (this.#wake === "asleep") this.#pump(this.now());
  };
  #timer: unknown = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #holders = 0;
  #over: Error | null = null;
  #settleClosed: { resolve: () => void; reject: (error: Error) => void };

  constructor(
    bindings: Bindings,
    exports: Exports,
    { services, tls }: { services: LazyModule | null; tls: LazyModule | null },
    clock: Clock,
    poolBytes: number,
    seed: readonly [high: number, low: number],
  ) {
    this.clock = clock;
    this.services = services;
    this.tls = tls;
    this.#wasm = bindings;
    this.#origin = clock.now();
    const { memory } = exports;
    this.#exports = exports;
    this.#memory = memory;
    const at = bindings.create(poolBytes, ...seed);
    const [
      scratch,
      scratchCapacity,
      ingress,
      ingressCapacity,
      egress,
      events,
      given,
      givenCapacity,
    ] = new Uint32Array(memory.buffer, at, 8) as unknown as EightNumbers;
    this.scratch = scratch;
    this.scratchCapacity = scratchCapacity;
    this.#buffers = { ingress, ingressCapacity, egress, events, given, givenCapacity };
    if ((ingress | egress) % WORD !== 0) throw new EngineError("buffers are not aligned");
    this.#view = new Uint8Array(memory.buffer as ArrayBuffer);
    this.#doubles = new Float64Array(this.#view.buffer);
    this.#words = new Uint32Array(this.#view.buffer);
    const { promise, resolve, reject } = deferred<void>();
    this.closed = promise;
    this.#settleClosed = { resolve, reject };
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Makes room for so many bytes beside the payload memory, in one piece. Nothing is written, and so no page of them taken. */
  reserve(bytes: number): void {
    const { __wbindgen_malloc: allocate, __wbindgen_free: free } = this.#exports;
    free(allocate(bytes, ALIGNMENT), bytes, ALIGNMENT);
  }

  get blocksInUse(): number {
    return this.call((wasm) => wasm.blocks_in_use());
  }

  close(): void {
    if (this.#over !== null) return;
    this.#end(new SocketError("ABORT_ERR", "the engine was closed"));
    this.#settleClosed.resolve();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The engine's end, or null while it runs. */
  get over(): Error | null {
    return this.#over;
  }

  /** Changes when somebody was told of something, and so may go on: a socket, an interface, an observer. */
  get news(): number {
    return this.#news;
  }

  /** All of the module's memory. Good until the next call into the module, which may move it. */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.#follow();
    return this.#view;
  }

  /** Memory that has grown is another buffer, and the arrays over the old one are empty. */
  #follow(): void {
    if (this.#view.length !== 0) return;
    const buffer = this.#memory.buffer as ArrayBuffer;
    this.#view = new Uint8Array(buffer);
    this.#doubles = new Float64Array(buffer);
    this.#words = new Uint32Array(buffer);
  }

  /** Microseconds since this engine was made, never going back. */
  now(): number {
    const now = Math.round((this.clock.now() - this.#origin) * 1_000);
    if (now > this.#now) this.#now = now;
    return this.#now;
  }

  /** The time that another engine has just read, as this one's. */
  #nowOf(other: EngineCore): number {
    if (this.clock !== other.clock) return this.now();
    const now = other.#now + Math.round((other.#origin - this.#origin) * 1_000);
    if (now > this.#now) this.#now = now;
    return this.#now;
  }

  /** A point in the engine's time as milliseconds since 1970. */
  wallTime(micros: number): number {
    return this.date() - (this.now() - micros) / 1_000;
  }

  /** Milliseconds since 1970. */
  date(): number {
    return this.clock.date?.() ?? Date.now();
  }

  /**
   * One call into the module. A trap ends this engine, and a failure becomes the SocketError or RangeError that it stands for, with
   * what was attempted in front of its message, and between which ends.
   */
  call<T>(operation: (wasm: Bindings, now: number) => T, attempt?: Attempt, ends?: Given<Ends>): T {
    if (this.#over !== null) throw this.#over;
    let result: T;
    try {
      result = operation(this.#wasm, this.now());
    } catch (error) {
      throw this.#translate(error, attempt);
    }
    if (result === FAILED) throw this.#failure(attempt, ends);
    return result;
  }

  /**
   * As {@link call}, for what does not depend on the time, or does what it causes in the next pump: the time, which takes a while to
   * read, is the one that was read last.
   */
  ask<T>(operation: (wasm: Bindings, lately: number) => T): T {
    if (this.#over !== null) throw this.#over;
    let result: T;
    try {
      result = operation(this.#wasm, this.#now);
    } catch (error) {
      throw this.#translate(error, undefined);
    }
    if (result === FAILED) throw this.#failure(undefined, undefined);
    return result;
  }

  /** Writes what the next call is given: addresses and settings, one behind the other. Returns how many numbers the last of them has. */
  give(...numbers: ArrayLike<number>[]): number {
    this.#follow();
    const { given, givenCapacity } = this.#buffers;
    let at = given / DOUBLE;
    let count = 0;
    for (const some of numbers) {
      count = some.length;
      if (at + count > given / DOUBLE + givenCapacity) {
        throw new EngineError(`a call is given more than ${givenCapacity} numbers`);
      }
      // Most are addresses of four numbers, for which `set` takes longer.
      for (let place = 0; place < count; place++) this.#doubles[at + place] = some[place] as number;
      at += count;
    }
    return count;
  }

  /** A call that takes settings and tells all of them as they are then. */
  exchange(
    values: Float64Array,
    operation: (wasm: Bindings, now: number, count: number) => number,
  ): Float64Array<ArrayBuffer> {
    const count = this.call((wasm, now) => operation(wasm, now, this.give(values)));
    this.#follow();
    const from = this.#buffers.given / DOUBLE;
    return this.#doubles.slice(from, from + count);
  }

  /** The numbers that a call tells; good until the next one. */
  numbers(operation: (wasm: Bindings) => number): Float64Array {
    const count = this.ask(operation);
    const from = this.#told();
    return this.#doubles.subarray(from, from + count);
  }

  /** The place of what the last call told among the memory's numbers. */
  #told(): number {
    const at = this.#wasm.told() / DOUBLE;
    this.#follow();
    return at;
  }

  /** A call that tells records, as objects; see {@link ask}. */
  records<T>(fields: readonly Field[], operation: (wasm: Bindings) => number): T[] {
    return this.#recordsOf(fields, this.ask(operation));
  }

  /** A call that tells one record or none. */
  record<T>(fields: readonly Field[], operation: (wasm: Bindings) => number): T | null {
    const count = this.ask(operation);
    if (count === 0) return null;
    const at = this.#told();
    return recordOf(fields, this.#doubles, at, this.#bytesAt) as T;
  }

  #recordsOf<T>(fields: readonly Field[], count: number): T[] {
    if (count === 0) return [];
    const from = this.#told();
    return recordsOf<T>(fields, this.#doubles.subarray(from, from + count), this.#bytesAt);
  }

  // What sockets do all the time, without the function that `ask` is given.

  /** Moves what a connection has received to the scratch memory, at most so many bytes; returns what the module's `recv` does. */
  receive(socket: number, most: number): number {
    if (this.#over !== null) throw this.#over;
    try {
      return this.#wasm.recv(this.#now, socket, most);
    } catch (error) {
      throw this.#translate(error, undefined);
    }
  }

  /** Gives a connection bytes to send, no more than the scratch memory holds; returns what the module's `send` does. */
  send(socket: number, bytes: Uint8Array): number {
    if (this.#over !== null) throw this.#over;
    this.bytes.set(bytes, this.scratch);
    try {
      return this.#wasm.send(this.#now, socket, bytes.byteLength);
    } catch (error) {
      throw this.#translate(error, undefined);
    }
  }

  /** Copies the first bytes of the scratch memory. */
  copyScratch(length: number, into: Uint8Array): void {
    const { bytes, scratch } = this;
    if (length > SHORT) {
      into.set(bytes.subarray(scratch, scratch + length));
      return;
    }
    for (let at = 0; at < length; at++) into[at] = bytes[scratch + at] as number;
  }

  /** A copy of the first bytes of the scratch memory, as an array of its own. */
  scratchBytes(length: number): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(this.scratch, this.scratch + length);
  }

  #translate(error: unknown, attempt: Attempt | undefined): unknown {
    if (error instanceof WebAssembly.RuntimeError) return this.#trap(error);
    // An address that was to be given is none.
    if (error instanceof RangeError && attempt !== undefined) {
      return new RangeError(`${made(attempt)}: ${error.message}`);
    }
    return error;
  }

  /** Why the call that was attempted last has failed. */
  #failure(attempt: Attempt | undefined, ends: Given<Ends> | undefined): Error {
    const [told] = this.#recordsOf<{ why: Why }>(failure, FAILURE_NUMBERS);
    if (told === undefined) return new EngineError("the module does not tell why a call failed");
    const { code, text }: { code: string; text: string } = told.why;
    const message = attempt === undefined ? text : `${made(attempt)}: ${text}`;
    return code === "EINVAL"
      ? new RangeError(message)
      : new SocketError(told.why.code, message, ends && made(ends));
  }

  #trap(cause: Error): EngineError {
    const error = new EngineError(`the WebAssembly module trapped: ${cause.message}`, { cause });
    if (this.#over === null) {
      this.#end(error);
      this.#settleClosed.reject(error);
    }
    return error;
  }

  #end(error: Error): void {
    this.#over = error;
    this.#disarm();
    const told: Dependent[] = [
      ...this.#sinks.filter((sink) => sink !== undefined),
      ...this.#ports.values(),
      ...this.#dependents,
    ];
    this.#sinks.length = 0;
    this.#ports.clear();
    this.#dependents.clear();
    for (const dependent of told) guarded(() => dependent.onEngineOver(error));
  }

  // Who is told of what.

  addSink(socket: number, sink: Sink): void {
    this.#sinks[socket] = sink;
    this.hold();
  }

  /** Somebody else is told of the socket from now on. */
  replaceSink(socket: number, sink: Sink): void {
    if (this.#sinks[socket] !== undefined) this.#sinks[socket] = sink;
  }

  removeSink(socket: number): void {
    if (this.#sinks[socket] === undefined) return;
    this.#sinks[socket] = undefined;
    if (this.#background.size === 0 || !this.#background.delete(socket)) this.release();
    // The module gives the number again after it was called the next time.
    this.wake();
  }

  /** A socket that the package has for itself keeps no program from its end; with false, it is somebody's now. */
  runInBackground(socket: number, background = true): void {
    if (this.#sinks[socket] === undefined || this.#background.has(socket) === background) return;
    if (background) {
      this.#background.add(socket);
      this.release();
    } else {
      this.#background.delete(socket);
      this.hold();
    }
  }

  /** An interface, too, is told of by a number; it keeps no program from its end. */
  addInterface(events: number, sink: Sink): void {
    this.#sinks[events] = sink;
  }

  removeInterface(events: number): void {
    this.#sinks[events] = undefined;
  }

  addPort(port: number, sink: FrameSink): void {
    this.#ports.set(port, sink);
  }

  /** Nobody is told of the port any more, and the frames that it brought are in the network: its number can go. */
  removePort(port: number): void {
    this.#ports.delete(port);
    if (this.#over === null) this.#flushIngress();
  }

  addDependent(dependent: Dependent): void {
    this.#dependents.add(dependent);
  }

  removeDependent(dependent: Dependent): void {
    this.#dependents.delete(dependent);
  }

  /** Calls `observer` whenever frames may have moved. */
  addObserver(observer: () => void): void {
    this.#observers.add(observer);
  }

  removeObserver(observer: () => void): void {
    this.#observers.delete(observer);
  }

  /** The program must not end while a deadline is awaited, until `release`. */
  hold(): void {
    this.#holders += 1;
    if (this.#holders === 1) holdProgram(this.#timer, true);
  }

  /** Undoes one `hold`. */
  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) holdProgram(this.#timer, false);
  }

  // Frames.

  /** Brings one frame into the network; it is copied at once and looked at in the next microtask. */
  receiveFrame(port: number, frame: Uint8Array): void {
    const padded = (frame.byteLength + ALIGNMENT - 1) & -ALIGNMENT;
    const at = this.#stage(port, ALIGNMENT + padded);
    this.wake();
    writeU32(this.bytes, at, frame.byteLength);
    this.bytes.set(frame, at + ALIGNMENT);
  }

  /** Brings a batch into the network that another engine's `takeFrames` gave. */
  receiveBatch(port: number, batch: Uint8Array): void {
    const at = this.#stage(port, batch.byteLength);
    this.wake();
    // Only now, since staging may have moved the memory.
    this.bytes.set(batch, at);
  }

  /** Brings what waits at an external port into the network of another engine, as one batch. Returns whether frames may have stayed for want of room. */
  passFrames(port: number, to: EngineCore, at: number): boolean {
    const length = this.#take(port, ALL);
    if (length > 0) {
      const into = to.#stage(at, length);
      to.#wakeAfter(this);
      this.#follow();
      const from = this.#buffers.egress;
      if (length > SHORT_BATCH) to.bytes.set(this.#view.subarray(from, from + length), into);
      else copyWords(this.#words, from / WORD, to.#words, into / WORD, length / WORD);
    }
    return length + LONGEST_IN_BATCH > this.#buffers.ingressCapacity;
  }

  #stage(port: number, length: number): number {
    const needed = 2 * ALIGNMENT + length;
    if (needed > this.#buffers.ingressCapacity) {
      throw new EngineError(`${length} bytes of frames are too many at once`);
    }
    if (this.#staged + needed > this.#buffers.ingressCapacity) this.#flushIngress();
    const at = this.#buffers.ingress + this.#staged;
    this.#follow();
    this.#words[at / WORD] = port;
    this.#words[at / WORD + 1] = length;
    this.#staged += needed;
    return at + 2 * ALIGNMENT;
  }

  /** Sends frames that were brought on their way, before something of the network goes. */
  sendStaged(): void {
    this.#flushIngress();
    this.call((wasm, now) => wasm.send_waiting(now));
  }

  #flushIngress(): void {
    const staged = this.#staged;
    if (staged === 0) return;
    this.#staged = 0;
    this.call((wasm, now) => wasm.receive_staged(now, staged));
  }

  /**
   * Takes up to `most` frames that wait at an external port, as one batch: each frame has its length in 32 bits before
   * it and begins at a multiple of four. The array is good until the next call into the module.
   */
  takeFrames(port: number, most = ALL): Uint8Array<ArrayBuffer> {
    const length = this.#take(port, most);
    const at = this.#buffers.egress;
    return this.bytes.subarray(at, at + length);
  }

  /** Moves frames to the egress buffer; returns the batch's length. */
  #take(port: number, most: number): number {
    if (this.#over !== null) throw this.#over;
    try {
      // Frames leave when the engine was last told the time, which is when they were made.
      return this.#wasm.take_frames(this.#now, port, most);
    } catch (error) {
      throw this.#translate(error, undefined);
    }
  }

  /** Whether a batch that `takeFrames` gave may have left frames behind for want of room. */
  mayHaveLeft(batch: Uint8Array): boolean {
    return batch.byteLength + LONGEST_IN_BATCH > this.#buffers.ingressCapacity;
  }

  // The pump.

  /** There is work: do it soon. */
  wake(): void {
    if (this.#wake === "pumping") this.#again = true;
    else if (this.#wake === "asleep" && this.#over === null) this.#schedule();
  }

  /**
   * As {@link wake}, for frames of another engine. They are looked at as soon as that has told everybody, without a microtask and a look at the
   * clock of their own; what they cause in their turn takes one.
   */
  #wakeAfter(other: EngineCore): void {
    if (leader !== other || this.#wake !== "asleep" || !this.#isFree()) this.wake();
    else {
      this.#wake = "microtask";
      followers.push(this);
    }
  }

  /** As {@link wake}, after a call that may have given no work. */
  wakeIfDue(): void {
    if (this.#wake === "pumping") this.#looks = true;
    else if (this.#wake === "asleep" && this.#isDue()) this.wake();
  }

  #schedule(): void {
    if (this.clock.defer !== undefined) {
      this.#wake = "microtask";
      this.clock.defer(this.#pumpSoon);
      return;
    }
    if (this.#turnBegan === null) {
      this.#turnBegan = this.#spent(this.now());
      macrotask(this.#turnEnds);
    } else if (!this.#isFree()) {
      this.#wake = "macrotask";
      macrotask(this.#pumpSoon);
      return;
    }
    this.#wake = "microtask";
    // A microtask without what Node does for each that is queued by itself. It throws nothing.
    done.then(this.#pumpSoon);
  }

  /** Whether this turn has begun and has time left for work. */
  #isFree(): boolean {
    return this.#turnBegan !== null && this.#spent(this.#now) - this.#turnBegan <= TURN_BUDGET;
  }

  /** The time that work is measured by, in milliseconds: the engine's, just read, if that is real. */
  #spent(now: number): number {
    return this.clock === realClock ? now / 1_000 : monotonic();
  }

  #pump(began: number): void {
    this.#wake = "asleep";
    if (this.#over !== null) return;
    this.#wake = "pumping";
    const isBounded = this.clock.defer === undefined;
    const until = isBounded ? this.#spent(began) + TURN_BUDGET : Number.POSITIVE_INFINITY;
    // At the end of the turn the timer is seen to, which cannot fire before.
    const isArmedLater = this.#turnBegan !== null && this.clock === realClock;
    let deadline = Number.POSITIVE_INFINITY;
    let now = began;
    try {
      for (;;) {
        this.#again = false;
        this.#looks = false;
        this.#dispatch(this.#advance(now));
        if (!this.#again && (this.#looks || !isArmedLater)) {
          deadline = this.ask(nextTimeout);
          this.#again = this.#looks && deadline <= this.#now;
        }
        const goesOn = this.#again && this.#over === null;
        if (!goesOn || (isBounded && this.#spent(this.#now) >= until)) break;
        now = this.now();
      }
    } catch (error) {
      // A trap has told everybody already.
      if (this.#over === null) reportUncaught(error);
    } finally {
      this.#wake = "asleep";
    }
    if (this.#over !== null) return;
    if (this.#observers.size > 0) {
      for (const observer of this.#observers) {
        this.#news += 1;
        guarded(observer);
      }
      // An observer may have found a trap, or closed the engine; or have given it work.
      if (this.#over !== null) return;
      if (!isArmedLater) deadline = this.ask(nextTimeout);
    }
    if (this.#again) this.#schedule();
    else if (!isArmedLater) this.#arm(deadline);
  }

  /** Takes in the frames that were brought, and does what is due. Returns how many events there are. */
  #advance(now: number): number {
    const staged = this.#staged;
    this.#staged = 0;
    try {
      if (staged > 0) this.#wasm.receive_staged(now, staged);
      return this.#wasm.advance(now);
    } catch (error) {
      throw this.#translate(error, undefined);
    }
  }

  /** Tells the sinks of `count` events, each two words: what it is about, and its signals. */
  #dispatch(count: number): void {
    if (count === 0) return;
    this.#follow();
    const from = this.#buffers.events / WORD;
    const events = this.#events;
    // Copied, since a sink may call into the module.
    for (let index = 0; index < 2 * count; index++) {
      events[index] = this.#words[from + index] as number;
    }
    for (let index = 0; index < 2 * count; index += 2) {
      const about = events[index] as number;
      try {
        if (about >= PORT_EVENT) this.#ports.get(about - PORT_EVENT)?.onFrames();
        else {
          this.#news += 1;
          this.#sinks[about]?.onSignals(events[index + 1] as number);
        }
      } catch (error) {
        reportUncaught(error);
      }
    }
    // Who was told wakes the engine if that gave it work; what did not fit is told by the next call.
    if (count >= MOST_EVENTS && this.#over === null) this.#again = true;
  }

  /** Whether there is work now. */
  #isDue(): boolean {
    return this.#over === null && this.ask(nextTimeout) <= this.#now;
  }

  #arm(deadline: number): void {
    if (deadline === Number.POSITIVE_INFINITY) {
      this.#disarm();
      return;
    }
    // A timer that fires early costs a look; one that fires late costs a round trip.
    if (this.#timerAt <= deadline) return;
    this.#disarm();
    const delay = (deadline - this.now()) / 1_000;
    if (delay <= 0 && this.clock.defer !== undefined) {
      this.#schedule();
      return;
    }
    if (delay <= 0) {
      this.#wake = "macrotask";
      macrotask(this.#pumpSoon);
      return;
    }
    this.#timerAt = deadline;
    this.#timer = this.clock.setTimer(this.onDeadline, Math.min(delay, LONGEST_DELAY));
    holdProgram(this.#timer, this.#holders > 0);
  }

  #disarm(): void {
    if (this.#timer !== null) this.clock.clearTimer(this.#timer);
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }
}

function made<T extends string | object>(given: Given<T>): T {
  return typeof given === "function" ? given() : given;
}

const done = Promise.resolve();

/** The engine that works in a microtask or task of its own just now, and those that it has brought frames. */
let leader: EngineCore | null = null;
const followers: EngineCore[] = [];

const nextTimeout = (wasm: Bindings): number => wasm.next_timeout();

/** Runs what may call the application; what that throws is reported and stops nothing here. */
export function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    reportUncaught(error);
  }
}

/** A promise and its two ends. A rejection that nobody waits for is not an unhandled one. */
export function deferred<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** Calls `visit` with each frame of a batch, as a view into it. */
export function eachFrame(
  batch: Uint8Array<ArrayBuffer>,
  visit: (frame: Uint8Array<ArrayBuffer>) => void,
): void {
  for (let at = 0; at + ALIGNMENT <= batch.length; ) {
    const length = readU32(batch, at);
    visit(batch.subarray(at + ALIGNMENT, at + ALIGNMENT + length));
    at += ALIGNMENT + ((length + ALIGNMENT - 1) & -ALIGNMENT);
  }
}

/** A batch of frames, as {@link eachFrame} reads it. */
export function packFrames(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const padded = (length: number): number => (length + ALIGNMENT - 1) & -ALIGNMENT;
  const length = frames.reduce((sum, frame) => sum + ALIGNMENT + padded(frame.byteLength), 0);
  const batch = new Uint8Array(length);
  let at = 0;
  for (const frame of frames) {
    writeU32(batch, at, frame.byteLength);
    batch.set(frame, at + ALIGNMENT);
    at += ALIGNMENT + padded(frame.byteLength);
  }
  return batch;
}

function copyWords(
  from: Uint32Array,
  fromAt: number,
  into: Uint32Array,
  intoAt: number,
  count: number,
): void {
  for (let at = 0; at < count; at++) into[intoAt + at] = from[fromAt + at] as number;
}

function readU32(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
