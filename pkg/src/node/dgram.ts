/** `node:dgram` over a stack. */

import type * as dgram from "node:dgram";
import type { Stack } from "../types.js";
import { type DgramOptions, DgramSocket, type MessageListener } from "./dgram_socket.js";
import { NodeHost } from "./host.js";

/** The shape of `node:dgram`. */
export type Dgram = typeof dgram;

/**
 * What `node:dgram` is for the operating system's network, for a stack's. The stack's queues for datagrams have the sizes that its limits
 * give them: the buffer sizes of a socket are kept and told, and change nothing.
 */
export function createDgram(stack: Stack): Dgram {
  const host = new NodeHost(stack);
  class Socket extends DgramSocket {
    constructor(type: string | DgramOptions, listener?: MessageListener) {
      super(host, type, listener);
    }
  }
  const createSocket = (type: string | DgramOptions, listener?: MessageListener) =>
    new Socket(type, listener);
  return { Socket, createSocket } as unknown as Dgram;
}
