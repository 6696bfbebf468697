/** `dgram.Socket` over a stack: a UDP socket whose datagrams are events. */

import { AsyncResource } from "node:async_hooks";
import { Socket } from "node:dgram";
import { channel } from "node:diagnostics_channel";
import { EventEmitter, errorMonitor } from "node:events";
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { promisify } from "node:util";
import type { Nic, UdpSettings } from "../types.js";
import type { UdpSocketImpl } from "../udp.js";
import {
  addressError,
  assertFunction,
  assertNumber,
  assertSignal,
  assertString,
  blockedError,
  callError,
  codeOf,
  nodeError,
  portOf,
  wrongType,
  wrongValue,
} from "./errors.js";
import type { Hold, NodeHost } from "./host.js";
import type { Lookup } from "./lookup.js";
import { nextTick, post } from "./phases.js";
import { type AddressInfo, addressInfo } from "./tcp_handle.js";

/** What `createSocket` takes. */
export interface DgramOptions {
  type: string;
  reuseAddr?: boolean;
  reusePort?: boolean;
  ipv6Only?: boolean;
  recvBufferSize?: number;
  sendBufferSize?: number;
  lookup?: Lookup;
  signal?: AbortSignal;
  /** Senders whose datagrams are not told, and hosts that none are sent to. */
  receiveBlockList?: BlockList;
  sendBlockList?: BlockList;
}

/** Whom a datagram is from. */
export interface RemoteInfo extends AddressInfo {
  size: number;
}

export type MessageListener = (message: Buffer, from: RemoteInfo) => void;
type SendCallback = (error: Error | null, bytes?: number) => void;

const DEFAULT_BUFFER = 212_992;
const MAPPED = "::ffff:";

const ANY = { udp4: "0.0.0.0", udp6: "::" } as const;
const LOOPBACK = { udp4: "127.0.0.1", udp6: "::1" } as const;
type Type = keyof typeof ANY;

function typeOf(type: unknown): Type {
  if (type === "udp4" || type === "udp6") return type;
  const message = "Bad socket type specified. Valid types are: udp4, udp6";
  throw nodeError(TypeError, "ERR_SOCKET_BAD_TYPE", message);
}

/** What Node tells of its own sockets is told of these as well. */
const sockets = channel("udp.socket");

function blockListOf(name: string, list: unknown): BlockList | null {
  if (!list) return null;
  if (list instanceof BlockList) return list;
  throw wrongType(`options.${name}`, "an net.BlockList", list);
}

function isBlocked(list: BlockList | null, address: string): boolean {
  return list?.check(address, isIPv6(address) ? "ipv6" : "ipv4") ?? false;
}

const isConnectedError = () =>
  nodeError(Error, "ERR_SOCKET_DGRAM_IS_CONNECTED", "Already connected");
const alreadyBound = () => nodeError(Error, "ERR_SOCKET_ALREADY_BOUND", "Socket is already bound");
const notConnectedError = () => nodeError(Error, "ERR_SOCKET_DGRAM_NOT_CONNECTED", "Not connected");

/** See the module's comment. */
export class DgramSocket extends EventEmitter {
  readonly type: Type;
  readonly #host: NodeHost;
  readonly #resource = new AsyncResource("UDPWRAP");
  readonly #hold: Hold;
  readonly #lookup: Lookup;
  readonly #sharesPort: boolean;
  readonly #ipv6Only: boolean;
  readonly #receiveBlockList: BlockList | null;
  readonly #sendBlockList: BlockList | null;
  readonly #sizes: { receive: number; send: number };
  #udp: UdpSocketImpl | null = null;
  #address = "";
  #binding: "unbound" | "binding" | "bound" = "unbound";
  #connection: "disconnected" | "connecting" | "connected" = "disconnected";
  #isClosed = false;
  #isReading = false;
  /** What waits until it is bound. */
  #queue: (() => void)[] | null = null;
  #groupNic: Nic | null = null;
  /** Interfaces by which groups were joined. */
  readonly #groups = new Map<string, Set<Nic>>();
  /** Sources that are listened to, by group. */
  readonly #sources = new Map<string, Set<string>>();

  constructor(host: NodeHost, type: string | DgramOptions, listener?: MessageListener) {
    super();
    const options = typeof type === "object" && type !== null ? type : { type };
    if (options.lookup !== undefined) assertFunction("lookup", options.lookup);
    this.#host = host;
    this.type = typeOf(options.type);
    this.#hold = host.hold();
    this.#lookup = options.lookup ?? host.lookup;
    this.#sharesPort = Boolean(options.reuseAddr || options.reusePort);
    this.#ipv6Only = Boolean(options.ipv6Only);
    this.#sizes = {
      receive: options.recvBufferSize || DEFAULT_BUFFER,
      send: options.sendBufferSize || DEFAULT_BUFFER,
    };
    if (typeof listener === "function") this.on("message", listener);
    this.#receiveBlockList = blockListOf("receiveBlockList", options.receiveBlockList);
    this.#sendBlockList = blockListOf("sendBlockList", options.sendBlockList);
    if (options.signal !== undefined) this.#closeWith(options.signal);
    sockets.publish({ socket: this });
  }

  #closeWith(signal: AbortSignal): void {
    assertSignal("options.signal", signal);
    const onAbort = () => {
      if (!this.#isClosed) this.close();
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    this.once("close", () => signal.removeEventListener("abort", onAbort));
  }

  #assertRunning(): void {
    if (this.#isClosed) throw nodeError(Error, "ERR_SOCKET_DGRAM_NOT_RUNNING", "Not running");
  }

  // Binding.

  /** `bind(port, address)`, `bind({ port, address })`, each with a listener of `listening`. */
  bind(...args: unknown[]): this {
    this.#assertRunning();
    if (this.#binding !== "unbound") throw alreadyBound();
    this.#binding = "binding";
    const { stack } = this.#host;
    const began = !stack.hasVanished;
    const callback = args.at(-1);
    if (typeof callback === "function") this.#onceBound(callback as () => void);
    const [first, second] = args;
    const given =
      typeof first === "object" && first !== null
        ? (first as { port?: number; address?: string })
        : { port: first as number, address: second as string };
    const address = typeof given.address === "string" ? given.address : "";
    const port = Number(given.port) || 0;
    this.#resolve(address || ANY[this.type], (error, ip) => {
      if (this.#isClosed || (began && stack.hasVanished)) return;
      const failure = error ?? this.#open(ip, port);
      if (failure === null) return;
      this.#binding = "unbound";
      this.emit("error", failure);
    });
    return this;
  }

  #onceBound(callback: () => void): void {
    const remove = () => {
      this.removeListener("error", remove);
      this.removeListener("listening", onListening);
    };
    const onListening = () => {
      remove();
      callback.call(this);
    };
    this.on("error", remove);
    this.on("listening", onListening);
  }

  #resolve(name: string, found: (error: Error | null, ip: string) => void): void {
    const family = this.type === "udp4" ? 4 : 6;
    this.#lookup(name || LOOPBACK[this.type], family, (error, ip) => found(error, ip as string));
  }

  /** The error, or null once it is bound and has said so. */
  #open(ip: string, port: number, tell = (told: () => void) => told()): Error | null {
    const isAny = ip === ANY.udp4 || ip === ANY.udp6;
    if (isIP(ip) !== (this.type === "udp4" ? 4 : 6)) {
      return addressError("EINVAL", "bind", ip, port);
    }
    try {
      this.#udp = this.#host.stack.bindUdp({
        port,
        broadcast: false,
        sharePort: this.#sharesPort,
        ...(isAny ? {} : { hostname: ip }),
      }) as UdpSocketImpl;
    } catch (error) {
      return addressError(codeOf(error), "bind", ip, port);
    }
    const udp = this.#udp;
    this.#address = ip;
    this.#binding = "bound";
    this.#hold.open = true;
    udp.runInBackground();
    udp.onready = () => this.#wake();
    udp.onerror = (error) => {
      if (this.#connection !== "connected") return;
      this.#told(() => this.emit("error", callError(codeOf(error), "recvmsg")));
    };
    tell(() => this.emit("listening"));
    return null;
  }

  /** Binds it to any port if it is not bound; what has to wait for that waits. */
  #whenBound(then: () => void): void {
    if (this.#binding === "unbound") this.bind({ port: 0 }, null);
    if (this.#binding === "bound") {
      then();
      return;
    }
    if (this.#queue === null) {
      this.#queue = [];
      this.once(errorMonitor, this.#onBindError);
      this.once("listening", this.#onBound);
    }
    this.#queue.push(then);
  }

  readonly #onBound = (): void => {
    this.removeListener(errorMonitor, this.#onBindError);
    const queue = this.#queue ?? [];
    this.#queue = null;
    for (const then of queue) then();
  };

  readonly #onBindError = (): void => {
    this.removeListener("listening", this.#onBound);
    this.#queue = null;
  };

  // Receiving.

  #told(tell: () => void): void {
    post("poll", () => {
      if (!this.#isClosed) this.#resource.runInAsyncScope(tell);
    });
  }

  #wake(): void {
    if (this.#host.stack.over !== null) this.#hold.open = false;
    if (this.#isReading || this.#isClosed) return;
    this.#isReading = true;
    this.#told(() => this.#receive());
  }

  /** One datagram in a task. */
  #receive(): void {
    this.#isReading = false;
    const datagram = this.#udp?.tryReceive() ?? null;
    if (datagram === null) return;
    this.#wake();
    const { data, remoteAddress, remotePort } = datagram;
    const remote = { address: remoteAddress, port: remotePort };
    if (!this.#takes(remoteAddress)) return;
    const info = addressInfo(remote, this.type === "udp6");
    if (isBlocked(this.#receiveBlockList, info.address)) return;
    const message = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    this.emit("message", message, { ...info, size: message.length });
  }

  /** A socket of the stack is of both families. */
  #takes(address: string): boolean {
    return isIPv6(address) ? this.type === "udp6" : this.type === "udp4" || !this.#ipv6Only;
  }

  // Connecting.

  connect(port: number, address?: string | (() => void), callback?: (error?: Error) => void): void {
    const number = portOf("Port", port, false);
    const done = typeof address === "function" ? address : callback;
    const name = typeof address === "function" || address === undefined ? "" : address;
    assertString("address", name);
    if (this.#connection !== "disconnected") throw isConnectedError();
    this.#connection = "connecting";
    this.#whenBound(() => this.#connect(number, name, done));
  }

  #connect(port: number, name: string, done: ((error?: Error) => void) | undefined): void {
    if (done !== undefined) this.once("connect", done);
    this.#resolve(name, (error, ip) => {
      if (this.#isClosed || this.#udp === null) return;
      const failure = error ?? this.#refusal(ip) ?? this.#connectTo(ip, port, name);
      if (failure === null) {
        this.#connection = "connected";
        nextTick(() => this.emit("connect"));
        return;
      }
      this.#connection = "disconnected";
      nextTick(() => {
        if (done === undefined) {
          this.emit("error", failure);
          return;
        }
        this.removeListener("connect", done);
        done(failure);
      });
    });
  }

  /** As `bind`, with a numeric address and at once. */
  bindSync(options: { port?: number; address?: string } = {}): AddressInfo {
    this.#assertRunning();
    if (typeof options !== "object" || options === null) {
      throw wrongType("options", "of type object", options);
    }
    if (this.#binding !== "unbound") throw alreadyBound();
    const port = portOf("options.port", options.port ?? 0);
    const address = numeric("options.address", options.address || ANY[this.type], "bindSync");
    const failure = this.#open(address, port, (told) => nextTick(told));
    if (failure !== null) throw failure;
    return this.address();
  }

  /** As `connect`, with a numeric address and at once. */
  connectSync(port: number, address?: string | null): void {
    this.#assertRunning();
    const number = portOf("Port", port, false);
    if (this.#connection !== "disconnected") throw isConnectedError();
    const ip = numeric("address", address || LOOPBACK[this.type], "connectSync");
    if (this.#binding === "unbound") this.bindSync();
    else if (this.#binding === "binding") throw alreadyBound();
    const failure = this.#refusal(ip) ?? this.#connectTo(ip, number, ip);
    if (failure !== null) throw failure;
    this.#connection = "connected";
    nextTick(() => this.emit("connect"));
  }

  #connectTo(ip: string, port: number, name: string): Error | null {
    return attempt(
      () => this.#udp?.connect({ address: unmapped(ip), port }),
      (code) => addressError(code, "connect", name, port),
    );
  }

  disconnect(): void {
    if (this.#connection !== "connected") throw notConnectedError();
    this.#udp?.connect(null);
    this.#connection = "disconnected";
  }

  remoteAddress(): AddressInfo {
    this.#assertRunning();
    const remote = this.#udp?.remote ?? null;
    if (this.#connection !== "connected" || remote === null) throw notConnectedError();
    return addressInfo(remote, this.type === "udp6");
  }

  // Sending.

  /** `send(message, port, address)`, with offset and length after the message if only a part of it is meant; with a callback at the end. */
  send(message: unknown, ...args: unknown[]): void {
    const isConnected = this.#connection === "connected";
    const last = args.at(-1);
    const callback = typeof last === "function" ? (last as SendCallback) : undefined;
    const [, length, third, fourth] = args;
    const isSliced = isConnected ? typeof length === "number" : isGiven(third) || isGiven(fourth);
    const given = args.filter((argument) => typeof argument !== "function");
    const [port, address] = isSliced ? given.slice(2) : given;
    const chunks = isSliced
      ? [sliceOf(message, Number(given[0]), Number(given[1]))]
      : chunksOf(message);
    if (isConnected && (isGiven(third) || isGiven(fourth))) throw isConnectedError();
    const number = isConnected ? 0 : portOf("Port", port, false);
    if (!isConnected && address !== undefined && address !== null) {
      assertString("address", address);
    }
    this.#assertRunning();
    const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
    const name = typeof address === "string" ? address : "";
    this.#whenBound(() => this.#sendTo(bytes, number, name, callback));
  }

  #sendTo(bytes: Buffer, port: number, name: string, callback: SendCallback | undefined): void {
    if (this.#connection === "connected") {
      this.#put(bytes, null, 0, name, callback);
      return;
    }
    this.#resolve(name, (error, ip) => {
      const failure = error ?? this.#refusal(ip);
      if (failure === null) this.#put(bytes, unmapped(ip), port, name, callback);
      else if (callback !== undefined) nextTick(callback, failure);
      else nextTick(() => this.emit("error", failure));
    });
  }

  #refusal(ip: string): Error | null {
    return isBlocked(this.#sendBlockList, ip) ? blockedError(ip) : null;
  }

  #put(
    bytes: Buffer,
    ip: string | null,
    port: number,
    name: string,
    callback: SendCallback | undefined,
  ): void {
    const udp = this.#udp;
    if (this.#isClosed || udp === null) return;
    const nic = ip !== null && isGroup(ip) ? this.#groupNic : null;
    const target = ip === null ? undefined : { remoteAddress: ip, remotePort: port, nic };
    const failure = attempt(
      () => udp.send(bytes as Buffer<ArrayBuffer>, target),
      (code) => addressError(code, "send", name || undefined, port),
    );
    if (callback === undefined) return;
    if (failure === null) nextTick(callback, null, bytes.length);
    else nextTick(callback, failure);
  }

  sendto(
    buffer: Buffer,
    offset: number,
    length: number,
    port: number,
    address: string,
    callback?: SendCallback,
  ): void {
    assertNumber("offset", offset);
    assertNumber("length", length);
    assertNumber("port", port);
    assertString("address", address);
    this.send(buffer, offset, length, port, address, callback);
  }

  getSendQueueSize(): number {
    return 0;
  }

  getSendQueueCount(): number {
    return 0;
  }

  // The end.

  close(callback?: () => void): this {
    if (typeof callback === "function") this.on("close", callback);
    if (this.#queue !== null) {
      this.#queue.push(() => this.close());
      return this;
    }
    this.#assertRunning();
    this.#isClosed = true;
    this.#hold.open = false;
    void this.#udp?.close();
    nextTick(() => this.emit("close"));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) await promisify(this.close).call(this);
  }

  // Settings.

  address(): AddressInfo {
    this.#assertRunning();
    if (this.#udp === null) throw callError("EBADF", "getsockname");
    return addressInfo({ address: this.#address, port: this.#udp.address.port }, false);
  }

  ref(): this {
    this.#hold.wanted = true;
    return this;
  }

  unref(): this {
    this.#hold.wanted = false;
    return this;
  }

  #set(syscall: string, settings: Partial<UdpSettings>): void {
    const udp = this.#udp;
    if (udp === null) throw callError("EBADF", syscall);
    const failure = attempt(
      () => udp.setOptions(settings),
      () => callError("EINVAL", syscall),
    );
    if (failure !== null) throw failure;
  }

  setBroadcast(broadcast: unknown): void {
    this.#set("setBroadcast", { broadcast: Boolean(broadcast) });
  }

  setTTL(ttl: number): number {
    assertNumber("ttl", ttl);
    // The range is looked at before there is anything to set it on.
    if (ttl < 1 || ttl > 255) throw callError("EINVAL", "setTTL");
    this.#set("setTTL", { ttl });
    return ttl;
  }

  setMulticastTTL(ttl: number): number {
    assertNumber("ttl", ttl);
    this.#set("setMulticastTTL", { multicastTtl: ttl });
    return ttl;
  }

  setMulticastLoopback<T>(loopback: T): T {
    this.#set("setMulticastLoopback", { multicastLoop: Boolean(loopback) });
    return loopback;
  }

  setMulticastInterface(address: string): void {
    this.#assertRunning();
    assertString("interfaceAddress", address);
    const isAny = address === ANY.udp4 || address === ANY.udp6;
    this.#groupNic = isAny ? null : this.#nicOf(address, "setMulticastInterface");
  }

  /** The interface that has an address, or after `%` a name; by default the first that is not the loopback. */
  #nicOf(address: string | undefined, syscall: string): Nic {
    const nics = this.#host.stack.interfaces;
    const isDefault = !address || address === ANY.udp4 || address === ANY.udp6;
    const [bare = "", zone] = (address ?? "").split("%");
    const has = ({ name, addresses }: Nic) =>
      name === zone || addresses.some((prefix) => prefix.split("/")[0] === bare);
    const isReal = ({ addresses }: Nic) =>
      !addresses.some((prefix) => /^(127\.|::1\/)/.test(prefix));
    const found = isDefault ? (nics.find(isReal) ?? nics[0]) : nics.find(has);
    if (found !== undefined) return found;
    // Linux says of memberships that there is no such interface, and of all else that it has no such address.
    const isMembership = isDefault || syscall.endsWith("Membership");
    throw callError(isMembership ? "ENODEV" : "EADDRNOTAVAIL", syscall);
  }

  #group(syscall: string, change: (udp: UdpSocketImpl) => void): void {
    this.#assertRunning();
    // A socket is bound by joining, as in libuv.
    if (this.#binding === "unbound") {
      this.#binding = "binding";
      const failure = this.#open(ANY[this.type], 0);
      if (failure !== null) throw failure;
    }
    const udp = this.#udp;
    if (udp === null) throw callError("EBADF", syscall);
    const failure = attempt(
      () => change(udp),
      () => callError("EINVAL", syscall),
    );
    if (failure !== null) throw failure;
  }

  addMembership(group: string, interfaceAddress?: string): void {
    this.#assertRunning();
    assertGiven("multicastAddress", group);
    const nic = this.#nicOf(interfaceAddress, "addMembership");
    const nics = this.#groups.get(group) ?? new Set();
    if (nics.has(nic)) throw callError("EADDRINUSE", "addMembership");
    this.#group("addMembership", (udp) => udp.joinGroup(group, nic));
    this.#groups.set(group, nics.add(nic));
  }

  dropMembership(group: string, interfaceAddress?: string): void {
    this.#assertRunning();
    assertGiven("multicastAddress", group);
    const nic = this.#nicOf(interfaceAddress, "dropMembership");
    if (this.#groups.get(group)?.delete(nic) !== true) {
      throw callError(isIP(group) === 0 ? "EINVAL" : "EADDRNOTAVAIL", "dropMembership");
    }
    this.#group("dropMembership", (udp) => udp.leaveGroup(group, nic));
  }

  addSourceSpecificMembership(source: string, group: string, interfaceAddress?: string): void {
    this.#assertRunning();
    assertString("sourceAddress", source);
    assertString("groupAddress", group);
    const sources = new Set(this.#sources.get(group)).add(source);
    this.#listenTo(sources, group, interfaceAddress, "addSourceSpecificMembership");
  }

  dropSourceSpecificMembership(source: string, group: string, interfaceAddress?: string): void {
    this.#assertRunning();
    assertString("sourceAddress", source);
    assertString("groupAddress", group);
    const sources = new Set(this.#sources.get(group));
    if (!sources.delete(source)) {
      throw callError("EADDRNOTAVAIL", "dropSourceSpecificMembership");
    }
    this.#listenTo(sources, group, interfaceAddress, "dropSourceSpecificMembership");
  }

  #listenTo(
    sources: ReadonlySet<string>,
    group: string,
    interfaceAddress: string | undefined,
    syscall: string,
  ): void {
    const nic = this.#nicOf(interfaceAddress, syscall);
    this.#group(syscall, (udp) => {
      if (sources.size === 0) udp.leaveGroup(group, nic);
      else udp.joinGroup(group, nic, { only: [...sources] });
    });
    this.#sources.set(group, new Set(sources));
  }

  #size(side: "receive" | "send", size?: number): number {
    if (size !== undefined && size >>> 0 !== size) {
      const message = "Buffer size must be a positive integer";
      throw nodeError(TypeError, "ERR_SOCKET_BAD_BUFFER_SIZE", message);
    }
    if (this.#udp === null) {
      const syscall = side === "receive" ? "uv_recv_buffer_size" : "uv_send_buffer_size";
      const message = `Could not get or set buffer size: ${syscall} returned EBADF (bad file descriptor)`;
      const info = callError("EBADF", syscall);
      throw Object.assign(nodeError(Error, "ERR_SOCKET_BUFFER_SIZE", message), { info });
    }
    if (size) this.#sizes[side] = size;
    return this.#sizes[side];
  }

  setRecvBufferSize(size: number): void {
    this.#size("receive", size);
  }

  setSendBufferSize(size: number): void {
    this.#size("send", size);
  }

  getRecvBufferSize(): number {
    return this.#size("receive");
  }

  getSendBufferSize(): number {
    return this.#size("send");
  }
}

/** Node has these from version 24 on. */
for (const name of ["bindSync", "connectSync"]) {
  if (!(name in Socket.prototype)) Reflect.deleteProperty(DgramSocket.prototype, name);
}

function numeric(name: string, address: string, method: string): string {
  assertString(name, address);
  if (isIP(address) !== 0) return address;
  const needs = `must be a numeric IP address; ${method} does not perform DNS resolution`;
  throw wrongValue(name, address, needs);
}

const isGiven = (value: unknown) => Boolean(value) && typeof value !== "function";

function assertGiven(name: string, value: unknown): void {
  if (value) return;
  throw nodeError(TypeError, "ERR_MISSING_ARGS", `The "${name}" argument must be specified`);
}

/** What failed, by its code; null if nothing did. */
function attempt(run: () => void, failed: (code: string) => Error): Error | null {
  try {
    run();
    return null;
  } catch (error) {
    return failed(codeOf(error));
  }
}

const isGroup = (address: string) =>
  isIPv4(address) ? /^(22[4-9]|23\d)\./.test(address) : /^ff/i.test(address);

/** An IPv4 address that is written as one of IPv6 (RFC 4291 §2.5.5.2). */
function unmapped(address: string): string {
  const rest = address.toLowerCase().startsWith(MAPPED) ? address.slice(MAPPED.length) : "";
  return isIPv4(rest) ? rest : address;
}

const BYTES = "of type string or an instance of Buffer, TypedArray, or DataView";

function bytesOf(value: unknown): Buffer {
  if (typeof value === "string") return Buffer.from(value);
  if (!ArrayBuffer.isView(value)) throw wrongType("buffer", BYTES, value);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function chunksOf(message: unknown): Buffer[] {
  if (!Array.isArray(message)) return [bytesOf(message)];
  return message.map((part) => {
    if (typeof part === "string" || ArrayBuffer.isView(part)) return bytesOf(part);
    throw wrongType("buffer list arguments", BYTES, message);
  });
}

function sliceOf(message: unknown, offset: number, length: number): Buffer {
  const bytes = bytesOf(message);
  for (const [name, end] of [
    ["offset", offset >>> 0],
    ["length", (offset >>> 0) + (length >>> 0)],
  ] as const) {
    if (end > bytes.length) {
      const text = `"${name}" is outside of buffer bounds`;
      throw nodeError(RangeError, "ERR_BUFFER_OUT_OF_BOUNDS", text);
    }
  }
  return bytes.subarray(offset >>> 0, (offset >>> 0) + (length >>> 0));
}
