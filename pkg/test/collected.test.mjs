/** Sockets that nobody holds any more; needs --expose-gc, which the test script gives. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { collectAll, collected, pattern, readAll, twoStacks, until } from "./support.mjs";

const options = { skip: globalThis.gc === undefined && "needs --expose-gc" };

test("a forgotten socket sends what was written, then FIN, and is gone", options, async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const bytes = pattern(200_000);
  let server;
  let forgotten;
  await (async () => {
    const socket = a.connect("10.0.0.2:80");
    server = await listener.accept();
    await socket.opened;
    await socket.writable.getWriter().write(bytes);
    forgotten = new WeakRef(socket);
  })();
  // The peer reads nothing before the socket is gone.
  await collected(() => forgotten.deref() === undefined);
  assert.equal(Buffer.compare(await readAll(server.readable), bytes), 0);
  await server.closed;
  await until(() => a.connections().every(({ state }) => state === "TIME-WAIT"));
  assert.equal(engine.blocksInUse, 0);
  await listener.close();
  engine.close();
});

test("a forgotten socket that was accepted ends its connection, too", options, async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const client = a.connect("10.0.0.2:80");
  await (async () => void (await listener.accept()))();
  const reader = client.readable.getReader();
  const ended = reader.read();
  let isEnded = false;
  ended.then(({ done }) => {
    isEnded = done;
  });
  await collected(() => isEnded);
  await client.closed;
  engine.close();
});

test("what waits holds a socket: reads, writes, closed, onready, pipes", options, async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const told = [];
  const peers = [];
  const forget = async (use) => {
    const socket = a.connect("10.0.0.2:80");
    peers.push(await listener.accept());
    await socket.opened;
    use(socket);
  };
  await forget((socket) => {
    socket.readable
      .getReader()
      .read()
      .then(({ value }) => told.push(`read ${value.length}`));
  });
  await forget((socket) => {
    const writer = socket.writable.getWriter();
    writer.write(new Uint8Array(8_000_000)).then(() => told.push("written"));
    writer.closed.catch(() => {});
  });
  await forget(
    (socket) =>
      void socket.closed.then(
        () => told.push("closed"),
        () => {},
      ),
  );
  await forget((socket) => {
    socket.onready = (ready) => {
      if (ready.readableBytes === 0) return;
      const count = ready.tryRead(new Uint8Array(10));
      if (count > 0) told.push(`ready ${count}`);
    };
  });
  await forget((socket) => {
    socket.readable.pipeTo(socket.writable).catch(() => {});
  });
  await collectAll();
  assert.deepEqual(told, []);
  assert.equal(b.connections().filter(({ state }) => state === "ESTABLISHED").length, 5);

  const [reading, writing, closing, ready, echoing] = peers;
  reading.tryWrite(pattern(3));
  ready.tryWrite(pattern(4));
  const received = readAll(writing.readable);
  closing.shutdown();
  echoing.tryWrite(pattern(5));
  assert.equal((await echoing.readable.getReader().read()).value.length, 5);
  await until(() => told.includes("written") && told.includes("read 3"), "what waits");
  assert.ok(told.includes("ready 4"));
  // Nothing waits on the one that wrote any more: its end comes when it is collected.
  let length = 0;
  received.then((bytes) => {
    length = bytes.length;
  });
  await collected(() => length === 8_000_000);
  engine.close();
});

test(
  "a socket that is used again after a rest is as it was, and ends with its stack",
  options,
  async () => {
    const { engine, a, b } = await twoStacks();
    const listener = b.listen({ port: 80 });
    const client = a.connect("10.0.0.2:80");
    const server = await listener.accept();
    await client.opened;
    const reader = client.readable.getReader();
    for (let round = 0; round < 3; round += 1) {
      await delay(600);
      globalThis.gc();
      server.tryWrite(pattern(10));
      assert.equal((await reader.read()).value.length, 10);
    }
    await delay(600);
    const failed = assert.rejects(client.closed, { code: "ABORT_ERR" });
    const reset = assert.rejects(server.closed, { code: "ECONNRESET" });
    await a.close();
    await Promise.all([failed, reset]);
    engine.close();
  },
);

test("a signal does not hold the sockets that it was given to", options, async () => {
  const { engine, a, b } = await twoStacks();
  const { signal } = new AbortController();
  const listener = b.listen({ port: 80 });
  let forgotten;
  await (async () => {
    const socket = a.connect("10.0.0.2:80", { signal });
    await listener.accept();
    await socket.opened;
    forgotten = new WeakRef(socket);
  })();
  await collected(() => forgotten.deref() === undefined);
  assert.equal(signal.aborted, false);
  engine.close();
});
