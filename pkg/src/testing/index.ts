/// <reference types="node" preserve="true" />

/**
 * Real sockets on a simulated network, in virtual time, the same on every run.
 *
 * ```js
 * await using world = await createWorld({ seed: 1 });
 * const [a, b] = [world.host("a"), world.host("b")];
 * world.cable(a, b, { latency: "40ms", rate: "10mbit", loss: 0.01 });
 * b.serve(80, () => new Response("hello"));
 * const text = await world.run(async () => (await a.fetch("http://b/")).text());
 * ```
 *
 * @module
 */

export { createWorld } from "./create.js";
export { WorldStuckError } from "./scheduler.js";
export {
  rewind,
  type Scenario,
  type SimulateOptions,
  SimulationError,
  simulate,
} from "./simulate.js";
export type * from "./types.js";
