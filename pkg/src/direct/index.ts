/**
 * The classes of the Direct Sockets API (https://wicg.github.io/direct-sockets/) over a stack: `TCPSocket`, `TCPServerSocket` and `UDPSocket`, for code that is
 * written for them.
 *
 * @module
 */

import { show } from "../arguments.js";
import type { AnyStack } from "./options.js";
import {
  DirectTcpServerSocket,
  DirectTcpSocket,
  type TCPServerSocketOptions,
  type TCPSocketOptions,
} from "./tcp.js";
import { DirectUdpSocket, type UDPSocketOptions } from "./udp.js";

export type { DirectSocket, SocketStreams } from "./lifetime.js";
export type { AnyStack, SocketDnsQueryType } from "./options.js";
export type {
  DirectTcpServerSocket,
  DirectTcpSocket,
  TCPServerSocketOpenInfo,
  TCPServerSocketOptions,
  TCPSocketOpenInfo,
  TCPSocketOptions,
} from "./tcp.js";
export type {
  DirectUdpSocket,
  MulticastController,
  MulticastGroupOptions,
  MulticastMembership,
  UDPMessage,
  UDPSocketOpenInfo,
  UDPSocketOptions,
} from "./udp.js";

/** The three classes, whose sockets are of one stack. */
export interface DirectSockets {
  /** Makes a connection. */
  readonly TCPSocket: {
    /** Throws a TypeError that names the argument which is wrong. */
    new (remoteAddress: string, remotePort: number, options?: TCPSocketOptions): DirectTcpSocket;
  };
  /** Waits for connections. */
  readonly TCPServerSocket: {
    /** Throws a TypeError that names the argument which is wrong. */
    new (localAddress: string, options?: TCPServerSocketOptions): DirectTcpServerSocket;
  };
  /** Sends and receives datagrams. */
  readonly UDPSocket: {
    /** Throws a TypeError that names the argument which is wrong. */
    new (options?: UDPSocketOptions): DirectUdpSocket;
  };
}

/**
 * The classes of the Direct Sockets API over a stack, of this thread or in a worker. The rules of that API for pages do not hold here: there is no permission to
 * ask for, and all ports and addresses may be used.
 */
export function createDirectSockets(stack: AnyStack): DirectSockets {
  if (typeof stack !== "object" || stack === null || typeof stack.connect !== "function") {
    throw new TypeError(`stack must come from createStack, got ${show(stack)}`);
  }
  class TCPSocket extends DirectTcpSocket {
    constructor(remoteAddress: string, remotePort: number, options?: TCPSocketOptions) {
      super(stack, remoteAddress, remotePort, options);
    }
  }
  class TCPServerSocket extends DirectTcpServerSocket {
    constructor(localAddress: string, options?: TCPServerSocketOptions) {
      // What was accepted takes the place of an address.
      super(stack, (accepted) => new TCPSocket(accepted as never, 0), localAddress, options);
    }
  }
  class UDPSocket extends DirectUdpSocket {
    constructor(options?: UDPSocketOptions) {
      super(stack, options);
    }
  }
  return { TCPSocket, TCPServerSocket, UDPSocket };
}
