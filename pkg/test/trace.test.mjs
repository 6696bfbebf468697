// The trace: what TCP does, as events.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createStack } from "ethertab";
import { connected, ManualClock, pattern, settle, twoStacks, until } from "./support.mjs";

test("a connection's life is told from the SYN to the end", async () => {
  const network = await twoStacks({ limits: { trace: 1_000 } });
  const { engine, a } = network;
  const before = Date.now();
  const { client, server } = await connected(network);
  client.tryWrite(pattern(3_000));
  await until(() => server.readableBytes === 3_000, "the arrival");
  await until(() => client.info().unacked === 0, "the acknowledgement");
  const { id } = client.info();
  const { port } = client.local;
  client.shutdown();
  server.shutdown();
  server.tryRead(new Uint8Array(4_000));
  await Promise.all([client.closed, server.closed]);
  const events = a.trace.take();
  for (const event of events) {
    assert.deepEqual([event.connection, event.localPort], [id, port]);
    assert.equal(event.remotePort, client.remote.port);
    assert.ok(event.time > before - 1_000 && event.time < Date.now() + 1_000);
  }
  const states = events.filter(({ type }) => type === "state").map(({ from, to }) => [from, to]);
  assert.deepEqual(states.slice(0, 3), [
    ["CLOSED", "SYN-SENT"],
    ["SYN-SENT", "ESTABLISHED"],
    ["ESTABLISHED", "FIN-WAIT-1"],
  ]);
  const sent = events.filter(({ type }) => type === "sent");
  const { reason, length, flags } = sent[0];
  assert.deepEqual({ reason, length, flags }, { reason: "handshake", length: 0, flags: ["SYN"] });
  const data = sent.filter((event) => event.reason === "newData" && event.length > 0);
  assert.deepEqual(
    data.map((event) => event.length),
    [1_448, 1_448, 104],
  );
  assert.equal(data[1].seq, data[0].seq + 1_448);
  const acknowledged = events.reduce((sum, event) => sum + (event.acknowledged ?? 0), 0);
  assert.equal(acknowledged, 1 + 3_000 + 1);
  assert.ok(
    events.some(
      ({ type, timer, delay }) => type === "timerSet" && timer === "retransmit" && delay >= 200,
    ),
  );
  assert.deepEqual([a.trace.take(), a.trace.dropped], [[], 0]);
  engine.close();
});

test("a loss and its repair are told", async () => {
  const clock = new ManualClock();
  const network = await twoStacks({ clock, limits: { trace: 10_000 } });
  const { engine, a, link } = network;
  const opening = connected(network);
  await clock.advance(10);
  const { client } = await opening;
  a.trace.take();
  link.unplug();
  client.tryWrite(pattern(100));
  await clock.advance(2_000);
  const told = a.trace.take().filter(({ type }) => type !== "timerSet");
  const names = told.map((event) => [event.type, event.reason ?? event.timer ?? event.to]);
  assert.deepEqual(names.slice(0, 3), [
    ["sent", "newData"],
    ["timerFired", "tailLoss"],
    ["sent", "tailLossProbe"],
  ]);
  const timeout = told.findIndex(
    ({ type, timer }) => type === "timerFired" && timer === "retransmit",
  );
  const after = told.slice(timeout).map((event) => event.type);
  assert.deepEqual(new Set(after.slice(1, 4)), new Set(["lost", "recovery", "window"]));
  const { from, to } = told.find(({ type }) => type === "recovery");
  assert.deepEqual([from, to], ["open", "loss"]);
  assert.equal(told.filter(({ reason }) => reason === "timeout").length > 0, true);
  engine.close();
});

test("iterating gives events as they come, ends with the stack, and loses none in between", async () => {
  const network = await twoStacks({ limits: { trace: 1_000 } });
  const { engine, a } = network;
  const seen = [];
  const following = (async () => {
    for await (const event of a.trace) seen.push(event.type);
  })();
  const { client } = await connected(network);
  await until(() => seen.includes("state"), "the first event");
  client.tryWrite(pattern(10));
  await until(() => seen.filter((type) => type === "sent").length >= 3, "the data");
  await a.close();
  await following;
  assert.ok(seen.length > 5);
  // What nobody has taken when a stack ends can still be taken.
  const rest = network.b.trace;
  for await (const event of rest) {
    // A half-open connection is none yet.
    assert.deepEqual(
      [event.reason, event.flags, event.connection],
      ["handshake", ["SYN", "ACK"], null],
    );
    break;
  }
  await network.b.close();
  const { length } = rest.take();
  assert.ok(length > 5);
  assert.deepEqual(rest.take(), []);
  for await (const event of rest) assert.fail(`one more event: ${event.type}`);
  engine.close();
});

test("the trace is bounded, what it drops is counted, and it can be taken in parts", async () => {
  const network = await twoStacks({ limits: { trace: 8 } });
  const { engine, a } = network;
  const { client, server } = await connected(network);
  client.tryWrite(pattern(100_000));
  await until(() => server.readableBytes === 100_000, "the arrival");
  const { dropped } = a.trace;
  assert.ok(dropped > 50, String(dropped));
  assert.equal(a.trace.take(3).length, 3);
  assert.equal(a.trace.take(0).length, 0);
  assert.equal(a.trace.take().length, 5);
  engine.close();
  assert.deepEqual(a.trace.take(), []);
  for await (const event of a.trace) assert.fail(`an event of a dead engine: ${event.type}`);
});

test("without being asked for there is no trace, and iterating says so", async () => {
  const stack = await createStack();
  assert.deepEqual([stack.trace.take(), stack.trace.dropped], [[], 0]);
  await assert.rejects(stack.trace[Symbol.asyncIterator]().next(), {
    name: "TypeError",
    message: /limits: \{ trace:/,
  });
  await stack.close();
});

test("who iterates over a trace keeps no engine busy", async () => {
  const clock = new ManualClock();
  const network = await twoStacks({ clock, limits: { trace: 1_000 } });
  const told = [];
  const reading = (async () => {
    for await (const { type } of network.a.trace) told.push(type);
  })();
  const joining = connected(network);
  await clock.advance(500);
  await joining;
  assert.ok(told.includes("state"));
  let looks = 0;
  const { now } = clock;
  clock.now = () => {
    looks += 1;
    return now.call(clock);
  };
  await settle();
  assert.equal(looks, 0);
  network.engine.close();
  await reading.catch(() => {});
});
