/** `TCPSocket` and `TCPServerSocket`. The steps are those of https://wicg.github.io/direct-sockets/, in their order. */

import * as check from "../arguments.js";
import { deferred } from "../engine_core.js";
import type { Listener, Socket, TcpOptions } from "../types.js";
import type { WorkerListener, WorkerSocket } from "../worker/types.js";
import {
  type AnyStack,
  addressOf,
  dictionary,
  enforceRange,
  familyOf,
  invalidState,
  ipLiteral,
  isUnspecified,
  LONG,
  networkError,
  positive,
  queryFamily,
  SHORT,
  Sides,
  type SocketDnsQueryType,
} from "./options.js";

/** See https://wicg.github.io/direct-sockets/#tcpsocketoptions-dictionary. Delays are milliseconds, sizes bytes. */
export interface TCPSocketOptions {
  /** Bytes that the send buffer may hold. */
  sendBufferSize?: number;
  /** Bytes that the receive buffer may hold. */
  receiveBufferSize?: number;
  /** By default false. */
  noDelay?: boolean;
  /** Enables keep-alive; at least 1000. */
  keepAliveDelay?: number;
  /** Of which family the addresses of a name are to be. By default of both. */
  dnsQueryType?: SocketDnsQueryType;
}

/** What `opened` resolves with. */
export interface TCPSocketOpenInfo {
  /** What the peer sends. */
  readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Takes what the peer is to get. */
  writable: WritableStream<BufferSource>;
  /** The peer's address. */
  remoteAddress: string;
  /** The peer's port. */
  remotePort: number;
  /** This end's address. */
  localAddress: string;
  /** This end's port. */
  localPort: number;
}

/** See https://wicg.github.io/direct-sockets/#tcpserversocketoptions-dictionary. */
export interface TCPServerSocketOptions {
  /** By default the stack chooses one. */
  localPort?: number;
  /** Connections that may wait to be accepted. */
  backlog?: number;
  /** Whether a socket on `::` takes IPv6 only. By default false. */
  ipv6Only?: boolean;
}

/** What `opened` resolves with. */
export interface TCPServerSocketOpenInfo<T = DirectTcpSocket> {
  /** The connections that come. */
  readable: ReadableStream<T>;
  /** The address that is listened on. */
  localAddress: string;
  /** The port that is listened on. */
  localPort: number;
}

/** A connection that was accepted, for the constructor. */
const ACCEPTED = Symbol("accepted");

interface AcceptedConnection {
  [ACCEPTED]: Socket | WorkerSocket;
}

/** The options of a stack for those of the platform. */
function tcpOptions(options: Partial<TCPSocketOptions>): TcpOptions {
  const { keepAliveDelay } = options;
  const tcp: TcpOptions = { noDelay: Boolean(options.noDelay) };
  if (keepAliveDelay !== undefined) {
    const delay = enforceRange("options.keepAliveDelay", keepAliveDelay, LONG);
    if (delay < 1_000) {
      throw new TypeError(`options.keepAliveDelay must be at least 1000, got ${delay}`);
    }
    tcp.keepAlive = { idle: delay, interval: delay };
  }
  const sendBuffer = positive("options.sendBufferSize", options.sendBufferSize, LONG);
  const receiveBuffer = positive("options.receiveBufferSize", options.receiveBufferSize, LONG);
  // A requested size: the stack's own bounds hold.
  if (sendBuffer !== undefined) tcp.sendBuffer = bounded(sendBuffer);
  if (receiveBuffer !== undefined) tcp.receiveBuffer = bounded(receiveBuffer);
  return tcp;
}

function bounded(size: number): number {
  return Math.min(Math.max(size, 4_096), 64 * 1024 * 1024);
}

/** `TCPSocket` of a stack. */
export class DirectTcpSocket {
  /** Resolves when the connection is open, rejects when it could not be. */
  readonly opened: Promise<TCPSocketOpenInfo>;
  /** Resolves when the connection has ended in good order, rejects with what ended it. */
  readonly closed: Promise<undefined>;
  readonly #closing = deferred<undefined>();
  #info: TCPSocketOpenInfo | null = null;
  #isSettled = false;

  constructor(
    stack: AnyStack,
    remoteAddress: string | AcceptedConnection,
    remotePort?: number,
    options?: TCPSocketOptions,
  ) {
    this.closed = this.#closing.promise;
    let opening: Promise<TCPSocketOpenInfo>;
    if (typeof remoteAddress === "object" && remoteAddress !== null && ACCEPTED in remoteAddress) {
      opening = this.#open(Promise.resolve(remoteAddress[ACCEPTED]));
    } else {
      const host = String(remoteAddress);
      const port = enforceRange("remotePort", remotePort, SHORT);
      const given = dictionary("options", options);
      const family = queryFamily("options.dnsQueryType", given.dnsQueryType);
      opening = this.#open(connect(stack, host, port, family, tcpOptions(given)));
    }
    opening.catch(() => {});
    this.opened = opening;
  }

  async #open(connecting: Promise<Socket | WorkerSocket>): Promise<TCPSocketOpenInfo> {
    try {
      const socket = await connecting;
      await socket.opened;
      this.#info = this.#infoOf(socket);
      return this.#info;
    } catch (cause) {
      const error = networkError(cause);
      this.#settle({ error });
      throw error;
    }
  }

  #infoOf(socket: Socket | WorkerSocket): TCPSocketOpenInfo {
    const sides = new Sides(["readable", "writable"], (failure) => {
      // Both sides have ended: what was written is on its way.
      socket.close().catch(() => {});
      this.#settle(failure);
    });
    const { remote, local } = socket;
    return {
      readable: readableOf(socket, sides),
      writable: writableOf(socket, sides),
      remoteAddress: remote.address,
      remotePort: remote.port,
      localAddress: local?.address ?? "",
      localPort: local?.port ?? 0,
    };
  }

  #settle(failure: { error: unknown } | null): void {
    this.#isSettled = true;
    if (failure === null) this.#closing.resolve(undefined);
    else this.#closing.reject(failure.error);
  }

  /** Closes the socket. Rejects while one of its streams is locked. */
  async close(): Promise<undefined> {
    if (this.#info === null) throw invalidState("the socket is not open");
    if (this.#isSettled) return this.closed;
    const { readable, writable } = this.#info;
    if (readable.locked || writable.locked) {
      throw invalidState(
        "the socket's streams are locked: release or close their readers and writers",
      );
    }
    readable.cancel().catch(() => {});
    writable.abort().catch(() => {});
    return this.closed;
  }

  /** The name of the class. */
  get [Symbol.toStringTag](): string {
    return "TCPSocket";
  }
}

async function connect(
  stack: AnyStack,
  host: string,
  port: number,
  family: 0 | 4 | 6,
  tcp: TcpOptions,
): Promise<Socket | WorkerSocket> {
  // Without a family, the stack tries the addresses of both.
  const hostname = family === 0 ? host : await addressOf(stack, host, family);
  return stack.connect({ hostname, port }, { tcp, allowHalfOpen: true });
}

function readableOf(
  socket: Socket | WorkerSocket,
  sides: Sides,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = socket.readable.getReader();
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      type: "bytes",
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) {
            controller.enqueue(value);
            return;
          }
          controller.close();
          (controller as ReadableByteStreamController).byobRequest?.respond(0);
          sides.end("readable");
        } catch (cause) {
          const error = networkError(cause);
          controller.error(error);
          sides.end("readable", { error });
        }
      },
      cancel() {
        sides.end("readable");
        // What still comes is thrown away.
        return reader.cancel().catch(() => {});
      },
    },
    { highWaterMark: 0 },
  );
}

function writableOf(socket: Socket | WorkerSocket, sides: Sides): WritableStream<BufferSource> {
  const writer = socket.writable.getWriter();
  return new WritableStream<BufferSource>({
    start(controller) {
      writer.closed.catch((cause) => {
        if (!sides.isActive("writable")) return;
        const error = networkError(cause);
        controller.error(error);
        sides.end("writable", { error });
      });
    },
    async write(chunk) {
      // A chunk that is no bytes is refused before it reaches the socket.
      const bytes = new Uint8Array(check.bytes("chunk", chunk));
      try {
        await writer.write(bytes);
      } catch (cause) {
        const error = networkError(cause);
        sides.end("writable", { error });
        throw error;
      }
    },
    async close() {
      await writer.close().catch(() => {});
      sides.end("writable");
    },
    async abort() {
      sides.end("writable");
      try {
        socket.shutdown();
      } catch {
        // It has ended by itself.
      }
    },
  });
}

/** `TCPServerSocket` of a stack. */
export class DirectTcpServerSocket<T = DirectTcpSocket> {
  /** Resolves when connections are taken, rejects when the port cannot be listened on. */
  readonly opened: Promise<TCPServerSocketOpenInfo<T>>;
  /** Resolves when it was closed. */
  readonly closed: Promise<undefined>;
  readonly #closing = deferred<undefined>();
  #info: TCPServerSocketOpenInfo<T> | null = null;
  #isSettled = false;

  constructor(
    stack: AnyStack,
    socketOf: (accepted: AcceptedConnection) => T,
    localAddress: string,
    options?: TCPServerSocketOptions,
  ) {
    this.closed = this.#closing.promise;
    const address = ipLiteral("localAddress", localAddress);
    const given = dictionary("options", options);
    const port = positive("options.localPort", given.localPort, SHORT) ?? 0;
    const backlog = positive("options.backlog", given.backlog, LONG);
    const isAny = isUnspecified(address);
    if (given.ipv6Only && !(isAny && familyOf(address) === 6)) {
      throw new TypeError('options.ipv6Only needs "::" as localAddress');
    }
    // One listener of the stack serves both families: the connections of a family that was not asked for are reset.
    const family = isAny && (given.ipv6Only || familyOf(address) === 4) ? familyOf(address) : 0;
    const opening = this.#open(
      () =>
        stack.listen({
          port,
          ...(isAny ? {} : { hostname: address }),
          ...(backlog === undefined ? {} : { backlog: Math.min(backlog, SHORT) }),
          allowHalfOpen: true,
        }),
      address,
      family,
      socketOf,
    );
    opening.catch(() => {});
    this.opened = opening;
  }

  async #open(
    listen: () => Listener | WorkerListener,
    localAddress: string,
    family: 0 | 4 | 6,
    socketOf: (accepted: AcceptedConnection) => T,
  ): Promise<TCPServerSocketOpenInfo<T>> {
    try {
      const listener = listen();
      const { port: localPort } = await listener.listening;
      const accept = async (): Promise<Socket | WorkerSocket> => {
        for (;;) {
          const socket = await listener.accept();
          if (family === 0 || familyOf(socket.remote.address) === family) return socket;
          socket.abort();
        }
      };
      const readable = new ReadableStream<T>(
        {
          pull: async (controller) => {
            try {
              controller.enqueue(socketOf({ [ACCEPTED]: await accept() }));
            } catch (cause) {
              if (this.#isSettled) return;
              const error = networkError(cause);
              controller.error(error);
              this.#isSettled = true;
              this.#closing.reject(error);
            }
          },
          cancel: async () => {
            this.#isSettled = true;
            await listener.close();
            this.#closing.resolve(undefined);
          },
        },
        { highWaterMark: 0 },
      );
      this.#info = { readable, localAddress, localPort };
      return this.#info;
    } catch (cause) {
      const error = networkError(cause);
      this.#isSettled = true;
      this.#closing.reject(error);
      throw error;
    }
  }

  /** Closes the socket. Rejects while one of its streams is locked. */
  async close(): Promise<undefined> {
    if (this.#info === null) throw invalidState("the socket is not open");
    if (this.#isSettled) return this.closed;
    if (this.#info.readable.locked)
      throw invalidState("the socket's stream is locked: release its reader");
    this.#info.readable.cancel().catch(() => {});
    return this.closed;
  }

  /** The name of the class. */
  get [Symbol.toStringTag](): string {
    return "TCPServerSocket";
  }
}
