/**
 * One WebAssembly instance and what drives it.
 *
 * The module does nothing by itself: somebody calls `advance` when frames or socket calls have given it work, or when its
 * next deadline has come. Work is done in a microtask after the calls that caused it, so that what a turn of the event
 * loop writes goes out together; after {@link TURN_BUDGET} of such work in one turn the rest waits for a task of its own, so
 * that timers, rendering and input are never starved. One timer is armed for the next deadline. Nothing polls.
 */

import { holdProgram, macrotask, reportUncaught } from "./clock.js";
import { EngineError, SocketError } from "./errors.js";
import type { LazyModule } from "./module.js";
import { FAILURE } from "./names.js";
import { type Field, fieldsOf, recordsOf, type Why } from "./records.js";
import type { Clock, Engine } from "./types.js";
import type { Bindings } from "./wasm/ethertab_bindings.js";

/** Milliseconds of work in one turn of the event loop. */
const TURN_BUDGET = 8;
/** setTimeout takes a longer delay for none. */
const LONGEST_DELAY = 2 ** 31 - 1;
/** Marks the event words that are about an external port. */
const PORT_EVENT = 0x8000_0000;
/** Frames in batches begin at multiples of this. */
const ALIGNMENT = 4;

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

/** Where the buffers are that frames, bytes and numbers cross in, and how long those are that are written here. */
interface Buffers {
  ingress: number;
  ingressCapacity: number;
  egress: number;
  events: number;
  given: number;
  givenCapacity: number;
}

type EightNumbers = [number, number, number, number, number, number, number, number];
type Wake = "asleep" | "microtask" | "macrotask" | "pumping";

/** See the module's comment. */
export class EngineCore implements Engine {
  readonly clock: Clock;
  /** Where its gateways have their services from; null for the package's own file. */
  readonly services: LazyModule | null;
  /** Where the bytes of one call are: what is sent goes there, what is received comes from there. */
  readonly scratch: number;
  readonly scratchCapacity: number;
  readonly closed: Promise<void>;
  readonly #wasm: Bindings;
  readonly #memory: WebAssembly.Memory;
  readonly #origin: number;
  readonly #sinks = new Map<number, Sink>();
  /** Those of the sinks that keep no program from its end. */
  readonly #background = new Set<number>();
  readonly #ports = new Map<number, FrameSink>();
  readonly #dependents = new Set<Dependent>();
  readonly #observers = new Set<() => void>();
  readonly #buffers: Buffers;
  #staged = 0;
  #view: Uint8Array<ArrayBuffer>;
  #events = new Uint32Array(0);
  #now = 0;
  #wake: Wake = "asleep";
  #again = false;
  #turnBegan: number | null = null;
  #timer: unknown = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #holders = 0;
  #over: Error | null = null;
  #settleClosed: { resolve: () => void; reject: (error: Error) => void };

  constructor(
    bindings: Bindings,
    memory: WebAssembly.Memory,
    services: LazyModule | null,
    clock: Clock,
    poolBytes: number,
    seed: readonly [high: number, low: number],
  ) {
    this.clock = clock;
    this.services = services;
    this.#wasm = bindings;
    this.#origin = clock.now();
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
    this.#view = new Uint8Array(memory.buffer as ArrayBuffer);
    const { promise, resolve, reject } = deferred<void>();
    this.closed = promise;
    this.#settleClosed = { resolve, reject };
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
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

  /** All of the module's memory. Good until the next call into the module, which may move it. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#view.buffer !== this.#memory.buffer) {
      this.#view = new Uint8Array(this.#memory.buffer as ArrayBuffer);
    }
    return this.#view;
  }

  /** Microseconds since this engine was made, never going back. */
  now(): number {
    const now = Math.floor((this.clock.now() - this.#origin) * 1_000);
    if (now > this.#now) this.#now = now;
    return this.#now;
  }

  /** A point in the engine's time as milliseconds since 1970. */
  wallTime(micros: number): number {
    return Date.now() - (this.now() - micros) / 1_000;
  }

  /**
   * One call into the module. A trap ends this engine, and a failure becomes the SocketError or RangeError that it stands for, with
   * what was attempted in front of its message.
   */
  call<T>(operation: (wasm: Bindings, now: number) => T, attempt?: string): T {
    if (this.#over !== null) throw this.#over;
    let result: T;
    try {
      result = operation(this.#wasm, this.now());
    } catch (error) {
      throw this.#translate(error, attempt);
    }
    if (result === FAILED) throw this.#failure(attempt);
    return result;
  }

  /** Writes what the next call is given: addresses and settings, one behind the other. Returns how many numbers the last of them has. */
  give(...numbers: ArrayLike<number>[]): number {
    const { given, givenCapacity } = this.#buffers;
    const room = new Float64Array(this.#memory.buffer, given, givenCapacity);
    let at = 0;
    for (const some of numbers) {
      room.set(some, at);
      at += some.length;
    }
    return numbers.at(-1)?.length ?? 0;
  }

  /** A call that takes settings and tells all of them as they are then. */
  exchange(
    values: Float64Array,
    operation: (wasm: Bindings, now: number, count: number) => number,
  ): Float64Array<ArrayBuffer> {
    const count = this.call((wasm, now) => operation(wasm, now, this.give(values)));
    return new Float64Array(this.#memory.buffer as ArrayBuffer, this.#buffers.given, count).slice();
  }

  /** The numbers that a call tells; good until the next one. */
  numbers(operation: (wasm: Bindings, now: number) => number): Float64Array {
    return this.#told(this.call(operation));
  }

  #told(count: number): Float64Array {
    return new Float64Array(this.#memory.buffer, this.#wasm.told(), count);
  }

  /** A call that tells records, as objects; see {@link call}. */
  records<T>(fields: readonly Field[], operation: (wasm: Bindings, now: number) => number): T[] {
    return this.#recordsOf(fields, this.call(operation));
  }

  /** A call that tells one record or none. */
  record<T>(
    fields: readonly Field[],
    operation: (wasm: Bindings, now: number) => number,
  ): T | null {
    return this.records<T>(fields, operation)[0] ?? null;
  }

  #recordsOf<T>(fields: readonly Field[], count: number): T[] {
    if (count === 0) return [];
    const bytes = this.bytes;
    return recordsOf<T>(fields, this.#told(count), (at, length) => bytes.subarray(at, at + length));
  }

  /** A copy of the first bytes of the scratch memory. */
  scratchBytes(length: number): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(this.scratch, this.scratch + length);
  }

  #translate(error: unknown, attempt: string | undefined): unknown {
    if (error instanceof WebAssembly.RuntimeError) return this.#trap(error);
    // An address that was to be given is none.
    if (error instanceof RangeError && attempt !== undefined) {
      return new RangeError(`${attempt}: ${error.message}`);
    }
    return error;
  }

  /** Why the call that was attempted last has failed. */
  #failure(attempt: string | undefined): Error {
    const [told] = this.#recordsOf<{ why: Why }>(failure, FAILURE_NUMBERS);
    if (told === undefined) return new EngineError("the module does not tell why a call failed");
    const { code, text }: { code: string; text: string } = told.why;
    const message = attempt === undefined ? text : `${attempt}: ${text}`;
    return code === "EINVAL" ? new RangeError(message) : new SocketError(told.why.code, message);
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
      ...this.#sinks.values(),
      ...this.#ports.values(),
      ...this.#dependents,
    ];
    this.#sinks.clear();
    this.#ports.clear();
    this.#dependents.clear();
    for (const dependent of told) guarded(() => dependent.onEngineOver(error));
  }

  // Who is told of what.

  addSink(socket: number, sink: Sink): void {
    this.#sinks.set(socket, sink);
    this.hold();
  }

  removeSink(socket: number): void {
    if (!this.#sinks.delete(socket)) return;
    if (!this.#background.delete(socket)) this.release();
    // The module gives the number again after it was called the next time.
    this.wake();
  }

  /** A socket that the package has for itself keeps no program from its end. */
  runInBackground(socket: number): void {
    if (!this.#sinks.has(socket) || this.#background.has(socket)) return;
    this.#background.add(socket);
    this.release();
  }

  /** An interface, too, is told of by a number; it keeps no program from its end. */
  addInterface(events: number, sink: Sink): void {
    this.#sinks.set(events, sink);
  }

  removeInterface(events: number): void {
    this.#sinks.delete(events);
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
    writeU32(this.bytes, at, frame.byteLength);
    this.bytes.set(frame, at + ALIGNMENT);
  }

  /** Brings a batch into the network that another engine's `takeFrames` gave. */
  receiveBatch(port: number, batch: Uint8Array): void {
    const at = this.#stage(port, batch.byteLength);
    // Only now, since staging may have moved the memory.
    this.bytes.set(batch, at);
  }

  #stage(port: number, length: number): number {
    const needed = 2 * ALIGNMENT + length;
    if (needed > this.#buffers.ingressCapacity) {
      throw new EngineError(`${length} bytes of frames are too many at once`);
    }
    if (this.#staged + needed > this.#buffers.ingressCapacity) this.#flushIngress();
    const at = this.#buffers.ingress + this.#staged;
    writeU32(this.bytes, at, port);
    writeU32(this.bytes, at + ALIGNMENT, length);
    this.#staged += needed;
    this.wake();
    return at + 2 * ALIGNMENT;
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
  takeFrames(port: number, most = 0xffff_ffff): Uint8Array<ArrayBuffer> {
    return this.call((wasm, now) => {
      const length = wasm.take_frames(now, port, most);
      const at = this.#buffers.egress;
      return this.bytes.subarray(at, at + length);
    });
  }

  // The pump.

  /** There is work: do it soon. */
  wake(): void {
    if (this.#wake === "pumping") this.#again = true;
    else if (this.#wake === "asleep" && this.#over === null) this.#schedule();
  }

  #schedule(): void {
    if (this.#turnBegan === null) {
      this.#turnBegan = performance.now();
      macrotask(() => {
        this.#turnBegan = null;
      });
    } else if (performance.now() - this.#turnBegan > TURN_BUDGET) {
      this.#wake = "macrotask";
      macrotask(() => this.#pump());
      return;
    }
    this.#wake = "microtask";
    queueMicrotask(() => this.#pump());
  }

  #pump(): void {
    this.#wake = "asleep";
    if (this.#over !== null) return;
    this.#wake = "pumping";
    const until = performance.now() + TURN_BUDGET;
    try {
      do {
        this.#again = false;
        this.#flushIngress();
        this.#dispatch(this.call((wasm, now) => wasm.advance(now)));
      } while (this.#again && performance.now() < until);
    } catch (error) {
      // A trap has told everybody already.
      if (this.#over === null) reportUncaught(error);
    } finally {
      this.#wake = "asleep";
    }
    if (this.#over !== null) return;
    for (const observer of this.#observers) guarded(observer);
    if (this.#again) this.#schedule();
    else this.#arm();
  }

  /** Tells the sinks of `count` events, each two words: what it is about, and its signals. */
  #dispatch(count: number): void {
    if (count === 0) return;
    const words = 2 * count;
    if (this.#events.length < words) this.#events = new Uint32Array(words);
    // Copied, since a sink may call into the module.
    this.#events.set(new Uint32Array(this.#memory.buffer, this.#buffers.events, words));
    for (let index = 0; index < words; index += 2) {
      const about = this.#events[index] ?? 0;
      if (about >= PORT_EVENT) {
        const port = this.#ports.get(about - PORT_EVENT);
        if (port !== undefined) guarded(() => port.onFrames());
      } else {
        const sink = this.#sinks.get(about);
        const signals = this.#events[index + 1] ?? 0;
        if (sink !== undefined) guarded(() => sink.onSignals(signals));
      }
    }
    if (this.#over === null) this.#again = true;
  }

  #arm(): void {
    const deadline = this.call((wasm) => wasm.next_timeout());
    if (deadline === Number.POSITIVE_INFINITY) {
      this.#disarm();
      return;
    }
    // A timer that fires early costs a look; one that fires late costs a round trip.
    if (this.#timerAt <= deadline) return;
    this.#disarm();
    const delay = Math.ceil((deadline - this.now()) / 1_000);
    if (delay <= 0) {
      this.#wake = "macrotask";
      macrotask(() => this.#pump());
      return;
    }
    this.#timerAt = deadline;
    this.#timer = this.clock.setTimer(
      () => {
        this.#timer = null;
        this.#timerAt = Number.POSITIVE_INFINITY;
        if (this.#wake === "asleep") this.#pump();
      },
      Math.min(delay, LONGEST_DELAY),
    );
    holdProgram(this.#timer, this.#holders > 0);
  }

  #disarm(): void {
    if (this.#timer !== null) this.clock.clearTimer(this.#timer);
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }
}

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

function readU32(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
