// Needs --expose-gc, which the test script gives.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTask } from "node:timers/promises";
import { pattern, twoStacks, until } from "./support.mjs";

async function heap() {
  for (let round = 0; round < 5; round += 1) {
    await nextTask();
    globalThis.gc();
  }
  return process.memoryUsage().heapUsed;
}

test("connections come and go without a trace", {
  skip: globalThis.gc === undefined && "needs --expose-gc",
}, async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const serving = (async () => {
    for await (const socket of listener) await socket.readable.pipeTo(socket.writable);
  })();
  const exchange = async () => {
    const socket = a.connect("10.0.0.2:80");
    const writer = socket.writable.getWriter();
    const reader = socket.readable.getReader();
    await writer.write(pattern(100));
    await writer.close();
    while (!(await reader.read()).done);
    await socket.closed;
  };
  for (let count = 0; count < 500; count += 1) await exchange();
  const before = await heap();
  const wasmBefore = engine.memoryBytes;
  for (let count = 0; count < 1_000; count += 1) await exchange();
  const grown = (await heap()) - before;
  assert.ok(grown < 512 * 1024, `the heap grew by ${grown} bytes`);
  assert.equal(engine.memoryBytes, wasmBefore);
  await listener.close();
  await serving;
  await until(() => engine.blocksInUse === 0, "no block in use");
  assert.deepEqual(
    [...a.connections(), ...b.connections()].filter(({ state }) => state !== "TIME-WAIT"),
    [],
  );
  engine.close();
});

test("a long transfer leaves memory where it was", {
  skip: globalThis.gc === undefined && "needs --expose-gc",
}, async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const client = a.connect("10.0.0.2:80");
  const server = await listener.accept();
  const chunk = pattern(65_536);
  const into = new Uint8Array(262_144);
  let sent = 0;
  let received = 0;
  let goal = 0;
  let reached = () => {};
  client.onready = () => {
    while (sent < goal) {
      const taken = client.tryWrite(chunk);
      sent += taken;
      if (taken < chunk.byteLength) break;
    }
  };
  server.onready = () => {
    for (let count = server.tryRead(into); count > 0; count = server.tryRead(into))
      received += count;
    if (received >= goal) reached();
  };
  const move = (bytes) =>
    new Promise((resolve) => {
      goal += bytes;
      reached = resolve;
      client.onready(client);
    });
  await client.opened;
  await move(100_000_000);
  const before = { heap: await heap(), wasm: engine.memoryBytes, blocks: engine.blocksInUse };
  await move(400_000_000);
  const grown = (await heap()) - before.heap;
  assert.ok(grown < 512 * 1024, `the heap grew by ${grown} bytes`);
  assert.equal(engine.memoryBytes, before.wasm);
  client.onready = null;
  server.onready = null;
  engine.close();
});
