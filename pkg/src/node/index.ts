/// <reference types="node" preserve="true" />

/**
 * Node's network modules over a stack, so that existing libraries run over it.
 *
 * ```js
 * const net = createNet(stack);
 * const socket = net.connect(80, "10.0.2.15", () => socket.end("GET / HTTP/1.0\r\n\r\n"));
 * http.get("http://10.0.2.15/", { agent: createHttpAgent(stack) }, (response) => response.pipe(process.stdout));
 * ```
 *
 * @module ethertab/node
 */

export { createDgram, type Dgram } from "./dgram.js";
export { createDns, type Dns } from "./dns.js";
export {
  type NodeEgress,
  type NodeEgressCounters,
  type NodeEgressOptions,
  nodeEgress,
} from "./egress/node_egress.js";
export type { HostPattern } from "./egress/policy.js";
export { createHttpAgent, createHttpsAgent } from "./http_agent.js";
export { createNet, type Net } from "./net.js";
