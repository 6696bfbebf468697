/** `net.Server` over a stack. */

import { channel, tracingChannel } from "node:diagnostics_channel";
import { EventEmitter } from "node:events";
import type * as net from "node:net";
import { getDefaultHighWaterMark } from "node:stream";
import { promisify } from "node:util";
import {
  assertNumber,
  assertSignal,
  explainedError,
  nodeError,
  portOf,
  wrongType,
  wrongValue,
} from "./errors.js";
import type { NodeHost } from "./host.js";
import { ListenHandle, type ListenTarget } from "./listen_handle.js";
import { nextTick } from "./phases.js";
import type { NetSocket, SocketOptions } from "./socket.js";
import type { AddressInfo, TcpHandle } from "./tcp_handle.js";

const DEFAULT_BACKLOG = 511;

/** What Node tells of its own servers is told of these as well. */
const serverSockets = channel("net.server.socket");
const listenTrace = tracingChannel("net.server.listen");

/** What `new Server()` takes. */
export interface ServerOptions {
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  highWaterMark?: number;
  blockList?: net.BlockList;
}

interface ListenOptions {
  port?: number | string | null;
  host?: string;
  path?: string;
  fd?: number;
  backlog?: number;
  ipv6Only?: boolean;
  reusePort?: boolean;
  signal?: AbortSignal;
  _handle?: unknown;
  handle?: unknown;
}

/** Node has `reusePort` from version 22 on. */
const sharesPorts = Number.parseInt(process.versions.node, 10) >= 22;

/** Before version 22 of Node no connections at all could not be told from any number of them. */
const zeroIsMost = Number.parseInt(process.versions.node, 10) >= 22;

function isMost(maxConnections: number | undefined): maxConnections is number {
  if (maxConnections === undefined || maxConnections === null) return false;
  return zeroIsMost || maxConnections !== 0;
}

type ConnectionListener = (socket: NetSocket) => void;
type MakeSocket = (options: SocketOptions) => NetSocket;

/** See the module's comment. Names with an underscore are Node's. */
export class NetServer extends EventEmitter {
  readonly #host: NodeHost;
  readonly #makeSocket: MakeSocket;
  readonly #blockList: net.BlockList | undefined;
  allowHalfOpen: boolean;
  pauseOnConnect: boolean;
  noDelay: boolean;
  keepAlive: boolean;
  keepAliveInitialDelay: number;
  highWaterMark: number;
  // Properties that are not there before they have a value, as in Node.
  declare maxConnections: number | undefined;
  declare _connectionKey: string | undefined;
  _handle: ListenHandle | null = null;
  _connections = 0;
  _unref = false;
  /** A listen that a later call, or a close, has made void is not gone on with. */
  #listenings = 1;

  constructor(
    host: NodeHost,
    makeSocket: MakeSocket,
    options?: ServerOptions | ConnectionListener | null,
    listener?: ConnectionListener,
  ) {
    super();
    const onConnection = typeof options === "function" ? options : listener;
    if (typeof onConnection === "function") this.on("connection", onConnection);
    if (typeof options !== "function" && typeof (options ?? {}) !== "object") {
      throw wrongType("options", "of type object", options);
    }
    const given: ServerOptions =
      typeof options === "function" || options === null || options === undefined ? {} : options;
    const { keepAliveInitialDelay, highWaterMark } = given;
    if (keepAliveInitialDelay !== undefined) {
      assertNumber("options.keepAliveInitialDelay", keepAliveInitialDelay);
    }
    if (highWaterMark !== undefined) assertNumber("options.highWaterMark", highWaterMark);
    this.#host = host;
    this.#makeSocket = makeSocket;
    this.#blockList = given.blockList;
    this.allowHalfOpen = given.allowHalfOpen || false;
    this.pauseOnConnect = Boolean(given.pauseOnConnect);
    this.noDelay = Boolean(given.noDelay);
    this.keepAlive = Boolean(given.keepAlive);
    this.keepAliveInitialDelay = Math.trunc(Math.max(0, keepAliveInitialDelay ?? 0) / 1_000);
    const standard = getDefaultHighWaterMark(false);
    this.highWaterMark =
      highWaterMark === undefined || highWaterMark < 0 ? standard : highWaterMark;
  }

  get listening(): boolean {
    return this._handle !== null;
  }

  /** `listen(port, host, backlog)`, `listen(options)`, each with a listener of `listening`. */
  listen(...args: unknown[]): this {
    const options = listenOptions(args);
    const callback = args.at(-1);
    if (this._handle !== null) {
      const message = "Listen method has been called more than once without closing.";
      throw nodeError(Error, "ERR_SERVER_ALREADY_LISTEN", message);
    }
    listenTrace.asyncStart.publish({ server: this, options });
    if (typeof callback === "function") this.once("listening", callback as () => void);
    const backlog = backlogOf(args);
    this.#listenings += 1;
    if (options._handle instanceof ListenHandle) {
      this._handle = options._handle;
      this.#begin();
      return this;
    }
    if (options.signal !== undefined) this.#closeWith(options.signal);
    if (typeof options.fd === "number" && options.fd >= 0) {
      this.#fail(explainedError("EINVAL", "listen", undefined, undefined));
      return this;
    }
    const { port, path, host } = options;
    if (typeof port === "number" || typeof port === "string") {
      const number = portOf("options.port", port);
      const how = {
        port: number,
        backlog: options.backlog || backlog || DEFAULT_BACKLOG,
        ipv6Only: options.ipv6Only === true,
        reusePort: sharesPorts && Boolean(options.reusePort),
      };
      if (host) this.#listenByName(host, how);
      else this.#bind({ ...how, address: null });
      return this;
    }
    if (typeof path === "string" && path !== "") {
      // Local sockets are the operating system's, and no stack has any.
      this.#fail(explainedError("ENOTSUP", "listen", path));
      return this;
    }
    const needs = 'must have the property "port" or "path"';
    const hasOne = "port" in options || "path" in options;
    throw wrongValue("options", options, hasOne ? undefined : needs);
  }

  #closeWith(signal: AbortSignal): void {
    assertSignal("options.signal", signal);
    const onAbort = () => void this.close();
    if (signal.aborted) {
      nextTick(onAbort);
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    this.once("close", () => signal.removeEventListener("abort", onAbort));
  }

  #listenByName(name: string, how: Omit<ListenTarget, "address">): void {
    const listening = this.#listenings;
    this.#host.lookup(name, {}, (error, address) => {
      if (listening !== this.#listenings) return;
      if (error) this.emit("error", error);
      else this.#bind({ ...how, address: address as string });
    });
  }

  #bind(target: ListenTarget): void {
    const { address, port } = target;
    const handle = ListenHandle.listen(this.#host, target);
    if (typeof handle === "string") {
      this.#fail(explainedError(handle, "listen", address ?? "::", port));
      return;
    }
    this._handle = handle;
    this.#begin();
    const { family } = handle.local;
    this._connectionKey = `${family === "IPv6" ? 6 : 4}:${address ?? "::"}:${port}`;
  }

  #begin(): void {
    const handle = this._handle;
    if (handle === null) return;
    handle.onconnection = (_, connection) => this.#accept(connection);
    listenTrace.asyncEnd.publish({ server: this });
    if (this._unref) this.unref();
    nextTick(() => {
      if (this._handle !== null) this.emit("listening");
    });
  }

  #fail(error: Error): void {
    listenTrace.error.publish({ server: this, error });
    nextTick(() => this.emit("error", error));
  }

  #accept(handle: TcpHandle): void {
    const { maxConnections } = this;
    if (this.#isBlocked(handle.remote)) {
      handle.close();
      return;
    }
    if (isMost(maxConnections) && this._connections >= maxConnections) {
      const { local, remote } = handle;
      this.emit("drop", {
        localAddress: local?.address,
        localPort: local?.port,
        localFamily: local?.family,
        remoteAddress: remote?.address,
        remotePort: remote?.port,
        remoteFamily: remote?.family,
      });
      handle.close();
      return;
    }
    const socket = this.#makeSocket({
      handle,
      allowHalfOpen: this.allowHalfOpen,
      pauseOnCreate: this.pauseOnConnect,
      readable: true,
      writable: true,
      readableHighWaterMark: this.highWaterMark,
      writableHighWaterMark: this.highWaterMark,
    });
    if (this.noDelay) socket.setNoDelay(true);
    if (this.keepAlive) socket.setKeepAlive(true, this.keepAliveInitialDelay * 1_000);
    this._connections += 1;
    socket.server = this;
    socket._server = this;
    this.emit("connection", socket);
    serverSockets.publish({ socket });
  }

  #isBlocked(remote: AddressInfo | null): boolean {
    if (this.#blockList === undefined || remote === null) return false;
    return this.#blockList.check(remote.address, remote.family === "IPv6" ? "ipv6" : "ipv4");
  }

  /** @internal A socket of this server was destroyed. */
  _connectionClosed(): void {
    this._connections -= 1;
    this._emitCloseIfDrained();
  }

  address(): AddressInfo | null {
    return this._handle?.local ?? null;
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    nextTick(callback, null, this._connections);
    return this;
  }

  close(callback?: (error?: Error) => void): this {
    this.#listenings += 1;
    if (typeof callback === "function") {
      if (this._handle !== null) this.once("close", callback);
      else {
        const error = nodeError(Error, "ERR_SERVER_NOT_RUNNING", "Server is not running.");
        this.once("close", () => callback(error));
      }
    }
    this._handle?.close();
    this._handle = null;
    this._emitCloseIfDrained();
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this._handle !== null) await promisify(this.close).call(this);
  }

  _emitCloseIfDrained(): void {
    if (this._handle !== null || this._connections > 0) return;
    nextTick(() => this.emit("close"));
  }

  ref(): this {
    this._unref = false;
    this._handle?.ref();
    return this;
  }

  unref(): this {
    this._unref = true;
    this._handle?.unref();
    return this;
  }

  override [EventEmitter.captureRejectionSymbol](
    error: Error,
    event: string | symbol,
    ...args: unknown[]
  ): void {
    if (event === "connection") (args[0] as NetSocket).destroy(error);
    else this.emit("error", error);
  }
}

/** The arguments of `listen` in Node's forms. */
function listenOptions(args: unknown[]): ListenOptions {
  const [first, second] = args;
  if (args.length === 0 || typeof first === "function" || first === null || first === undefined) {
    return { port: 0, ...(typeof second === "string" ? { host: second } : {}) };
  }
  if (typeof first === "object") {
    const given = first as ListenOptions;
    const { _handle: handle = given.handle } = given;
    if (handle instanceof ListenHandle) return { _handle: handle };
    if (first instanceof ListenHandle) return { _handle: first };
    const isUnset = "port" in given && (given.port ?? null) === null;
    return isUnset ? { ...given, port: 0 } : given;
  }
  if (typeof first === "string" && !(Number(first) >= 0)) return { path: first };
  return { port: first as number, ...(typeof second === "string" ? { host: second } : {}) };
}

/** `(port, backlog)` or `(port, host, backlog)`. */
function backlogOf(args: unknown[]): number {
  for (const argument of args.slice(1, 3)) {
    const number = typeof argument === "function" ? Number.NaN : Number(argument);
    if (number > 0) return number;
  }
  return 0;
}
