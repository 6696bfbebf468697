/** `node:net` over a stack. */

import { channel } from "node:diagnostics_channel";
import * as net from "node:net";
import type { Stack } from "../types.js";
import type { ConnectOptions } from "./connect.js";
import { NodeHost } from "./host.js";
import { NetServer, type ServerOptions } from "./server.js";
import { connectArguments, NetSocket, type SocketOptions } from "./socket.js";

/** The shape of `node:net`. */
export type Net = typeof net;

/** What Node tells of its own sockets is told of these as well. */
const clientSockets = channel("net.client.socket");

/** Arguments as Node's own functions give them on, which programs see that look at what `connect` is called with. */
function understood(args: unknown[]): unknown {
  const { _normalizeArgs: normalize } = net as { _normalizeArgs?: (args: unknown[]) => unknown };
  return normalize?.(args) ?? connectArguments(args);
}

/** A class that can be called without `new` too, as Node's. */
function callable<T extends abstract new (...args: never[]) => object>(type: T): T {
  return new Proxy(type, {
    apply: (target, _this, args: unknown[]) => Reflect.construct(target, args),
  });
}

/**
 * What `node:net` is for the operating system's network, for a stack's. Names are looked up by the stack's resolver. Sockets keep the program
 * running while they are open, as Node's do.
 */
export function createNet(stack: Stack): Net {
  const host = new NodeHost(stack);

  class SocketOfStack extends NetSocket {
    constructor(options?: SocketOptions | number) {
      super(host, options);
    }
  }
  Object.defineProperty(SocketOfStack, "name", { value: "Socket" });
  const Socket = callable(SocketOfStack);
  Object.defineProperty(SocketOfStack.prototype, "constructor", { value: Socket });

  class ServerOfStack extends NetServer {
    constructor(
      options?: ServerOptions | ((socket: NetSocket) => void) | null,
      listener?: (socket: NetSocket) => void,
    ) {
      super(host, (given) => new SocketOfStack(given), options, listener);
    }
  }
  Object.defineProperty(ServerOfStack, "name", { value: "Server" });
  const Server = callable(ServerOfStack);
  Object.defineProperty(ServerOfStack.prototype, "constructor", { value: Server });

  const connect = (...args: unknown[]): NetSocket => {
    const [options] = connectArguments(args);
    const socket = new SocketOfStack(options as SocketOptions);
    clientSockets.publish({ socket });
    if ((options as ConnectOptions).timeout) {
      socket.setTimeout((options as { timeout: number }).timeout);
    }
    return socket.connect(understood(args));
  };

  const shape = {
    ...net,
    Socket,
    Stream: Socket,
    Server,
    connect,
    createConnection: connect,
    createServer: (
      options?: ServerOptions | ((socket: NetSocket) => void),
      listener?: (socket: NetSocket) => void,
    ) => new ServerOfStack(options, listener),
  };
  Reflect.deleteProperty(shape, "default");
  return shape as unknown as Net;
}
