// A hook on every port sees, changes and drops frames; every port can be unplugged, and closed by a signal.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createCable, createEngine, createStack, createSwitch, functionPort, plug } from "ethertab";
import { connected, pattern, readAll, settle, twoStacks, writeAll } from "./support.mjs";

const IPV4 = 0x0800;
const etherType = (frame) => (frame[12] << 8) | frame[13];
const isPing = (frame) => etherType(frame) === IPV4 && frame[23] === 1;
const isTcp = (frame) => etherType(frame) === IPV4 && frame[23] === 6;
const source = (frame) =>
  [...frame.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");

/** Two stacks, each of whose interfaces is joined by what `join` makes of them. Returns each place with a port that may be hooked. */
const PLACES = {
  "an interface on a cable": async () => {
    const { engine, a, b, nicA } = await twoStacks();
    return { a, b, port: nicA, owner: "a", end: () => engine.close() };
  },
  "an interface at a switch": async () => {
    const { engine, a, b, nicA, nicB, link } = await twoStacks();
    link.unplug();
    const lan = await createSwitch({ engine });
    lan.plug(nicA);
    lan.plug(nicB);
    return { a, b, port: nicA, owner: "a", end: () => engine.close() };
  },
  "an interface whose peer is in another engine": async () => {
    const [near, far] = [await createEngine(), await createEngine()];
    const a = await createStack({ engine: near });
    const b = await createStack({ engine: far });
    const nicA = a.addInterface({ mac: "02:00:00:00:00:0a", addresses: ["10.0.0.1/24"] });
    plug(nicA, b.addInterface({ addresses: ["10.0.0.2/24"] }));
    return { a, b, port: nicA, owner: "a", end: () => [near, far].map((engine) => engine.close()) };
  },
  "the end of a cable": async () => {
    const { engine, a, b, nicA, nicB, link } = await twoStacks();
    link.unplug();
    const cable = await createCable({ engine });
    plug(cable.a, nicA);
    plug(cable.b, nicB);
    return { a, b, port: cable.a, owner: "cable", end: () => engine.close() };
  },
  "a port made of functions": async () => {
    const { engine, a, b, nicA, nicB, link } = await twoStacks();
    link.unplug();
    const left = functionPort({ send: (frame) => right.receive(frame) });
    const right = functionPort({ send: (frame) => left.receive(frame) });
    plug(nicA, left);
    plug(nicB, right);
    return { a, b, port: left, owner: "left", end: () => engine.close() };
  },
};

for (const [place, make] of Object.entries(PLACES)) {
  test(`a hook at ${place} sees, changes and drops frames`, async () => {
    const { a, b, port, owner, end } = await make();
    await a.ping("10.0.0.2");

    const seen = [];
    port.hook = (frame, direction) => void seen.push({ frame, direction });
    await a.ping("10.0.0.2");
    const pings = seen.filter(({ frame }) => isPing(frame));
    // The request leaves the stack: out of the interface that it owns, into whatever else is there.
    const request = owner === "a" ? "out" : "in";
    assert.deepEqual(
      pings.map(({ frame, direction }) => [source(frame) === "02:00:00:00:00:0a", direction]),
      [
        [true, request],
        [false, request === "out" ? "in" : "out"],
      ],
    );

    // In both directions, all that is not TCP: each frame of a transfer, as it is.
    port.hook = (frame) => isTcp(frame);
    const { client, server } = await connected({ a, b });
    const bytes = pattern(300_000);
    const [received] = await Promise.all([
      readAll(server.readable),
      writeAll(client.writable, bytes),
    ]);
    assert.equal(Buffer.compare(received, bytes), 0);
    await assert.rejects(a.ping("10.0.0.2", { timeout: 30 }));
    assert.ok(port.counters.filtered >= 1);

    // Changed in place: the echo's data is another then, and its checksum wrong.
    port.hook = (frame) => {
      if (isPing(frame)) frame[frame.length - 1] ^= 1;
    };
    await assert.rejects(a.ping("10.0.0.2", { timeout: 30, size: 32 }));
    // Replaced by another array, which is right.
    port.hook = (frame) => frame.slice();
    await a.ping("10.0.0.2");

    port.hook = null;
    const { length } = seen;
    await a.ping("10.0.0.2");
    assert.equal(seen.length, length);
    assert.equal(port.hook, null);

    assert.equal(port.isPlugged, true);
    port.unplug();
    port.unplug();
    assert.equal(port.isPlugged, false);
    await assert.rejects(a.ping("10.0.0.2", { timeout: 20 }));
    end();
  });
}

test("a hook that fails or answers with nonsense drops the frame, and is reported", async () => {
  const reported = [];
  // As browsers have it; what Node does instead would end the test.
  globalThis.reportError = (error) => reported.push(error.message);
  const { engine, a, nicA } = await twoStacks();
  await a.ping("10.0.0.2");
  for (const [hook, text] of [
    [() => assert.fail("by intent"), /by intent/],
    [
      async () => undefined,
      /must return a frame, a boolean or nothing, got an instance of Promise/,
    ],
    [() => new Uint8Array(13), /must return a frame/],
    [() => new Uint8Array(70_000), /must return a frame/],
  ]) {
    nicA.hook = hook;
    await assert.rejects(a.ping("10.0.0.2", { timeout: 20 }));
    await settle();
    assert.match(reported.shift() ?? "", text);
    reported.length = 0;
  }
  assert.throws(() => {
    nicA.hook = "hook";
  }, TypeError);
  delete globalThis.reportError;
  nicA.hook = null;
  await a.ping("10.0.0.2");
  engine.close();
});

test("both ends of a cable and both interfaces have hooks, each asked in the frame's order", async () => {
  const { engine, a, nicA, nicB, link } = await twoStacks();
  await a.ping("10.0.0.2");
  link.unplug();
  const cable = await createCable({ engine });
  plug(cable.a, nicA);
  plug(cable.b, nicB);
  const order = [];
  for (const [name, port] of Object.entries({ nicA, a: cable.a, b: cable.b, nicB })) {
    port.hook = (frame, direction) => {
      if (isPing(frame)) order.push(`${name} ${direction}`);
    };
  }
  await a.ping("10.0.0.2");
  assert.deepEqual(order, [
    "nicA out",
    "a in",
    "b out",
    "nicB in",
    "nicB out",
    "b in",
    "a out",
    "nicA in",
  ]);
  engine.close();
});

test("a hook may unplug, close and replace itself", async () => {
  const { engine, a, nicA, nicB } = await twoStacks();
  nicA.hook = () => {
    nicA.unplug();
    nicA.hook = null;
  };
  await assert.rejects(a.ping("10.0.0.2", { timeout: 20 }));
  plug(nicA, nicB);
  await a.ping("10.0.0.2");
  const outside = functionPort({ send() {} });
  const lan = await createSwitch({ engine });
  lan.plug(outside);
  outside.hook = () => outside.close();
  assert.equal(outside.receive(new Uint8Array(60)), false);
  assert.deepEqual([lan.ports.length, outside.counters.dropped], [0, 1]);
  engine.close();
});

test("an impairment stays when a hook comes and goes", async () => {
  const { engine, a, nicA, link } = await twoStacks();
  await a.ping("10.0.0.2");
  link.set({ latency: 5 });
  for (const hook of [() => {}, null]) {
    nicA.hook = hook;
    const { rtt } = await a.ping("10.0.0.2");
    assert.ok(rtt >= 10, `${rtt} ms`);
  }
  link.set({ loss: 1 });
  await assert.rejects(a.ping("10.0.0.2", { timeout: 20 }));
  engine.close();
});

test("a signal closes a port, also one that was aborted before", async () => {
  const ending = new AbortController();
  const closed = [];
  const port = functionPort({
    send() {},
    closed: () => closed.push("closed"),
    signal: ending.signal,
  });
  const lan = await createSwitch({ engine: await createEngine() });
  lan.plug(port);
  ending.abort();
  assert.deepEqual([closed.length, lan.ports.length], [1, 0]);
  functionPort({ send() {}, closed: () => closed.push("closed"), signal: ending.signal });
  assert.equal(closed.length, 2);
  lan.engine.close();
});
