/** TCP connections: the layer without streams, and the promises that say how a connection fares. */

import * as check from "./arguments.js";
import { deferred, type EngineCore, guarded, type Sink } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { CLOSE_REASON, CONNECTION, CONNECTION_END } from "./names.js";
import { fieldsOf, type Why } from "./records.js";
import { readableOf, writableOf } from "./socket_streams.js";
import { tcpSettings, tcpValues } from "./tcp_options.js";
import type {
  ConnectionInfo,
  Socket,
  SocketAddress,
  SocketInfo,
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
  /** Called once, when the socket has let go of its connection. */
  released: (socket: SocketImpl) => void;
}

/** See {@link Socket}. */
export class SocketImpl implements Socket, Sink {
  readonly remote: SocketAddress;
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<void>;
  readonly upgraded = false;
  readonly secureTransport = "off";
  readonly allowHalfOpen: boolean;
  onready: ((socket: Socket) => void) | null = null;
  readonly #engine: EngineCore;
  readonly #start: SocketStart;
  #id = NO_CONNECTION;
  /** Settings that wait for the connection. */
  #wanted: Float64Array[] = [];
  readonly #opening: ReturnType<typeof deferred<SocketInfo>>;
  readonly #closing: ReturnType<typeof deferred<void>>;
  #phase: Phase = "connecting";
  #local: SocketAddress | null = null;
  #error: Error | null = null;
  /** Whether the end of the peer's stream was read. */
  #ended = false;
  #finSent = false;
  #onAbort: (() => void) | null = null;
  #readable: ReturnType<typeof readableOf> | null = null;
  #writable: ReturnType<typeof writableOf> | null = null;

  constructor(engine: EngineCore, start: SocketStart) {
    this.#engine = engine;
    this.#start = start;
    this.remote = start.remote;
    this.allowHalfOpen = start.allowHalfOpen;
    this.#opening = deferred<SocketInfo>();
    this.#closing = deferred<void>();
    this.opened = this.#opening.promise;
    this.closed = this.#closing.promise;
    if (start.id instanceof Error) {
      this.#finish(start.id);
      return;
    }
    this.#watch(start.signal);
    if (start.id instanceof Promise) {
      start.id.then(
        (id) => this.#adopt(id),
        (error) => this.#finish(error),
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

  #watch(signal: AbortSignal | null): void {
    if (signal === null || this.#phase === "over") return;
    this.#onAbort = () => this.abort(signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Keeps no program from its end any more. */
  runInBackground(): void {
    if (!this.#hasNone) this.#engine.runInBackground(this.#id);
  }

  /** A connection to one of the host's addresses is open. */
  #adopt(id: number): void {
    if (this.#phase === "over") {
      if (this.#engine.over === null) this.#engine.call((wasm, now) => wasm.close(now, id, true));
      this.#engine.wake();
      return;
    }
    this.#id = id;
    this.#engine.addSink(id, this);
    for (const values of this.#wanted.splice(0)) this.#configure(values);
    this.onSignals(Signal.connected | Signal.readable | Signal.writable);
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
    this.#notify(signals);
    // The connection may have ended with bytes still to be read: the end is looked at after the readers were told.
    if (signals & Signal.closed) this.#checkEnd();
  }

  onEngineOver(error: Error): void {
    this.#finish(error);
  }

  /** This end as the stack knows it. */
  #localAddress(): SocketAddress | null {
    if (this.#phase === "over" || this.#hasNone) return null;
    return this.#engine.record<SocketAddress>(END, (wasm) => wasm.connection_local(this.#id));
  }

  #open(local: SocketAddress | null): void {
    this.#local = local;
    this.#phase = "open";
    this.#opening.resolve({
      remoteAddress: check.hostPort(this.remote.address, this.remote.port),
      localAddress: local === null ? "" : check.hostPort(local.address, local.port),
    });
  }

  #notify(signals: number): void {
    if (signals & READ_SIGNALS) this.#readable?.proceed();
    if (signals & WRITE_SIGNALS) this.#writable?.proceed();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  /** Ends the socket if its connection is over, unless the end was a good one and there are bytes to read. */
  #checkEnd(): void {
    if (this.#phase === "over" || this.#hasNone) return;
    const ending = closeReason(this.#engine, this.#id);
    if (ending === null) return;
    if (ending.why !== null) {
      this.#release(new SocketError(ending.why.code, `${this.#describe()}: ${ending.why.text}`));
    } else if (this.#ended || this.readableBytes === 0) {
      this.#release(null);
    }
  }

  /** The connection as error messages name it. */
  #describe(): string {
    const remote = check.hostPort(this.remote.address, this.remote.port);
    const local = this.#local ?? this.#localAddress();
    if (local === null) return `connection to ${remote}`;
    return `connection from ${check.hostPort(local.address, local.port)} to ${remote}`;
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
    if (wasConnecting) this.#opening.reject(error ?? this.#closedEarly());
    if (error === null) this.#closing.resolve();
    else this.#closing.reject(error);
    this.#readable?.finish(error);
    this.#writable?.finish(error);
    this.#start.released(this);
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #closedEarly(): SocketError {
    return new SocketError("ABORT_ERR", `${this.#describeRemote()} was closed before it was open`);
  }

  #describeRemote(): string {
    return `connection to ${check.hostPort(this.remote.address, this.remote.port)}`;
  }

  close(_reason?: unknown): Promise<void> {
    this.#release(null);
    return this.closed;
  }

  abort(reason?: unknown): void {
    if (this.#phase === "over") return;
    const options = reason === undefined ? undefined : { cause: reason };
    this.#release(new SocketError("ABORT_ERR", `${this.#describe()} was aborted`, options), true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  startTls(): never {
    throw new TypeError("startTls: TLS is not part of this socket");
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

  // The layer without streams.

  get local(): SocketAddress | null {
    return this.#local;
  }

  tryRead(into: Uint8Array): number {
    const target = check.bytes("into", into);
    if (target.byteLength === 0) throw new RangeError("into must not be empty");
    if (this.#isAtEnd()) return 0;
    if (this.#hasNone) return WOULD_BLOCK;
    return this.#engine.call((wasm, now) => {
      const count = this.#received(wasm.recv(now, this.#id, target.byteLength));
      if (count > 0) {
        const at = this.#engine.scratch;
        target.set(this.#engine.bytes.subarray(at, at + count));
      }
      return count;
    });
  }

  /** What has arrived, at most `most` bytes, in an array of its own; null if nothing yet, empty at the end. */
  tryReadChunk(most: number): Uint8Array<ArrayBuffer> | null {
    if (this.#isAtEnd()) return new Uint8Array(0);
    if (this.#hasNone) return null;
    return this.#engine.call((wasm, now) => {
      const count = this.#received(wasm.recv(now, this.#id, most));
      if (count < 0) return null;
      return this.#engine.scratchBytes(count);
    });
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
      this.#engine.wake();
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
    queueMicrotask(() => {
      if (this.#engine.over === null) this.#checkEnd();
    });
  }

  tryWrite(from: Uint8Array): number {
    const source = check.bytes("from", from);
    if (this.#error !== null) throw this.#error;
    if (this.#phase === "over" || this.#finSent) throw this.#written();
    if (source.byteLength === 0 || this.#hasNone) return 0;
    return this.#engine.call((wasm, now) => {
      const { scratch, scratchCapacity } = this.#engine;
      let taken = 0;
      while (taken < source.byteLength) {
        // No more than there is room for is copied, but at least a byte is offered: the refusal asks for WRITABLE.
        const room = Math.max(1, Math.min(scratchCapacity, wasm.writable_bytes(this.#id)));
        const piece = source.subarray(taken, taken + room);
        this.#engine.bytes.set(piece, scratch);
        const count = wasm.send(now, this.#id, piece.byteLength);
        if (count < 0) {
          if (count !== SHUT_DOWN) this.#checkEnd();
          throw this.#error ?? this.#written();
        }
        taken += count;
        if (count < piece.byteLength) break;
      }
      this.#engine.wake();
      return taken;
    });
  }

  #written(): SocketError {
    return new SocketError("EPIPE", `${this.#describe()}: written after the end`);
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
    return this.#engine.call((wasm) => wasm.readable_bytes(this.#id));
  }

  get writableBytes(): number {
    if (this.#phase === "over" || this.#finSent || this.#hasNone) return 0;
    return this.#engine.call((wasm) => wasm.writable_bytes(this.#id));
  }

  setNoDelay(noDelay: boolean): void {
    this.#configure(tcpValues("", { noDelay: check.boolean("noDelay", noDelay, true) }));
  }

  setTcpOptions(options: TcpOptions): void {
    this.#configure(tcpValues("options", options));
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
