/**
 * The end-to-end suite in Node. Needs `node --expose-gc` for the heap's size; `--liftoff-only`, V8's baseline compiler alone,
 * halves its time, since v86 makes more code than runs long enough to be worth optimizing.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { startGuest } from "../guest/node.mjs";
import { startRemote } from "./processes.mjs";
import { runScenario, runs } from "./scenarios.mjs";

let remote;
before(async () => {
  assert.ok(globalThis.gc, "run with --expose-gc");
  remote = await startRemote();
});
after(() => remote?.close());

async function heapBytes() {
  // What a finalizer lets go is collected one turn later.
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

for (const { scenario, nic } of runs) {
  test(`${scenario.name} (${nic})`, (t) =>
    runScenario(scenario, nic, {
      startGuest,
      heapBytes,
      openHub: () => new WebSocket(remote.hub),
      log: (text) => t.diagnostic(text),
    }));
}
