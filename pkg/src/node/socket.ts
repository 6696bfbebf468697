/** `net.Socket` over a stack: a Duplex over a {@link TcpHandle}, whose events come in the order of Node's own. */

import * as net from "node:net";
import { addAbortSignal, Duplex, type DuplexOptions } from "node:stream";
import { type ConnectOptions, connectSocket } from "./connect.js";
import {
  assertFunction,
  assertInt32,
  assertNumber,
  assertSignal,
  callError,
  durationOf,
  nodeError,
  wrongType,
  wrongValue,
} from "./errors.js";
import { IdleTimer, type NodeHost } from "./host.js";
import { nextTick } from "./phases.js";
import type { NetServer } from "./server.js";
import { type AddressInfo, TcpHandle } from "./tcp_handle.js";

/** What is read into, instead of `data` events. */
interface OnRead {
  buffer: Uint8Array | (() => Uint8Array);
  callback(this: NetSocket, count: number, buffer: Uint8Array): boolean;
}

/** What `new Socket()` takes. */
export interface SocketOptions extends DuplexOptions {
  fd?: number;
  handle?: TcpHandle;
  readable?: boolean;
  writable?: boolean;
  onread?: OnRead | null;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  pauseOnCreate?: boolean;
  manualStart?: boolean;
  typeOfService?: number;
}

type WriteCallback = (error?: Error | null) => void;

/** What Node's streams have and its types don't tell. */
interface DuplexInside {
  _undestroy(): void;
  readonly writableBuffer: readonly { chunk: Buffer }[] | undefined;
  readonly _readableState: { endEmitted: boolean };
}

const inside = (socket: NetSocket) => socket as unknown as DuplexInside;

const closedBeforeConnection = () =>
  nodeError(
    Error,
    "ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
    "Socket closed before the connection was established",
  );
const closed = () => nodeError(Error, "ERR_SOCKET_CLOSED", "Socket is closed");

/** Node truncates to whole seconds. */
const seconds = (milliseconds: number | undefined) => Math.trunc((milliseconds ?? 0) / 1_000);

/**
 * See the module's comment. Names with an underscore are Node's: `tls`, `http` and libraries look at some of them.
 */
export class NetSocket extends Duplex {
  readonly #host: NodeHost;
  connecting = false;
  server: NetServer | null = null;
  // Properties that are not there before they have a value, as in Node.
  declare timeout: number | undefined;
  declare autoSelectFamilyAttemptedAddresses: string[] | undefined;
  _handle: TcpHandle | null = null;
  _server: NetServer | null = null;
  _parent: unknown = null;
  _host: string | null = null;
  _hadError = false;
  readonly #signal: AbortSignal | undefined;
  #peername: AddressInfo | null = null;
  #sockname: AddressInfo | null = null;
  #timer: IdleTimer | null = null;
  #isResetting = false;
  #noDelay: boolean;
  #keepAlive: boolean;
  #keepAliveDelay: number;
  #typeOfService: number | undefined;
  #bytesRead = 0;
  #bytesWritten = 0;
  /** Bytes of a write that waits for the connection. */
  #pendingBytes = 0;
  /** `handle.writeQueueSize` when a write was last left waiting: progress since then is no silence. */
  #lastWriteQueueSize = 0;
  #buffer: Uint8Array | null = null;
  readonly #onRead: OnRead | null;

  constructor(host: NodeHost, options?: SocketOptions | number) {
    const given = typeof options === "number" ? { fd: options } : { ...options };
    refuseObjectMode(given);
    const { keepAliveInitialDelay } = given;
    if (keepAliveInitialDelay !== undefined) {
      assertNumber("options.keepAliveInitialDelay", keepAliveInitialDelay);
    }
    const { typeOfService } = given;
    if (hasTypeOfService && typeOfService !== undefined) {
      assertInt32("options.typeOfService", typeOfService, 0, 255);
    }
    if (given.fd !== undefined) {
      assertInt32("fd", given.fd, 0);
      throw nodeError(TypeError, "ERR_INVALID_FD_TYPE", "Unsupported fd type: of another stack");
    }
    const { handle, onread, noDelay, keepAlive, pauseOnCreate, manualStart, signal, ...streams } =
      given;
    super({
      ...streams,
      allowHalfOpen: Boolean(given.allowHalfOpen),
      emitClose: false,
      autoDestroy: true,
    });
    this.#host = host;
    this.#noDelay = Boolean(noDelay);
    this.#keepAlive = Boolean(keepAlive);
    this.#keepAliveDelay = seconds(Math.max(0, keepAliveInitialDelay ?? 0));
    if (hasTypeOfService) this.#typeOfService = typeOfService;
    this.#onRead = isOnRead(onread) ? onread : null;
    this.on("end", onEnd);
    if (signal !== undefined) {
      assertSignal("signal", signal);
      addAbortSignal(signal, this);
    }
    this.#signal = signal;
    if (handle === undefined) return;
    this._useHandle(handle);
    if (given.readable === false) return;
    if (pauseOnCreate) this.pause();
    else if (!manualStart) this.read(0);
  }

  /** @internal No more addresses are tried. */
  get _aborted(): boolean {
    return this.#signal?.aborted ?? false;
  }

  /** Takes another handle: a new one, or the next attempt's. */
  _useHandle(handle: TcpHandle): void {
    inside(this)._undestroy();
    this.#sockname = null;
    this._handle = handle;
    handle.owner = this;
    if (this.#onRead === null) return;
    const { buffer } = this.#onRead;
    const given = typeof buffer === "function" ? buffer() : buffer;
    if (!(given instanceof Uint8Array)) return;
    this.#buffer = given;
    handle.useBuffer(given);
  }

  // What the handle tells.

  /** @internal */
  onHandleData(chunk: Buffer): boolean {
    this._unrefTimer();
    return this.push(chunk);
  }

  /** @internal */
  onHandleBuffer(count: number): boolean {
    this._unrefTimer();
    const onRead = this.#onRead;
    const filled = this.#buffer;
    if (onRead === null || filled === null) return false;
    const wantsMore = onRead.callback.call(this, count, filled) !== false;
    const { buffer } = onRead;
    const next = typeof buffer === "function" ? buffer() : filled;
    if (next instanceof Uint8Array) {
      this.#buffer = next;
      this._handle?.useBuffer(next);
    }
    return wantsMore;
  }

  /** @internal */
  onHandleEnd(): void {
    this._unrefTimer();
    if (inside(this)._readableState.endEmitted) return;
    this.push(null);
    this.read(0);
  }

  /** @internal */
  onHandleError(code: string): void {
    this._unrefTimer();
    this.destroy(callError(code, "read"));
  }

  // Connecting.

  /** `connect(options)`, `connect(port, host)`, each with a listener of `connect`. */
  connect(...args: unknown[]): this {
    const [options, callback] = connectArguments(args);
    if (callback !== null) this.once("connect", callback);
    const parent = this._parent as { connecting?: boolean } | null;
    if (parent?.connecting) return this;
    if (options.port === undefined && (options.path ?? null) === null) {
      const message = 'The "options" or "port" or "path" argument must be specified';
      throw nodeError(TypeError, "ERR_MISSING_ARGS", message);
    }
    if (Object.hasOwn(this, "write")) Reflect.deleteProperty(this, "write");
    if (this.destroyed) {
      this._handle = null;
      this.#peername = null;
      this.#sockname = null;
    }
    if (this._handle === null) this._useHandle(new TcpHandle(this.#host));
    this._unrefTimer();
    this.connecting = true;
    connectSocket(this, this.#host, options);
    return this;
  }

  /** @internal The connection is open. */
  _connected(): void {
    this.connecting = false;
    this.#sockname = null;
    this._unrefTimer();
    if (this.#noDelay) this._handle?.setNoDelay(true);
    if (this.#keepAlive) this._handle?.setKeepAlive(true, this.#keepAliveDelay);
    if (this.#typeOfService !== undefined) this._handle?.setTypeOfService(this.#typeOfService);
    this.emit("connect");
    this.emit("ready");
    if (!this.isPaused()) this.read(0);
  }

  // Streams.

  override _read(size: number): void {
    if (this.connecting || this._handle === null) this.once("connect", () => this._read(size));
    else if (!this._handle.reading) this._handle.readStart();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.#send([chunk], callback);
  }

  override _writev(items: { chunk: Buffer }[], callback: WriteCallback): void {
    this.#send(
      items.map(({ chunk }) => chunk),
      callback,
    );
  }

  #send(chunks: Buffer[], callback: WriteCallback): void {
    if (this.connecting) {
      this.#pendingBytes = chunks.reduce((sum, { length }) => sum + length, 0);
      const onClose = () => callback(closedBeforeConnection());
      this.once("connect", () => {
        this.off("close", onClose);
        this.#send(chunks, callback);
      });
      this.once("close", onClose);
      return;
    }
    this.#pendingBytes = 0;
    const handle = this._handle;
    if (handle === null) {
      callback(closed());
      return;
    }
    this._unrefTimer();
    const outcome = handle.write(chunks, (code) => {
      if (this.destroyed) callback(null);
      else if (code !== null) callback(callError(code, "write"));
      else {
        this._unrefTimer();
        this.#lastWriteQueueSize = 0;
        callback(null);
      }
    });
    if (typeof outcome === "string") callback(callError(outcome, "write"));
    else if (outcome) callback();
    else this.#lastWriteQueueSize = handle.writeQueueSize;
  }

  override _final(callback: WriteCallback): void {
    if (endWaitsForConnect ? this.pending : this.connecting) {
      this.once("connect", () => this._final(callback));
      return;
    }
    if (this._handle === null) callback();
    else this._handle.shutdown(() => callback());
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    this.connecting = false;
    this.#timer?.clear();
    const handle = this._handle;
    if (handle === null) {
      callback(error);
      nextTick(() => this.emit("close"));
    } else {
      const onClose = () => this.emit("close", error !== null);
      this.#bytesRead = handle.bytesRead;
      this.#bytesWritten = handle.bytesWritten;
      if (this.#isResetting) {
        this.#isResetting = false;
        handle.reset(onClose);
      } else {
        handle.close(onClose);
      }
      this._handle = null;
      this.#sockname = null;
      callback(error);
    }
    this._server?._connectionClosed();
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", this.destroy);
  }

  resetAndDestroy(): this {
    if (this._handle === null) this.destroy(closed());
    else if (this.connecting) this.once("connect", () => this._reset());
    else this._reset();
    return this;
  }

  _reset(): this {
    this.#isResetting = true;
    return this.destroy();
  }

  // With `onread` the stream holds nothing, so that its flowing is the handle's.

  override pause(): this {
    const handle = this.#directHandle;
    if (handle?.reading) handle.readStop();
    return super.pause();
  }

  override resume(): this {
    const handle = this.#directHandle;
    if (handle && !handle.reading) handle.readStart();
    return super.resume();
  }

  override read(size?: number): unknown {
    const handle = this.#directHandle;
    if (handle && !handle.reading) handle.readStart();
    return super.read(size);
  }

  get #directHandle(): TcpHandle | null {
    return this.#buffer !== null && !this.connecting ? this._handle : null;
  }

  // Settings.

  setTimeout(milliseconds: number, callback?: () => void): this {
    if (this.destroyed) return this;
    this.timeout = milliseconds;
    const span = durationOf("msecs", milliseconds);
    this.#timer?.clear();
    this.#timer = null;
    if (span > 0) {
      const { clock, stack } = this.#host;
      this.#timer = new IdleTimer(clock, span, () => {
        if (!stack.hasVanished) this._onTimeout();
      });
    }
    if (callback !== undefined) {
      assertFunction("callback", callback);
      if (span > 0) this.once("timeout", callback);
      else this.removeListener("timeout", callback);
    }
    return this;
  }

  _onTimeout(): void {
    const size = this._handle?.writeQueueSize ?? 0;
    if (this.#lastWriteQueueSize > 0 && this.#lastWriteQueueSize !== size) {
      this.#lastWriteQueueSize = size;
      this._unrefTimer();
      return;
    }
    this.emit("timeout");
  }

  /** Something has happened: the time until `timeout` begins anew. */
  _unrefTimer(): void {
    this.#timer?.touch();
  }

  setNoDelay(noDelay?: boolean): this {
    const enable = noDelay === undefined || Boolean(noDelay);
    // A handle of somebody else's need not have it.
    if (enable !== this.#noDelay) this._handle?.setNoDelay?.(enable);
    this.#noDelay = enable;
    return this;
  }

  setKeepAlive(keepAlive?: boolean, initialDelay?: number): this {
    const enable = Boolean(keepAlive);
    const delay = seconds(initialDelay);
    const isNews = enable !== this.#keepAlive || (enable && delay !== this.#keepAliveDelay);
    this.#keepAlive = enable;
    this.#keepAliveDelay = delay;
    if (isNews) this._handle?.setKeepAlive(enable, delay);
    return this;
  }

  setTypeOfService(tos: number): this {
    if (Number.isNaN(tos)) throw wrongType("tos", "of type number", tos);
    assertInt32("tos", tos, 0, 255);
    this._handle?.setTypeOfService(tos);
    this.#typeOfService = tos;
    return this;
  }

  getTypeOfService(): number {
    return this._handle?.typeOfService ?? this.#typeOfService ?? 0;
  }

  ref(): this {
    if (this._handle === null) this.once("connect", this.ref);
    else this._handle.ref();
    return this;
  }

  unref(): this {
    if (this._handle === null) this.once("connect", this.unref);
    else this._handle.unref();
    return this;
  }

  // What is known of it.

  get pending(): boolean {
    return this._handle === null || this.connecting;
  }

  get readyState(): string {
    if (this.connecting) return "opening";
    if (this.readable) return this.writable ? "open" : "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  get bytesRead(): number {
    return this._handle?.bytesRead ?? this.#bytesRead;
  }

  get bytesWritten(): number | undefined {
    const { writableBuffer } = inside(this);
    if (!writableBuffer) return undefined;
    const dispatched = this._bytesDispatched;
    const buffered = writableBuffer.reduce((sum, { chunk }) => sum + chunk.length, 0);
    return dispatched + this.#pendingBytes + buffered;
  }

  get bufferSize(): number | undefined {
    return this._handle === null ? undefined : this.writableLength;
  }

  get _connecting(): boolean {
    return this.connecting;
  }

  get _bytesDispatched(): number {
    return this._handle?.bytesWritten ?? this.#bytesWritten;
  }

  _getpeername(): Partial<AddressInfo> {
    if (this._handle !== null && !this.connecting) this.#peername ??= this._handle.remote;
    return this.#peername ?? {};
  }

  get remoteAddress(): string | undefined {
    return this._getpeername().address;
  }

  get remoteFamily(): string | undefined {
    return this._getpeername().family;
  }

  get remotePort(): number | undefined {
    return this._getpeername().port;
  }

  _getsockname(): Partial<AddressInfo> {
    if (this._handle === null) return {};
    this.#sockname ??= this._handle.local;
    return this.#sockname ?? {};
  }

  address(): Partial<AddressInfo> {
    return this._getsockname();
  }

  get localAddress(): string | undefined {
    return this.address().address;
  }

  get localFamily(): string | undefined {
    return this.address().family;
  }

  get localPort(): number | undefined {
    return this.address().port;
  }
}

/** Before version 22 of Node a socket that nobody connects keeps what ends it waiting. */
const endWaitsForConnect = Number.parseInt(process.versions.node, 10) < 22;

/** Node has these from version 24 on. */
const hasTypeOfService = "setTypeOfService" in net.Socket.prototype;
if (!hasTypeOfService) {
  Reflect.deleteProperty(NetSocket.prototype, "setTypeOfService");
  Reflect.deleteProperty(NetSocket.prototype, "getTypeOfService");
}

/** After the peer's end, writing fails with the reason, and not as a mistake of the program's. */
function onEnd(this: NetSocket): void {
  if (!this.allowHalfOpen) this.write = writeAfterEnd;
}

function writeAfterEnd(this: NetSocket, ...args: unknown[]): boolean {
  if (!this.writableEnded) {
    return (Duplex.prototype.write as (...given: unknown[]) => boolean).apply(this, args);
  }
  const callback = args.find((argument) => typeof argument === "function");
  const error = Object.assign(new Error("This socket has been ended by the other party"), {
    code: "EPIPE",
  });
  if (callback !== undefined) nextTick(callback as WriteCallback, error);
  this.destroy(error);
  return false;
}

function refuseObjectMode(options: SocketOptions): void {
  for (const name of ["objectMode", "readableObjectMode", "writableObjectMode"] as const) {
    if (options[name]) throw wrongValue(`options.${name}`, options[name], "is not supported");
  }
}

function isOnRead(value: unknown): value is OnRead {
  if (typeof value !== "object" || value === null) return false;
  const { buffer, callback } = value as Partial<OnRead>;
  const isBuffer = buffer instanceof Uint8Array || typeof buffer === "function";
  return isBuffer && typeof callback === "function";
}

/** The symbol by which Node knows arguments that it has understood, where it lets others see it. */
const normalized = Object.getOwnPropertySymbols(
  (net as { _normalizeArgs?: (args: unknown[]) => object })._normalizeArgs?.([]) ?? {},
)[0];

function isNormalized(args: unknown): args is unknown[] {
  return Array.isArray(args) && (normalized === undefined || normalized in args);
}

/** The arguments of `connect` in Node's forms: options, a port and a host, or a path, with a callback at the end. */
export function connectArguments(args: unknown[]): [ConnectOptions, (() => void) | null] {
  const last = args.at(-1);
  const callback = typeof last === "function" ? (last as () => void) : null;
  // Node's own modules give arguments on as they were understood once, and mark them as such.
  if (isNormalized(args[0])) return connectArguments(args[0]);
  const [first, second] = args;
  if (args.length === 0) return [{}, null];
  if (typeof first === "object" && first !== null) return [first as ConnectOptions, callback];
  if (typeof first === "string" && !(Number(first) >= 0)) return [{ path: first }, callback];
  const host = typeof second === "string" ? { host: second } : {};
  return [{ port: first as number, ...host }, callback];
}
