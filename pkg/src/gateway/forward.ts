/** Ports of the computer that lead into the network, as with QEMU's `hostfwd`. Where there are sockets to listen on: in Node, Bun and Deno. */

import * as check from "../arguments.js";
import type { Clock, Socket, SocketAddress, Stack, UdpSocket } from "../types.js";
import { Connection } from "./http/connection.js";

/** Which port of this computer leads where. */
export interface ForwardOptions {
  /** By default `"tcp"`. */
  protocol?: "tcp" | "udp";
  /** The address to listen on. By default `"127.0.0.1"`, which only programs of this computer reach. */
  host?: string;
  /** 0, by default, lets the system choose. */
  port?: number;
  /** A host of the network, by address or name, and its port. A name is looked up for each connection. */
  to: {
    /** The host, by address or name. */
    hostname: string;
    /** Its port. */
    port: number;
  };
  /** Connections at a time, or for UDP, senders that are told apart; more are refused, or take the place of the one that was idle for longest. By default 256. */
  maxConnections?: number;
}

/** A port that is forwarded. */
export interface Forward {
  /** What it carries. */
  readonly protocol: "tcp" | "udp";
  /** Where this computer listens. */
  readonly address: SocketAddress;
  /** Where it leads. */
  readonly to: {
    /** The host, by address or name. */
    readonly hostname: string;
    /** Its port. */
    readonly port: number;
  };
  /** Connections, or senders of datagrams, at present. */
  readonly connections: number;
  /** Stops listening and ends the connections. Resolves when the port is free. */
  close(): Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What forwarding needs of the gateway. */
export interface ForwardContext {
  readonly stack: Stack;
  readonly clock: Clock;
  /** An open connection to a host of the network, by name or address. */
  connect(hostname: string, port: number, signal: AbortSignal): Promise<Socket>;
  /** An address of a host. */
  resolve(hostname: string): string;
  failed(error: unknown): void;
}

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_MOST = 256;
const PROTOCOLS = ["tcp", "udp"];
/** How much is read from the network at a time. */
const PIECE = 64 * 1024;
/** How long a sender of datagrams is remembered (RFC 4787 §4.3 recommends five minutes for translation, two at least), in milliseconds. */
const UDP_IDLE_TIME = 120_000;

/** The part of Node's sockets that is used. Without Node's own types, which users of the package in browsers do not have. */
interface NetSocket {
  on(event: "data", listener: (bytes: Uint8Array) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  on(event: "end" | "drain" | "close", listener: () => void): void;
  off(event: "drain" | "close", listener: () => void): void;
  pause(): void;
  resume(): void;
  write(bytes: Uint8Array): boolean;
  end(): void;
  resetAndDestroy(): void;
}

interface NetServer {
  maxConnections: number;
  on(event: "connection", listener: (socket: NetSocket) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  once(event: "error", listener: (error: Error) => void): void;
  listen(options: { host: string; port: number }, listening: () => void): void;
  address(): { address: string; port: number };
  close(closed: () => void): void;
}

interface DatagramSender {
  address: string;
  port: number;
}

interface DatagramSocket {
  on(
    event: "message",
    listener: (data: Uint8Array<ArrayBuffer>, from: DatagramSender) => void,
  ): void;
  on(event: "error", listener: (error: Error) => void): void;
  bind(options: { address: string; port: number }, bound: () => void): void;
  address(): { address: string; port: number };
  send(data: Uint8Array, port: number, address: string): void;
  close(closed: () => void): void;
}

interface NodeModules {
  "node:net": {
    createServer(options: object): NetServer;
  };
  "node:dgram": { createSocket(type: "udp4" | "udp6"): DatagramSocket };
}

/** A module of Node. Asked for by a function and not by `import`, which bundlers for browsers would follow. */
function builtin<Name extends keyof NodeModules>(name: Name): NodeModules[Name] {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  const module = process?.getBuiltinModule?.(name);
  if (module === undefined || module === null) {
    throw new TypeError(
      `forward: there is no ${name} here: ports can be forwarded in Node, Bun and Deno, not in a browser`,
    );
  }
  return module as NodeModules[Name];
}

/** The forwarded ports of a gateway. */
export class Forwards {
  readonly #context: ForwardContext;
  readonly #open = new Set<PortForward>();
  #isClosed = false;

  constructor(context: ForwardContext) {
    this.#context = context;
  }

  /** @throws {TypeError | RangeError} that names what is wrong; the system's error if the port cannot be listened on. */
  async add(options: ForwardOptions): Promise<Forward> {
    const { to, ...given } = check.options("options", options);
    const protocol = check.oneOf("options.protocol", PROTOCOLS, given.protocol ?? "tcp");
    const host = check.address("options.host", given.host ?? DEFAULT_HOST);
    const port = check.port("options.port", given.port ?? 0, 0);
    const { hostname, port: toPort } = check.options<ForwardOptions["to"]>("options.to", to);
    const target = {
      hostname: check.string("options.to.hostname", hostname),
      port: check.port("options.to.port", toPort),
    };
    const most = check.integer(
      "options.maxConnections",
      given.maxConnections ?? DEFAULT_MOST,
      1,
      65_535,
    );
    if (this.#isClosed) throw new TypeError("forward: the gateway is closed");
    const begin = protocol === "tcp" ? TcpForward.listen : UdpForward.listen;
    const forward = await begin(this.#context, { host, port }, target, most, (ended) =>
      this.#open.delete(ended),
    );
    if (this.#isClosed) {
      await forward.close();
      throw new TypeError("forward: the gateway was closed");
    }
    this.#open.add(forward);
    return forward;
  }

  list(): Forward[] {
    return [...this.#open];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#open].map((forward) => forward.close()));
  }
}

interface Listen {
  host: string;
  port: number;
}

/** Called when a forward is closed. */
type Ended = (forward: PortForward) => void;

/** What both kinds have in common: what they listen on is a socket of this computer. */
abstract class PortForward implements Forward {
  abstract readonly protocol: "tcp" | "udp";
  readonly address: SocketAddress;
  readonly to: Forward["to"];
  protected readonly context: ForwardContext;
  readonly #ended: Ended;
  #closing: Promise<void> | null = null;

  constructor(
    context: ForwardContext,
    listening: { address(): { address: string; port: number } },
    to: Forward["to"],
    ended: Ended,
  ) {
    const { address, port } = listening.address();
    this.address = { address, port };
    this.to = to;
    this.context = context;
    this.#ended = ended;
  }

  abstract get connections(): number;

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.end(resolve);
      this.#ended(this);
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends what is carried, and stops listening; calls `closed` when the port is free. */
  protected abstract end(closed: () => void): void;
}

class TcpForward extends PortForward {
  readonly protocol = "tcp";
  readonly #server: NetServer;
  readonly #clients = new Set<NetSocket>();

  private constructor(context: ForwardContext, server: NetServer, to: Forward["to"], ended: Ended) {
    super(context, server, to, ended);
    this.#server = server;
    server.on("connection", (client) => this.#carry(client));
    server.on("error", (error) => context.failed(error));
  }

  static async listen(
    this: void,
    context: ForwardContext,
    listen: Listen,
    to: Forward["to"],
    most: number,
    ended: Ended,
  ): Promise<TcpForward> {
    const server = builtin("node:net").createServer({ allowHalfOpen: true, noDelay: true });
    server.maxConnections = most;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(listen, resolve);
    });
    return new TcpForward(context, server, to, ended);
  }

  get connections(): number {
    return this.#clients.size;
  }

  #carry(client: NetSocket): void {
    this.#clients.add(client);
    client.on("close", () => this.#clients.delete(client));
    const carried = this.#join(client);
    // What ended it was told to both ends.
    carried.catch(() => client.resetAndDestroy());
  }

  /** Carries bytes both ways until both have ended. @throws what ended it other than in good order. */
  async #join(client: NetSocket): Promise<void> {
    const gone = new AbortController();
    client.on("error", (error) => gone.abort(error));
    client.on("close", () => gone.abort(new Error("the client is gone")));
    const { clock, connect } = this.context;
    // Until it is open nothing is read: the client's data waits in its own socket.
    const socket = await connect(this.to.hostname, this.to.port, gone.signal);
    const connection = new Connection(socket, clock, Number.POSITIVE_INFINITY);
    gone.signal.addEventListener("abort", () => connection.abort(gone.signal.reason));
    try {
      await Promise.all([upstream(client, connection), downstream(connection, client)]);
      connection.close();
    } catch (error) {
      connection.abort(error);
      throw error;
    }
  }

  protected end(closed: () => void): void {
    this.#server.close(closed);
    for (const client of [...this.#clients]) client.resetAndDestroy();
  }
}

/** From a client into the network; its socket is not read while the network takes nothing. */
function upstream(client: NetSocket, connection: Connection): Promise<void> {
  return new Promise((resolve, reject) => {
    let writing: Promise<void> = Promise.resolve();
    client.on("data", (bytes) => {
      client.pause();
      writing = connection.write(bytes).then(() => client.resume());
      writing.catch(reject);
    });
    // Node tells of the end as soon as nothing is left to read, also while the socket is paused.
    client.on("end", () => {
      writing.then(() => {
        connection.shutdown();
        resolve();
      }, reject);
    });
    client.on("close", () => reject(new Error("the client is gone")));
  });
}

/** From the network to a client; nothing is read from the network while the client takes nothing. */
async function downstream(connection: Connection, client: NetSocket): Promise<void> {
  const piece = new Uint8Array(PIECE);
  for (;;) {
    const count = await connection.read(piece);
    if (count === 0) break;
    if (!client.write(piece.slice(0, count))) await drained(client);
  }
  client.end();
}

function drained(client: NetSocket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      client.off("drain", done);
      client.off("close", done);
      resolve();
    };
    client.on("drain", done);
    client.on("close", done);
  });
}

/** One sender's datagrams have a socket of their own in the network, whose port tells whom the answers are for. */
interface Session {
  socket: UdpSocket;
  timer: unknown;
}

class UdpForward extends PortForward {
  readonly protocol = "udp";
  readonly #socket: DatagramSocket;
  readonly #most: number;
  /** In the order in which they were used. */
  readonly #sessions = new Map<string, Session>();

  private constructor(
    context: ForwardContext,
    socket: DatagramSocket,
    to: Forward["to"],
    most: number,
    ended: Ended,
  ) {
    super(context, socket, to, ended);
    this.#socket = socket;
    this.#most = most;
    socket.on("message", (data, from) => this.#received(data, from));
  }

  static async listen(
    this: void,
    context: ForwardContext,
    { host, port }: Listen,
    to: Forward["to"],
    most: number,
    ended: Ended,
  ): Promise<UdpForward> {
    const socket = builtin("node:dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
    let reject = (error: unknown): void => context.failed(error);
    socket.on("error", (error) => reject(error));
    await new Promise<void>((resolve, failed) => {
      reject = failed;
      socket.bind({ address: host, port }, resolve);
    });
    reject = (error) => context.failed(error);
    return new UdpForward(context, socket, to, most, ended);
  }

  get connections(): number {
    return this.#sessions.size;
  }

  #received(data: Uint8Array<ArrayBuffer>, from: DatagramSender): void {
    try {
      const session = this.#sessionOf(from);
      session.socket.send(data, {
        remoteAddress: this.context.resolve(this.to.hostname),
        remotePort: this.to.port,
      });
    } catch {
      // As on any way through a network, a datagram that cannot go on is lost.
    }
  }

  #sessionOf(from: DatagramSender): Session {
    const key = check.hostPort(from.address, from.port);
    let session = this.#sessions.get(key);
    if (session === undefined) {
      const socket = this.context.stack.bindUdp({ port: 0 });
      session = { socket, timer: null };
      socket.onready = () => this.#answered(key, socket, from);
    }
    this.#touch(key, session);
    const [oldest] = this.#sessions;
    if (oldest !== undefined && this.#sessions.size > this.#most) this.#forget(...oldest);
    return session;
  }

  #answered(key: string, socket: UdpSocket, to: DatagramSender): void {
    for (let next = socket.tryReceive(); next !== null; next = socket.tryReceive()) {
      const session = this.#sessions.get(key);
      if (session?.socket !== socket) return;
      // Others may know the port, but the client talks to one host.
      if (next.remotePort !== this.to.port) continue;
      this.#socket.send(next.data, to.port, to.address);
      this.#touch(key, session);
    }
  }

  #touch(key: string, session: Session): void {
    const { clock } = this.context;
    if (session.timer !== null) clock.clearTimer(session.timer);
    session.timer = clock.setTimer(() => this.#forget(key, session), UDP_IDLE_TIME);
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
  }

  #forget(key: string, session: Session): void {
    this.context.clock.clearTimer(session.timer);
    this.#sessions.delete(key);
    void session.socket.close();
  }

  protected end(closed: () => void): void {
    for (const [key, session] of [...this.#sessions]) this.#forget(key, session);
    this.#socket.close(closed);
  }
}
