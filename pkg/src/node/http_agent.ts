/** `http.Agent` and `https.Agent` over a stack. */

import * as http from "node:http";
import * as https from "node:https";
import type { NetConnectOpts } from "node:net";
import type { Duplex } from "node:stream";
import type { Stack } from "../types.js";
import { createNet } from "./net.js";

/** An agent for `http.request` whose connections are a stack's. */
export function createHttpAgent(stack: Stack, options?: http.AgentOptions): http.Agent {
  const net = createNet(stack);
  class Agent extends http.Agent {
    override createConnection(given: http.ClientRequestArgs): Duplex {
      return net.connect(given as NetConnectOpts);
    }
  }
  return new Agent(options);
}

type Made = (error: Error | null, stream: Duplex) => void;

/** An agent for `https.request` whose connections are a stack's. TLS is Node's own. */
export function createHttpsAgent(stack: Stack, options?: https.AgentOptions): https.Agent {
  const net = createNet(stack);
  class Agent extends https.Agent {
    override createConnection(given: https.RequestOptions, made?: Made): Duplex | null | undefined {
      const socket = net.connect(given as NetConnectOpts);
      // Node's own method does the rest: sessions that are taken up again, and whether the name is right.
      const secure = super.createConnection({ ...given, socket } as https.RequestOptions, made);
      // TLS has an end of its own, and what is under it must not end by itself when the peer's comes. TLS's socket, which takes this over from
      // the one under it as it is made, does.
      socket.allowHalfOpen = true;
      return secure;
    }
  }
  return new Agent(options);
}
