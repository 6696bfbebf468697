/** A connection of a stack in another thread. */

import * as check from "../arguments.js";
import { macrotask, microtask } from "../clock.js";
import { deferred, guarded } from "../engine_core.js";
import { SocketError, type SocketErrorCode, withEnds } from "../errors.js";
import type { BufferSource } from "../platform.js";
import { readableOf, type StreamSocket, writableOf } from "../socket_streams.js";
import { tcpValues } from "../tcp_options.js";
import type { Security } from "../tls/secure.js";
import { upgradeOf } from "../tls/upgrade.js";
import type {
  ConnectionInfo,
  Socket,
  SocketAddress,
  SocketInfo,
  StartTlsOptions,
  TcpOptions,
  TcpSettings,
} from "../types.js";
import { type Channel, received, sendable, type Target } from "./channel.js";
import { CHUNK, Credit, WINDOW } from "./flow_control.js";
import type { Opened } from "./hosted_sockets.js";
import type { WorkerSocket } from "./types.js";

/** What `tryRead` returns instead of a count. */
const WOULD_BLOCK = -1;

/** What a socket starts with. */
export interface RemoteStart {
  channel: Channel;
  number: number;
  remote: SocketAddress;
  /** This end of a connection that was accepted; undefined for one that is to be opened. */
  local?: SocketAddress | null;
  allowHalfOpen: boolean;
  signal: AbortSignal | null;
  /** As in {@link Security}. */
  upgrade: Security<RemoteSocket>["upgrade"];
}

/** See {@link WorkerSocket}. */
export class RemoteSocket implements WorkerSocket, StreamSocket, Target {
  readonly remote: SocketAddress;
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<void>;
  readonly secureTransport: "off" | "starttls";
  readonly allowHalfOpen: boolean;
  onready: ((socket: WorkerSocket) => void) | null = null;
  readonly #start: RemoteStart;
  readonly #channel: Channel;
  readonly #number: number;
  readonly #signal: AbortSignal | null;
  readonly #opening = deferred<SocketInfo>();
  readonly #closing = deferred<void>();
  #local: SocketAddress | null = null;
  /** What is known of the connection since it is open. */
  #info: SocketInfo | null = null;
  /** What has the connection, if another socket does. */
  #successor: RemoteSocket | null = null;
  #isOver = false;
  #error: Error | null = null;
  /** Whether `close` has ended it, and what that was called with. */
  #isDismissed = false;
  #reason: unknown = undefined;
  /** What has come and was not read, and how much that is. */
  #arrived: Uint8Array<ArrayBuffer>[] = [];
  #arrivedBytes = 0;
  #read: Credit;
  /** Whether the peer's stream has ended behind what has come, and whether that was read. */
  #hasEnd = false;
  #ended = false;
  /** Whether the connection has ended in good order. */
  #isDone = false;
  /** Bytes that the stack's thread takes now. */
  #room = WINDOW;
  #finSent = false;
  #onAbort: (() => void) | null = null;
  #readable: ReturnType<typeof readableOf> | null = null;
  #writable: ReturnType<typeof writableOf> | null = null;

  constructor(start: RemoteStart) {
    const { channel, number, remote, local, allowHalfOpen, signal } = start;
    this.#start = start;
    this.secureTransport = start.upgrade === null ? "off" : "starttls";
    this.#channel = channel;
    this.#number = number;
    this.#signal = signal;
    this.remote = remote;
    this.allowHalfOpen = allowHalfOpen;
    this.opened = this.#opening.promise;
    this.closed = this.#closing.promise;
    this.#local = local ?? null;
    this.#read = new Credit(WINDOW, (count) => channel.tell(number, "credit", count));
    channel.add(number, this);
    if (signal?.aborted) {
      this.#finish(this.#failure("ABORT_ERR", "aborted", { cause: signal.reason }));
    } else if (signal !== null) {
      this.#onAbort = () => this.abort(signal.reason);
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  get upgraded(): boolean {
    return this.#successor !== null;
  }

  // What the stack's thread tells.

  told(what: string, value: never): void {
    switch (what) {
      case "opened":
        this.#open(value);
        break;
      case "data":
        this.#arrive(value);
        break;
      case "end":
        this.#hasEnd = true;
        break;
      case "taken":
        this.#room += value;
        this.#writable?.proceed();
        break;
      case "closed":
        this.#isDone = true;
        this.#channel.remove(this.#number);
        break;
      case "failed":
        this.#finish(received(value) as Error);
        return;
    }
    this.#readable?.proceed();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
    this.#checkEnd();
  }

  #open({ info, local }: Opened): void {
    this.#local = local;
    this.#info = info;
    this.#opening.resolve(info);
    this.#writable?.proceed();
  }

  #arrive(bytes: Uint8Array<ArrayBuffer>): void {
    this.#arrived.push(bytes);
    this.#arrivedBytes += bytes.byteLength;
  }

  /** The connection could not be begun, or the thread does not take it. */
  fail(error: Error): void {
    (this.#successor ?? this).#finish(error);
  }

  onChannelOver(error: Error): void {
    this.#finish(withEnds(error, this.#ends()));
  }

  /** Ends the socket when its connection has, and what came is read. */
  #checkEnd(): void {
    if (this.#isDone && (this.#ended || this.#arrivedBytes === 0)) this.#finish(null);
  }

  #failure(code: SocketErrorCode, text: string, options?: ErrorOptions): SocketError {
    const { localAddress, remoteAddress } = this.#ends();
    const from = localAddress === null ? "" : ` from ${localAddress}`;
    const message = `connection${from} to ${remoteAddress}: ${text}`;
    return new SocketError(code, message, { ...options, localAddress, remoteAddress });
  }

  #ends(): { localAddress: string | null; remoteAddress: string } {
    const local = this.#local;
    return {
      localAddress: local && check.hostPort(local.address, local.port),
      remoteAddress: check.hostPort(this.remote.address, this.remote.port),
    };
  }

  #finish(error: Error | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    this.#channel.remove(this.#number);
    this.#arrived = [];
    this.#arrivedBytes = 0;
    if (this.#onAbort !== null) this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#onAbort = null;
    if (this.#info === null && this.#successor === null)
      this.#opening.reject(error ?? this.#dismissal());
    if (error !== null) this.#closing.reject(error);
    else if (this.#successor !== null) macrotask(() => this.#closing.resolve());
    else this.#closing.resolve();
    this.#readable?.finish(error);
    this.#writable?.finish(error ?? (this.#isDismissed ? this.#dismissal() : null));
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #dismissal(): unknown {
    return this.#reason ?? this.#failure("ABORT_ERR", "the socket was closed");
  }

  close(reason?: unknown): Promise<void> {
    if (!this.#isOver) {
      this.#isDismissed = true;
      this.#reason = reason;
      this.#channel.tell(this.#number, "close", sendable(reason));
      this.#finish(null);
    }
    return this.closed;
  }

  abort(reason?: unknown): void {
    if (this.#isOver) return;
    this.#channel.tell(this.#number, "abort", sendable(reason));
    const options = reason === undefined ? undefined : { cause: reason };
    this.#finish(this.#failure("ABORT_ERR", "aborted", options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  startTls(options?: StartTlsOptions): Socket {
    const upgrade = upgradeOf(this.#start.upgrade, this.end, this.#finSent);
    return upgrade(() => this.#handOver(), options);
  }

  /** Ends this socket in good order, and gives its connection to another. */
  #handOver(): RemoteSocket {
    const arrived = this.#arrived;
    const arrivedBytes = this.#arrivedBytes;
    // The channel finds the other from now on.
    const successor = new RemoteSocket({ ...this.#start, upgrade: null });
    this.#successor = successor;
    this.#finish(null);
    this.#channel.add(this.#number, successor);
    successor.#arrived = arrived;
    successor.#arrivedBytes = arrivedBytes;
    successor.#read = this.#read;
    successor.#room = this.#room;
    successor.#hasEnd = this.#hasEnd;
    successor.#isDone = this.#isDone;
    if (this.#info !== null) successor.#open({ info: this.#info, local: this.#local });
    else successor.opened.then(this.#opening.resolve, this.#opening.reject);
    microtask(() => successor.#checkEnd());
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

  endDelivered(): void {
    if (this.allowHalfOpen || this.#isOver) return;
    if (this.#writable === null) this.shutdown();
    else this.#writable.closeWhenIdle();
  }

  get end(): { error: Error | null } | null {
    return this.#isOver ? { error: this.#error } : null;
  }

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

  #isAtEnd(): boolean {
    if (this.#error !== null) throw this.#error;
    if (this.#ended || this.#isOver) return true;
    if (!this.#hasEnd || this.#arrivedBytes > 0) return false;
    this.#ended = true;
    microtask(() => this.#checkEnd());
    return true;
  }

  tryRead(into: Uint8Array): number {
    const target = check.bytes("into", into);
    if (target.byteLength === 0) throw new RangeError("into must not be empty");
    if (this.#isAtEnd()) return 0;
    let count = 0;
    while (count < target.byteLength) {
      const first = this.#take(target.byteLength - count);
      if (first === null) break;
      target.set(first, count);
      count += first.byteLength;
    }
    return count === 0 ? WOULD_BLOCK : count;
  }

  tryReadChunk(most: number): Uint8Array<ArrayBuffer> | null {
    if (this.#isAtEnd()) return new Uint8Array(0);
    const first = this.#take(most);
    // What owns its memory is given away as it is.
    return first === null || first.byteLength === first.buffer.byteLength ? first : first.slice();
  }

  /** Takes up to `most` bytes of what came first. */
  #take(most: number): Uint8Array<ArrayBuffer> | null {
    const first = this.#arrived[0];
    if (first === undefined) return null;
    const taken = first.subarray(0, most);
    if (taken.byteLength === first.byteLength) this.#arrived.shift();
    else this.#arrived[0] = first.subarray(most);
    this.#arrivedBytes -= taken.byteLength;
    this.#read.take(taken.byteLength);
    if (this.#isDone) microtask(() => this.#checkEnd());
    return taken;
  }

  tryWrite(from: Uint8Array): number {
    const source = check.bytes("from", from);
    if (this.#error !== null) throw this.#error;
    if (this.#isOver || this.#finSent) throw this.#written();
    let count = 0;
    while (count < source.byteLength && this.#room > 0) {
      // A copy, since the caller keeps its bytes; this one moves.
      const length = Math.min(source.byteLength - count, CHUNK, this.#room);
      const piece = new Uint8Array(source.subarray(count, count + length));
      this.#channel.tell(this.#number, "data", piece, [piece.buffer]);
      this.#room -= length;
      count += length;
    }
    return count;
  }

  #written(): SocketError {
    return this.#failure("EPIPE", "written after the end");
  }

  shutdown(): void {
    if (this.#error !== null) throw this.#error;
    if (this.#isOver || this.#finSent) return;
    this.#finSent = true;
    this.#channel.tell(this.#number, "shutdown");
  }

  get readableBytes(): number {
    return this.#arrivedBytes;
  }

  get writableBytes(): number {
    return this.#isOver || this.#finSent ? 0 : this.#room;
  }

  setNoDelay(noDelay: boolean): void {
    this.setTcpOptions({ noDelay: check.boolean("noDelay", noDelay, true) });
  }

  setTcpOptions(options: TcpOptions): void {
    tcpValues("options", options);
    if (!this.#isOver) this.#channel.tell(this.#number, "options", options);
  }

  async tcpSettings(): Promise<TcpSettings | null> {
    if (this.#isOver) return null;
    return (await this.#channel.call(this.#number, "tcpSettings", [])) as TcpSettings | null;
  }

  async info(): Promise<ConnectionInfo | null> {
    if (this.#isOver) return null;
    return (await this.#channel.call(this.#number, "info", [])) as ConnectionInfo | null;
  }

  /** A connection that was accepted is open. */
  isOpenWith(local: SocketAddress | null): void {
    this.#open({
      info: {
        remoteAddress: check.hostPort(this.remote.address, this.remote.port),
        localAddress: local && check.hostPort(local.address, local.port),
        alpn: null,
      },
      local,
    });
  }
}

/** What the application gets: `info` and `tcpSettings` of TLS tell what those below it do, which is a promise. */
export function securedBy(security: Security<RemoteSocket>, socket: RemoteSocket): WorkerSocket {
  return security.over(socket) as WorkerSocket;
}
