/**
 * What libuv's handles are to `node:net`: a connection or listener of the stack whose news come as tasks of their own, so that
 * `process.nextTick` and promises run between two of them as they do in Node, in the asynchronous context in which the handle was made.
 */

import { AsyncResource } from "node:async_hooks";
import { canonicalIp } from "../ip.js";
import type { SocketImpl } from "../socket.js";
import type { SocketAddress, TcpOptions } from "../types.js";
import { codeOf } from "./errors.js";
import type { Hold, NodeHost } from "./host.js";
import { type Phase, post } from "./phases.js";

/** Most bytes of one read, as in libuv. */
const CHUNK = 64 * 1024;

/** An address as `socket.address()` tells it. */
export interface AddressInfo {
  address: string;
  family: "IPv4" | "IPv6";
  port: number;
}

/** The socket that a handle is of. */
export interface HandleOwner {
  /** Bytes have arrived. False if no more are wanted for now. */
  onHandleData(chunk: Buffer): boolean;
  /** Bytes are in the buffer that was given to {@link TcpHandle.useBuffer}. False if no more are wanted for now. */
  onHandleBuffer(count: number): boolean;
  /** The peer has ended its side. */
  onHandleEnd(): void;
  onHandleError(code: string): void;
}

/** Gets null, or the error's code. */
type Completion = (code: string | null) => void;

interface PendingWrite {
  /** What is left of it. */
  chunks: Buffer[];
  done: Completion;
  /** Where it was written from. */
  resource: AsyncResource;
}

/** How {@link TcpHandle.connect} begins. */
export interface ConnectTarget {
  address: string;
  port: number;
  localAddress: string | undefined;
  localPort: number | undefined;
}

/** A TCP connection as a handle. Codes stand for errors; null for none. */
export class TcpHandle {
  readonly #host: NodeHost;
  #resource = new AsyncResource("TCPWRAP");
  readonly #hold: Hold;
  owner: HandleOwner | null = null;
  /** Whether what arrives is wanted. */
  reading = false;
  bytesRead = 0;
  bytesWritten = 0;
  #socket: SocketImpl | null = null;
  /** The family that addresses are shown in: an IPv4 peer of a listener for both is `::ffff:10.0.2.15`. */
  #isDual = false;
  #isScheduled = false;
  #isClosed = false;
  #isAtEnd = false;
  #connecting: Completion | null = null;
  #write: PendingWrite | null = null;
  #shutdown: PendingWrite["done"] | null = null;
  #buffer: Uint8Array | null = null;
  /** Bytes that were read before the task that tells of them. */
  #early: Uint8Array<ArrayBuffer> | null = null;

  /** Whether the stack was there when this was made: if it has vanished since, nothing comes of what had begun. */
  readonly #began: boolean;

  constructor(host: NodeHost) {
    this.#host = host;
    this.#began = !host.stack.hasVanished;
    this.#hold = host.hold();
  }

  /** The handle of a connection that is open. */
  static of(host: NodeHost, socket: SocketImpl, isDual: boolean): TcpHandle {
    const handle = new TcpHandle(host);
    handle.#isDual = isDual;
    handle.#take(socket);
    return handle;
  }

  #take(socket: SocketImpl): void {
    this.#socket = socket;
    // What keeps the program running is this handle's to say.
    socket.runInBackground();
    socket.onready = () => {
      this.#readEarly(socket);
      this.#wake();
    };
  }

  /** Begins to connect. Tells at once what cannot even be tried. */
  connect(target: ConnectTarget, tcp: TcpOptions, done: Completion): string | null {
    if (this.#connecting !== null) return "EALREADY";
    if (this.#began && this.#host.stack.hasVanished) return null;
    const hostname = hostOf(target.address);
    this.#isDual = target.address.includes(":") && !hostname.includes(":");
    if (target.port === 0) {
      this.#refuse(done);
      return null;
    }
    const socket = this.#open(hostname, target, tcp);
    if (typeof socket === "string") return socket;
    this.#take(socket);
    this.#connecting = done;
    this.#keep();
    return null;
  }

  /** Nobody listens at port 0, and no segment is sent to find out. */
  #refuse(done: Completion): void {
    this.#connecting = done;
    this.#keep();
    this.#later("poll", this.#resource, () => {
      this.#connecting = null;
      this.#keep();
      if (!this.#isClosed) done("ECONNREFUSED");
    });
  }

  /** A connection that begins, or what a system says if it cannot. */
  #open(hostname: string, target: ConnectTarget, tcp: TcpOptions): SocketImpl | string {
    const { stack } = this.#host;
    const zone = isLinkLocal(hostname) ? target.address.split("%")[1] : undefined;
    const link = stack.interfaces.find(({ name }) => name === zone);
    if (zone !== undefined && link === undefined) return "EINVAL";
    const { port, localPort, localAddress = link && linkLocalOf(link.addresses) } = target;
    try {
      const socket = stack.connect(
        { hostname, port },
        {
          allowHalfOpen: true,
          tcp,
          ...(localAddress === undefined ? {} : { localAddress: bareAddress(localAddress) }),
          ...(localPort === undefined ? {} : { localPort }),
        },
      ) as SocketImpl;
      return socket.end === null ? socket : codeOf(socket.end.error);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // RFC 9293 §3.9.2.3: "MUST reject as an error a local OPEN call for an invalid remote IP address (e.g., a broadcast or multicast address)".
      return isLinkLocal(hostname) ? "EINVAL" : "ENETUNREACH";
    }
  }

  // Tasks.

  /** Whether something is waited for: to be connected, to read, to write. */
  get #isActive(): boolean {
    if (this.#connecting !== null || this.#write !== null) return true;
    return this.reading && !this.#isAtEnd;
  }

  /** A connection keeps the program running while something is waited for, as in libuv: not one that is paused, or at its end. */
  #keep(): void {
    if (!this.#isClosed) this.#hold.open = this.#isActive && this.#host.stack.over === null;
  }

  #wake(): void {
    this.#keep();
    if (this.#isScheduled || this.#isClosed || !this.#isActive) return;
    this.#isScheduled = true;
    post("poll", this.#task);
  }

  readonly #task = (): void => {
    this.#isScheduled = false;
    this.#resource.runInAsyncScope(this.#proceed, this);
  };

  /** Calls back in a task of its own. */
  #later(phase: Phase, resource: AsyncResource, callback: () => void): void {
    post(phase, () => resource.runInAsyncScope(callback));
  }

  #proceed(): void {
    const socket = this.#socket;
    if (socket === null || this.#isClosed) return;
    if (this.#connecting !== null) {
      if (socket.end === null && socket.local === null) return;
      const done = this.#connecting;
      this.#connecting = null;
      done(socket.end === null ? null : codeOf(socket.end.error));
      this.#wake();
      return;
    }
    if (this.#write !== null) this.#flush(socket, this.#write);
    if (this.reading && !this.#isAtEnd) this.#read(socket);
  }

  // Reading.

  /** Wants what arrives. */
  readStart(): void {
    this.reading = true;
    this.#wake();
  }

  readStop(): void {
    this.reading = false;
    this.#keep();
  }

  /** Reads into this from now on, instead of into chunks of their own. */
  useBuffer(buffer: Uint8Array): void {
    this.#buffer = buffer;
  }

  /** A reset that comes with the bytes before it would take them away from the task that is still to come. */
  #readEarly(socket: SocketImpl): void {
    if (!this.reading || this.#connecting !== null || this.#buffer !== null) return;
    if (this.#early !== null || this.#isAtEnd) return;
    try {
      this.#early = socket.tryReadChunk(CHUNK);
    } catch {
      // The task comes to the same.
    }
  }

  #read(socket: SocketImpl): void {
    const buffer = this.#buffer;
    let chunk: Uint8Array<ArrayBuffer> | null = null;
    let count: number;
    try {
      if (buffer === null) {
        chunk = this.#early ?? socket.tryReadChunk(CHUNK);
        this.#early = null;
        count = chunk === null ? -1 : chunk.byteLength;
      } else {
        count = socket.tryRead(buffer);
      }
    } catch (error) {
      this.#fail(codeOf(error));
      return;
    }
    if (count < 0) return;
    if (count === 0) {
      this.#end();
      return;
    }
    this.bytesRead += count;
    const wantsMore =
      chunk === null
        ? this.owner?.onHandleBuffer(count)
        : this.owner?.onHandleData(Buffer.from(chunk.buffer, chunk.byteOffset, count));
    if (wantsMore === false) this.reading = false;
    // A reset that was there together with the last bytes is an end to libuv, which sees that the peer has hung up.
    if (this.reading && count < CHUNK && socket.end?.error) this.#end();
    this.#wake();
  }

  #end(): void {
    this.#isAtEnd = true;
    this.#keep();
    this.owner?.onHandleEnd();
  }

  #fail(code: string): void {
    this.#isAtEnd = true;
    this.#keep();
    this.owner?.onHandleError(code);
  }

  // Writing.

  /** Bytes that were written and that the stack has not taken. */
  get writeQueueSize(): number {
    return this.#write?.chunks.reduce((sum, { length }) => sum + length, 0) ?? 0;
  }

  /**
   * Writes all of the chunks, one write at a time. True if they were taken at once and `done` is not called; a code if they could not be
   * written; else `done` is called.
   */
  write(chunks: Buffer[], done: Completion): boolean | string {
    const socket = this.#socket;
    if (socket === null || this.#isClosed) return "EBADF";
    for (const { length } of chunks) this.bytesWritten += length;
    const left = chunks.slice();
    const code = this.#put(socket, left);
    if (code !== null) return code;
    if (left.length === 0) return true;
    this.#write = { chunks: left, done, resource: new AsyncResource("WRITEWRAP") };
    this.#keep();
    return false;
  }

  /** Gives the stack what it takes, and takes that out of `chunks`. */
  #put(socket: SocketImpl, chunks: Buffer[]): string | null {
    try {
      for (let [chunk] = chunks; chunk !== undefined; [chunk] = chunks) {
        const taken = chunk.length === 0 ? 0 : socket.tryWrite(chunk);
        if (taken < chunk.length) {
          chunks[0] = chunk.subarray(taken);
          return null;
        }
        chunks.shift();
      }
      return null;
    } catch (error) {
      return codeOf(error);
    }
  }

  #flush(socket: SocketImpl, write: PendingWrite): void {
    const code = this.#put(socket, write.chunks);
    if (code === null && write.chunks.length > 0) return;
    this.#write = null;
    this.#keep();
    this.#later("poll", write.resource, () => write.done(this.#isClosed ? "ECANCELED" : code));
    const shutdown = this.#shutdown;
    if (shutdown !== null) this.shutdown(shutdown);
  }

  /** Ends this side once all is written. */
  shutdown(done: Completion): void {
    if (this.#write !== null) {
      this.#shutdown = done;
      return;
    }
    this.#shutdown = null;
    let code: string | null = null;
    try {
      this.#socket?.shutdown();
    } catch {
      // The connection has failed: the system says so of a shutdown.
      code = "ENOTCONN";
    }
    this.#later("pending", new AsyncResource("SHUTDOWNWRAP"), () => done(code));
  }

  // The end.

  /** Lets go of the connection, which the stack closes; `closed` is called in a task of its own. */
  close(closed?: () => void): void {
    // What is here unread is unread to the peer, too: RFC 2525 §2.17 has it told by a reset.
    const isUnread = this.#early !== null && this.#early.byteLength > 0;
    if (isUnread) this.reset(closed);
    else this.#letGo((socket) => void socket.close().catch(() => {}), closed);
  }

  /** Ends the connection with a reset. */
  reset(closed?: () => void): void {
    this.#letGo((socket) => {
      // A system sends while it is written to, and a reset takes back only what could not be sent.
      const { stack } = this.#host;
      if (stack.over === null) stack.engine.call((wasm, now) => wasm.send_waiting(now));
      socket.abort();
    }, closed);
  }

  #letGo(end: (socket: SocketImpl) => void, closed: (() => void) | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.reading = false;
    this.owner = null;
    const socket = this.#socket;
    if (socket !== null) {
      socket.onready = null;
      end(socket);
    }
    const write = this.#write;
    this.#write = null;
    const shutdown = this.#shutdown;
    this.#shutdown = null;
    this.#hold.open = true;
    this.#later("closing", this.#resource, () => {
      this.#hold.open = false;
      if (write !== null) write.resource.runInAsyncScope(() => write.done("ECANCELED"));
      shutdown?.("ECANCELED");
      closed?.();
    });
  }

  // Settings and names.

  ref(): void {
    this.#hold.wanted = true;
  }

  unref(): void {
    this.#hold.wanted = false;
  }

  /** `http` asks for it where a connection is used again... */
  getAsyncId(): number {
    return this.#resource.asyncId();
  }

  getProviderType(): string {
    return "TCPWRAP";
  }

  /** ...and says that from now on it works for somebody else. */
  asyncReset(): void {
    this.#resource = new AsyncResource("TCPWRAP");
  }

  hasRef(): boolean {
    return this.#hold.wanted;
  }

  setNoDelay(noDelay: boolean): void {
    this.#socket?.setNoDelay(noDelay);
  }

  setTypeOfService(trafficClass: number): void {
    this.#socket?.setTcpOptions({ trafficClass });
  }

  get typeOfService(): number | undefined {
    return this.#socket?.tcpSettings()?.trafficClass;
  }

  /** `delay` is in seconds; 0 leaves the time as it is. */
  setKeepAlive(enable: boolean, delay: number): void {
    const idle = delay > 0 ? { idle: delay * 1_000 } : {};
    this.#socket?.setTcpOptions({ keepAlive: enable ? idle : false });
  }

  get local(): AddressInfo | null {
    return this.#shown(this.#socket?.local ?? null);
  }

  get remote(): AddressInfo | null {
    if (this.#connecting !== null) return null;
    return this.#shown(this.#socket?.remote ?? null);
  }

  #shown(address: SocketAddress | null): AddressInfo | null {
    return address === null ? null : addressInfo(address, this.#isDual);
  }
}

/** Systems take connecting to no address in particular for connecting to themselves. */
const OWN: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** The address without its zone; IPv4 that is mapped is IPv4. */
export const bareAddress = (address: string) => canonicalIp(address.replace(/%.*/, ""));

function hostOf(address: string): string {
  const bare = bareAddress(address);
  return OWN[bare] ?? bare;
}

const isLinkLocal = (address: string) => /^fe[89ab]/.test(address);

/** Of an interface's addresses, `fe80::1/64` and the like. */
const linkLocalOf = (addresses: readonly string[]) =>
  addresses.find(isLinkLocal)?.replace(/\/.*/, "");

/** An address as Node shows it: on a socket of both families, IPv4's are mapped (RFC 4291 §2.5.5.2). */
export function addressInfo({ address, port }: SocketAddress, isDual: boolean): AddressInfo {
  if (address.includes(":")) return { address, family: "IPv6", port };
  if (isDual) return { address: `::ffff:${address}`, family: "IPv6", port };
  return { address, family: "IPv4", port };
}
