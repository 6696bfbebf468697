/** TCP connections: the layer without streams, and the promises that say how a connection fares. */

import * as check from "./arguments.js";
import { macrotask, microtask } from "./clock.js";
import { type Ends, type EngineCore, guarded } from "./engine_core.js";
import { SocketError, type SocketErrorCode, withEnds } from "./errors.js";
import type { Members } from "./members.js";
import { CLOSE_REASON, CONNECTION, CONNECTION_END } from "./names.js";
import { Outcome } from "./outcome.js";
import type { BufferSource } from "./platform.js";
import { fieldsOf, type Why } from "./records.js";
import { type Restable, RestingSocket, restNever, restSoon } from "./resting.js";
import { readableOf, writableOf } from "./socket_streams.js";
import { tcpSettings, tcpValues } from "./tcp_options.js";
import { upgradeOf } from "./tls/upgrade.js";
import type {
  ConnectionInfo,
  Socket,
  SocketAddress,
  SocketInfo,
  StartTlsOptions,
  TcpOptions,
  TcpSettings,
} from "./types.js";
import type { Bindings } from "./wasm/ethertab_bindings.js";

/** The bits of `Signals` in the core crate. */
export const Signal = {
  connected: 1,
  readable: 2,
  writable: 4,
  peerClosed: 8,
  closed: 16,
  acceptable: 32,
  error: 64,
} as const;

const READ_SIGNALS = Signal.readable | Signal.peerClosed | Signal.closed;
const WRITE_SIGNALS = Signal.writable | Signal.connected | Signal.closed;

/** Bytes that are copied without asking whether there is room for them. */
const SHORT = 1_024;

/** What `recv` and `send` of the module return instead of a count. */
const WOULD_BLOCK = -1;
const SHUT_DOWN = -2;

const INFO = fieldsOf(CONNECTION);
const END = fieldsOf(CONNECTION_END);
const REASON = fieldsOf(CLOSE_REASON);

/** The connections that the module tells of. */
export function connectionsOf(
  engine: EngineCore,
  operation: (wasm: Bindings) => number,
): ConnectionInfo[] {
  return engine.records<ConnectionInfo>(INFO, operation);
}

/** Why a connection is over, null for a good end; null as a whole while it is not over. */
export function closeReason(engine: EngineCore, id: number): { why: Why | null } | null {
  return engine.record(REASON, (wasm) => wasm.close_reason(id));
}

/** No connection has this number. */
const NO_CONNECTION = -1;

type Phase = "connecting" | "open" | "over";

/** What a connecting or accepted socket starts with. */
export interface SocketStart {
  /** The connection's number, or why there is none; a promise while the host's addresses are looked up and tried. */
  id: number | Error | Promise<number>;
  /** Ends the promise. */
  giveUp?: AbortController;
  remote: SocketAddress;
  allowHalfOpen: boolean;
  signal: AbortSignal | null;
  /** This end of a connection that is open already; null for one that is to be opened. */
  local: SocketAddress | null;
  /** Makes a socket with TLS of what this one was; null where that was not asked for. */
  upgrade: ((begin: Successor, options: StartTlsOptions | undefined) => Socket) | null;
  /** The stack's sockets, among which it is until it has let go of its connection. */
  members: Members<Restable | RestingSocket>;
}

/** Makes the socket that has the connection from now on. */
export type Successor = () => SocketImpl;

/** See {@link Socket}. */
export class SocketImpl implements Socket, Restable {
  place = -1;
  listedAt = -1;
  readonly remote: SocketAddress;
  readonly secureTransport: "off" | "starttls";
  readonly allowHalfOpen: boolean;
  #onready: ((socket: Socket) => void) | null = null;
  /** What is in its place while nothing waits on it. */
  #resting: RestingSocket | null = null;
  readonly #engine: EngineCore;
  readonly #start: SocketStart;
  #id = NO_CONNECTION;
  /** Settings that wait for the connection. */
  #wanted: Float64Array[] = [];
  readonly #opening = new Outcome<SocketInfo>();
  readonly #closing = new Outcome<void>();
  #phase: Phase = "connecting";
  #local: SocketAddress | null = null;
  #error: Error | null = null;
  /** Whether `close` has ended it, and what that was called with. */
  #isDismissed = false;
  #reason: unknown = undefined;
  /** Whether the end of the peer's stream was read. */
  #ended = false;
  #finSent = false;
  /** Whether the engine will tell before there is anything to read, bytes or their end. */
  #isDrained = false;
  /**
   * Of what the engine has told this socket: of nothing, as of what came before the connection was its own; of bytes, and so not of their end yet; or of
   * the end, perhaps.
   */
  #told: "nothing" | "bytes" | "end" = "nothing";
  /** Whether another socket has the connection. */
  #isHandedOver = false;
  #onAbort: (() => void) | null = null;
  #readable: ReturnType<typeof readableOf> | null = null;
  #writable: ReturnType<typeof writableOf> | null = null;

  constructor(engine: EngineCore, start: SocketStart) {
    this.#engine = engine;
    this.#start = start;
    this.remote = start.remote;
    this.allowHalfOpen = start.allowHalfOpen;
    this.secureTransport = start.upgrade === null ? "off" : "starttls";
    if (start.id instanceof Error) {
      this.#finish(start.id);
      return;
    }
    this.#watch(start.signal);
    if (start.id instanceof Promise) {
      start.id.then(
        (id) => this.#adopt(id),
        (error) => this.#finish(withEnds(error, this.#ends())),
      );
      return;
    }
    this.#id = start.id;
    engine.addSink(start.id, this);
    if (start.local !== null) {
      this.#open(start.local);
      // What happened before it was accepted was told to nobody.
      this.#checkEnd();
    }
  }

  get upgraded(): boolean {
    return this.#isHandedOver;
  }

  get opened(): Promise<SocketInfo> {
    return this.#opening.promise;
  }

  get closed(): Promise<void> {
    this.hold();
    return this.#closing.promise;
  }

  get onready(): ((socket: Socket) => void) | null {
    return this.#onready;
  }

  set onready(onready: ((socket: Socket) => void) | null) {
    this.#onready = onready;
    if (onready !== null) this.hold();
  }

  // Who holds it.

  /** Something waits on the socket: it must not be collected before that has come. */
  hold(): void {
    const resting = this.#resting;
    if (resting === null) return;
    this.#resting = null;
    resting.end();
    this.#start.members.add(this);
    this.#engine.replaceSink(this.#id, this);
  }

  restIfIdle(): void {
    const isIdle =
      this.#phase === "open" &&
      this.#resting === null &&
      this.#onready === null &&
      !this.#closing.isAwaited &&
      !this.#readable?.holds &&
      !this.#writable?.holds;
    if (!isIdle) return;
    this.#resting = new RestingSocket(this.#engine, this.#id, this, this.#start.members);
  }

  /** What waited on the socket has come. */
  #rest(): void {
    // When memory is collected is no matter of a clock that goes by itself.
    if (this.#engine.clock.defer !== undefined) return;
    if (this.listedAt < 0 && this.#resting === null && this.#phase === "open") restSoon(this);
  }

  #watch(signal: AbortSignal | null): void {
    if (signal === null || this.#phase === "over") return;
    // A signal may live for longer than the sockets that it is given to.
    const socket = new WeakRef(this);
    this.#onAbort = () => socket.deref()?.abort(signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Keeps no program from its end any more; with false it does again. */
  runInBackground(background = true): void {
    if (!this.#hasNone) this.#engine.runInBackground(this.#id, background);
  }

  /** A connection to one of the host's addresses is open. */
  #adopt(id: number): void {
    if (this.#isHandedOver) return;
    if (this.#phase === "over") {
      if (this.#engine.over === null) this.#engine.call((wasm, now) => wasm.close(now, id, true));
      this.#engine.wake();
      return;
    }
    this.#id = id;
    this.#engine.addSink(id, this);
    for (const values of this.#wanted.splice(0)) this.#configure(values);
    // What has come since the connection was open, the end as well, was told to who has opened it.
    this.#open(this.#localAddress());
    this.#notify(Signal.connected | Signal.readable | Signal.writable);
    if (this.#finSent) this.#engine.call((wasm, now) => wasm.shutdown(now, id));
    this.#engine.wake();
    this.#checkEnd();
  }

  /** The connection has no number: it is not begun yet, or never will. */
  get #hasNone(): boolean {
    return this.#id === NO_CONNECTION;
  }

  // What the engine tells.

  onSignals(signals: number): void {
    if (signals & Signal.connected && this.#phase === "connecting") {
      this.#open(this.#localAddress());
    }
    if (signals & READ_SIGNALS) {
      this.#isDrained = false;
      if (signals & (Signal.peerClosed | Signal.closed)) this.#told = "end";
      else if (this.#told === "nothing") this.#told = "bytes";
    }
    this.#notify(signals);
    // The connection may have ended with bytes still to be read: the end is looked at after the readers were told.
    if (signals & Signal.closed) this.#checkEnd();
  }

  onEngineOver(error: Error): void {
    this.#finish(withEnds(error, this.#ends()));
  }

  /** What is waited for here, for people. */
  waits(): string[] {
    const remote = check.hostPort(this.remote.address, this.remote.port);
    if (this.#phase === "connecting") return [`connect to ${remote}`];
    const waits: string[] = [];
    if (this.#readable?.isWaiting) waits.push(`read from ${remote}`);
    if (this.#writable?.isWaiting) waits.push(`write to ${remote}`);
    if (waits.length === 0 && this.onready !== null) waits.push(`something from ${remote}`);
    return waits;
  }

  /** What waits here waits for ever, as in a program on a machine that has lost its power; calls from now on fail with the error. */
  vanish(error: Error): void {
    if (this.#phase === "over") return;
    this.hold();
    restNever(this);
    this.#phase = "over";
    this.#error = error;
    this.#engine.removeSink(this.#id);
    this.#start.giveUp?.abort();
    this.onready = null;
  }

  /** This end as the stack knows it. */
  #localAddress(): SocketAddress | null {
    if (this.#phase === "over" || this.#hasNone || this.#engine.over !== null) return null;
    return this.#engine.record<SocketAddress>(END, (wasm) => wasm.connection_local(this.#id));
  }

  #open(local: SocketAddress | null): void {
    this.#local = local;
    this.#phase = "open";
    this.#rest();
    this.#opening.resolve(() => ({
      remoteAddress: check.hostPort(this.remote.address, this.remote.port),
      localAddress: local === null ? null : check.hostPort(local.address, local.port),
      alpn: null,
    }));
  }

  #notify(signals: number): void {
    if (signals & READ_SIGNALS) this.#readable?.proceed();
    if (signals & WRITE_SIGNALS) this.#writable?.proceed();
    const onready = this.#onready;
    if (onready === null) this.#rest();
    else guarded(() => onready(this));
  }

  /** Ends the socket if its connection is over, unless the end was a good one and there are bytes to read. */
  #checkEnd(): void {
    if (this.#phase === "over" || this.#hasNone) return;
    const ending = closeReason(this.#engine, this.#id);
    if (ending === null) return;
    if (ending.why !== null) {
      this.#release(this.#failure(ending.why.code, ending.why.text));
    } else if (this.#ended || this.readableBytes === 0) {
      this.#release(null);
    }
  }

  /** An error that names the connection's ends. */
  #failure(code: SocketErrorCode, text: string, options?: ErrorOptions): SocketError {
    const { localAddress, remoteAddress } = this.#ends();
    const from = localAddress === null ? "" : ` from ${localAddress}`;
    const message = `connection${from} to ${remoteAddress}: ${text}`;
    return new SocketError(code, message, { ...options, localAddress, remoteAddress });
  }

  /** The ends that errors name. */
  #ends(): Required<Ends> {
    const local = this.#local ?? this.#localAddress();
    return {
      localAddress: local && check.hostPort(local.address, local.port),
      remoteAddress: check.hostPort(this.remote.address, this.remote.port),
    };
  }

  // How it ends.

  /** Lets go of the connection, which the stack goes on to close or, when `reset`, ends at once. */
  #release(error: Error | null, reset = false): void {
    if (this.#phase === "over") return;
    if (this.#hasNone) {
      this.#start.giveUp?.abort();
      this.#finish(error);
      return;
    }
    const id = this.#id;
    try {
      this.#engine.call((wasm, now) => wasm.close(now, id, reset));
    } catch (trap) {
      // The engine has ended this socket with its own error by now.
      this.#finish(trap instanceof Error ? trap : new Error(String(trap)));
      return;
    }
    this.#engine.wake();
    this.#finish(error);
  }

  #finish(error: Error | null): void {
    if (this.#phase === "over") return;
    const wasConnecting = this.#phase === "connecting";
    this.#phase = "over";
    this.#error = error;
    this.#engine.removeSink(this.#id);
    if (this.#onAbort !== null) this.#start.signal?.removeEventListener("abort", this.#onAbort);
    this.#onAbort = null;
    if (wasConnecting) this.#opening.reject(error ?? this.#dismissal());
    if (error !== null) this.#closing.reject(error);
    // Cloudflare's sockets tell a little after startTls() has returned, and libraries written for them rely on it.
    else if (this.#isHandedOver) macrotask(() => this.#closing.resolve(() => undefined));
    else this.#closing.resolve(() => undefined);
    this.#readable?.finish(error);
    this.#writable?.finish(error ?? (this.#isDismissed ? this.#dismissal() : null));
    restNever(this);
    this.#resting?.end();
    this.#resting = null;
    this.#start.members.delete(this);
    const onready = this.#onready;
    if (onready !== null) guarded(() => onready(this));
  }

  /** What pending operations reject with when `close` was called: the reason that it was given, if it was. */
  #dismissal(): unknown {
    return this.#reason ?? this.#failure("ABORT_ERR", "the socket was closed");
  }

  close(reason?: unknown): Promise<void> {
    if (this.#phase !== "over") {
      this.#isDismissed = true;
      this.#reason = reason;
      this.#release(null);
    }
    return this.closed;
  }

  abort(reason?: unknown): void {
    if (this.#phase === "over") return;
    const options = reason === undefined ? undefined : { cause: reason };
    this.#release(this.#failure("ABORT_ERR", "aborted", options), true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  startTls(options?: StartTlsOptions): Socket {
    const upgrade = upgradeOf(this.#start.upgrade, this.end, this.#finSent);
    return upgrade(() => this.#handOver(), options);
  }

  /** Ends this socket in good order, and gives its connection to another. */
  #handOver(): SocketImpl {
    const start = { ...this.#start, upgrade: null };
    const wasOpen = this.#phase === "open";
    const local = wasOpen ? this.#local : null;
    const id = this.#hasNone ? start.id : this.#id;
    this.#isHandedOver = true;
    // Whether it opens is told by the other.
    this.#phase = "open";
    this.#finish(null);
    const successor = new SocketImpl(this.#engine, { ...start, id, local });
    if (!wasOpen) {
      successor.opened.then(
        (info) => this.#opening.resolve(() => info),
        (error) => this.#opening.reject(error),
      );
    }
    return successor;
  }

  // Streams.

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#readable ??= readableOf(this);
    return this.#readable.stream;
  }

  get writable(): WritableStream<BufferSource> {
    this.#writable ??= writableOf(this);
    return this.#writable.stream;
  }

  /** The end of the peer's stream was given to the application by the readable stream. */
  endDelivered(): void {
    if (this.allowHalfOpen || this.#phase === "over") return;
    if (this.#writable === null) this.shutdown();
    else this.#writable.closeWhenIdle();
  }

  /** Whether the connection has ended, and with which error. */
  get end(): { error: Error | null } | null {
    return this.#phase === "over" ? { error: this.#error } : null;
  }

  /** What is written after the end fails with. */
  get writeError(): unknown {
    if (this.#isDismissed) return this.#dismissal();
    return this.#error ?? this.#written();
  }

  get [Symbol.toStringTag](): string {
    return "Socket";
  }

  // The layer without streams.

  get local(): SocketAddress | null {
    return this.#local;
  }

  tryRead(into: Uint8Array): number {
    const target = check.bytes("into", into);
    if (target.byteLength === 0) throw new RangeError("into must not be empty");
    if (this.#isAtEnd()) return 0;
    if (this.#hasNone || this.#isDrained) return WOULD_BLOCK;
    const count = this.#received(this.#engine.receive(this.#id, target.byteLength));
    this.#noteRead(count, target.byteLength);
    if (count > 0) this.#engine.copyScratch(count, target);
    return count;
  }

  /** What has arrived, at most `most` bytes, in an array of its own; null if nothing yet, empty at the end. */
  tryReadChunk(most: number): Uint8Array<ArrayBuffer> | null {
    if (this.#isAtEnd()) return new Uint8Array(0);
    if (this.#hasNone || this.#isDrained) return null;
    const count = this.#received(this.#engine.receive(this.#id, most));
    this.#noteRead(count, most);
    return count < 0 ? null : this.#engine.scratchBytes(count);
  }

  /** Notices when nothing more can be read before the engine tells of it. */
  #noteRead(count: number, wanted: number): void {
    this.#isDrained =
      this.#told === "bytes" && count < Math.min(wanted, this.#engine.scratchCapacity);
  }

  /** Whether the stream is known to have ended. Throws the error if it ended with one. */
  #isAtEnd(): boolean {
    if (this.#error !== null) throw this.#error;
    return this.#ended || this.#phase === "over";
  }

  /** What `recv` returned; the connection's own end is noticed here. */
  #received(count: number): number {
    if (count > 0) {
      // Reading may have opened the window.
      this.#engine.wakeIfDue();
      return count;
    }
    if (count === WOULD_BLOCK) return count;
    if (count === 0) {
      this.#ended = true;
      this.#checkEndSoon();
      return 0;
    }
    this.#checkEnd();
    if (this.#error !== null) throw this.#error;
    return 0;
  }

  /** After the caller has got what it asked for. */
  #checkEndSoon(): void {
    microtask(() => {
      if (this.#engine.over === null) this.#checkEnd();
    });
  }

  tryWrite(from: Uint8Array): number {
    const source = check.bytes("from", from);
    if (this.#error !== null) throw this.#error;
    if (this.#phase === "over" || this.#finSent) throw this.#written();
    if (source.byteLength === 0 || this.#hasNone) return 0;
    let taken = 0;
    while (taken < source.byteLength) {
      // Of much, no more than there is room for is copied, but at least a byte is offered: the refusal asks for WRITABLE.
      const isShort = source.byteLength <= SHORT;
      const room = isShort
        ? SHORT
        : Math.max(1, Math.min(this.#engine.scratchCapacity, this.writableBytes));
      const isWhole = taken === 0 && source.byteLength <= room;
      const piece = isWhole ? source : source.subarray(taken, taken + room);
      const count = this.#engine.send(this.#id, piece);
      if (count < 0) {
        if (count !== SHUT_DOWN) this.#checkEnd();
        throw this.#error ?? this.#written();
      }
      taken += count;
      if (count < piece.byteLength) break;
    }
    this.#engine.wake();
    return taken;
  }

  #written(): SocketError {
    return this.#failure("EPIPE", "written after the end");
  }

  shutdown(): void {
    if (this.#error !== null) throw this.#error;
    if (this.#phase === "over" || this.#finSent) return;
    this.#finSent = true;
    if (this.#hasNone) return;
    this.#engine.call((wasm, now) => wasm.shutdown(now, this.#id));
    this.#engine.wake();
  }

  get readableBytes(): number {
    if (this.#phase === "over" || this.#hasNone) return 0;
    return this.#engine.ask((wasm) => wasm.readable_bytes(this.#id));
  }

  get writableBytes(): number {
    if (this.#phase === "over" || this.#finSent || this.#hasNone) return 0;
    return this.#engine.ask((wasm) => wasm.writable_bytes(this.#id));
  }

  setNoDelay(noDelay: boolean): void {
    this.#configure(tcpValues("", { noDelay: check.boolean("noDelay", noDelay, true) }));
  }

  setTcpOptions(options: TcpOptions): void {
    this.#configure(tcpValues("options", options));
    if (options.receiveLowat === undefined) return;
    // Fewer bytes are told of later, or more of them once again after their end: who reads finds what is there.
    this.#told = "end";
    this.#isDrained = false;
  }

  #configure(values: Float64Array): void {
    if (this.#phase === "over") return;
    if (this.#hasNone) {
      this.#wanted.push(values);
      return;
    }
    this.#engine.exchange(values, (wasm, now, count) => wasm.tcp_settings(now, this.#id, count));
    this.#engine.wake();
  }

  tcpSettings(): TcpSettings | null {
    if (this.#phase === "over" || this.#hasNone) return null;
    const none = tcpValues("options", {});
    const tell = (wasm: Bindings, now: number, count: number): number =>
      wasm.tcp_settings(now, this.#id, count);
    return tcpSettings(this.#engine.exchange(none, tell));
  }

  info(): ConnectionInfo | null {
    if (this.#phase === "over" || this.#hasNone) return null;
    const [info = null] = connectionsOf(this.#engine, (wasm) => wasm.connection_info(this.#id));
    return info;
  }
}
