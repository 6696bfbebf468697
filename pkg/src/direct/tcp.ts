/** `TCPSocket` and `TCPServerSocket`. The steps are those of https://wicg.github.io/direct-sockets/, in their order. */

import * as check from "../arguments.js";
import { microtask } from "../clock.js";
import type { BufferSource } from "../platform.js";
import type { Listener, Socket, TcpOptions } from "../types.js";
import type { WorkerListener, WorkerSocket } from "../worker/types.js";
import { DirectSocket, type Settle } from "./lifetime.js";
import {
  type AnyStack,
  addressOf,
  dictionary,
  enforceRange,
  failing,
  familyOf,
  ipLiteral,
  isUnspecified,
  LONG,
  networkError,
  positive,
  queryFamily,
  SHORT,
  Sides,
  type SocketDnsQueryType,
  whenEnded,
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
export class DirectTcpSocket extends DirectSocket<TCPSocketOpenInfo> {
  constructor(
    stack: AnyStack,
    remoteAddress: string | AcceptedConnection,
    remotePort?: number,
    options?: TCPSocketOptions,
  ) {
    const connecting = begun(stack, remoteAddress, remotePort, options);
    super(async (settle) => {
      const socket = await connecting;
      await socket.opened;
      return openInfo(socket, settle);
    });
  }

  /** The name of the class. */
  get [Symbol.toStringTag](): string {
    return "TCPSocket";
  }
}

/** The connection that was accepted, or one that is being made. Throws for arguments that are wrong. */
function begun(
  stack: AnyStack,
  remoteAddress: string | AcceptedConnection,
  remotePort: number | undefined,
  options: TCPSocketOptions | undefined,
): Promise<Socket | WorkerSocket> {
  if (typeof remoteAddress === "object" && remoteAddress !== null && ACCEPTED in remoteAddress) {
    return Promise.resolve(remoteAddress[ACCEPTED]);
  }
  const host = String(remoteAddress);
  const port = enforceRange("remotePort", remotePort, SHORT);
  const given = dictionary("options", options);
  const family = queryFamily("options.dnsQueryType", given.dnsQueryType);
  return connect(stack, host, port, family, tcpOptions(given));
}

function openInfo(socket: Socket | WorkerSocket, settle: Settle): TCPSocketOpenInfo {
  const sides = new Sides(["readable", "writable"], (failure) => {
    // Both sides have ended: what was written is on its way.
    socket.close().catch(() => {});
    settle(failure);
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
      start(controller) {
        // Whether or not somebody reads.
        reader.closed.catch(failing(sides, "readable", controller));
      },
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
          failing(sides, "readable", controller)(cause);
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
  let isWriting = false;
  return new WritableStream<BufferSource>({
    start(controller) {
      writer.closed.catch(failing(sides, "writable", controller));
      // `abort` below is called only after the write that waits, which may wait for ever, and its bytes cannot be taken back: the peer must not
      // take what came of them for all.
      const { signal } = controller;
      signal.addEventListener("abort", () => {
        if (isWriting) microtask(() => socket.abort(signal.reason));
      });
    },
    async write(chunk) {
      // A chunk that is no bytes is refused before it reaches the socket.
      const bytes = new Uint8Array(check.bytes("chunk", chunk));
      isWriting = true;
      try {
        await writer.write(bytes);
      } catch (cause) {
        const error = networkError(cause);
        sides.end("writable", { error });
        throw error;
      } finally {
        isWriting = false;
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
export class DirectTcpServerSocket<T = DirectTcpSocket> extends DirectSocket<
  TCPServerSocketOpenInfo<T>
> {
  constructor(
    stack: AnyStack,
    socketOf: (accepted: AcceptedConnection) => T,
    localAddress: string,
    options?: TCPServerSocketOptions,
  ) {
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
    super(async (settle) => {
      const listener = stack.listen({
        port,
        ...(isAny ? {} : { hostname: address }),
        ...(backlog === undefined ? {} : { backlog: Math.min(backlog, SHORT) }),
        allowHalfOpen: true,
      });
      const { port: localPort } = await listener.listening;
      const readable = connectionsOf(listener, family, socketOf, settle);
      return { readable, localAddress: address, localPort };
    });
  }

  /** The name of the class. */
  get [Symbol.toStringTag](): string {
    return "TCPServerSocket";
  }
}

function connectionsOf<T>(
  listener: Listener | WorkerListener,
  family: 0 | 4 | 6,
  socketOf: (accepted: AcceptedConnection) => T,
  settle: Settle,
): ReadableStream<T> {
  const sides = new Sides(["readable"], settle);
  return new ReadableStream<T>(
    {
      start(controller) {
        whenEnded(listener, () => listener.accept(), failing(sides, "readable", controller));
      },
      async pull(controller) {
        try {
          for (;;) {
            const socket = await listener.accept();
            if (family === 0 || familyOf(socket.remote.address) === family) {
              controller.enqueue(socketOf({ [ACCEPTED]: socket }));
              return;
            }
            socket.abort();
          }
        } catch (cause) {
          failing(sides, "readable", controller)(cause);
        }
      },
      async cancel() {
        sides.end("readable");
        await listener.close();
      },
    },
    { highWaterMark: 0 },
  );
}
