// Ports on what carries messages: broadcast channels with v86's own network as the other side, message ports, workers, data channels.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { MessageChannel, Worker } from "node:worker_threads";
import {
  broadcastPort,
  createEngine,
  createStack,
  createSwitch,
  functionPort,
  messagePort,
  plug,
  webSocketPort,
} from "ethertab";
import { V86 } from "v86";
import { WebSocket, WebSocketServer } from "ws";
import { connected, pattern, readAll, settle, until, writeAll } from "./support.mjs";

/** A frame that is a view into a larger buffer, as v86's cards and pools of buffers have them. */
function viewed(fill) {
  const pool = new Uint8Array(32_768).fill(0xee);
  return pool.subarray(1_000, 1_060).fill(0xff, 0, 6).fill(2, 6, 12).fill(fill, 12);
}

/** A network of v86 without its virtual machine: `card` is where a network card is. */
async function v86Network(relay, id = 0) {
  const module = fileURLToPath(import.meta.resolve("v86"));
  const emulator = new V86({
    wasm_path: module.replace(/[^/]+$/, "v86.wasm"),
    autostart: false,
    disable_keyboard: true,
    disable_speaker: true,
    memory_size: 16 * 1024 * 1024,
    net_device: { type: "ne2k", relay_url: relay, id },
  });
  await new Promise((resolve) => emulator.add_listener("emulator-loaded", resolve));
  const received = [];
  const card = emulator.emulator_bus;
  card.register(`net${id}-receive`, (frame) => received.push(frame));
  return { card, received, event: `net${id}-send`, end: () => emulator.destroy() };
}

/** Sends a frame from a network of v86 to a switch that the port is plugged into, and one back; ends both. */
async function framesCross(network, port) {
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const seen = [];
  const other = functionPort({ send: (frame) => seen.push(frame.slice()) });
  lan.plug(port);
  lan.plug(other);
  await port.opened;

  network.card.send(network.event, viewed(7));
  await until(() => seen.length === 1, "v86's frame");
  assert.deepEqual(seen[0], viewed(7).slice());

  other.receive(viewed(9));
  await until(() => network.received.length === 1, "the frame for v86");
  assert.deepEqual(network.received[0], viewed(9).slice());

  await port[Symbol.asyncDispose]();
  await network.end();
  engine.close();
}

for (const id of [0, 3]) {
  test(`v86's own network ${id} and a broadcast port are on one channel`, async () => {
    const network = await v86Network("inbrowser", id);
    await framesCross(network, broadcastPort(id));
    // As v86 takes it: an array of bytes. A view's buffer would have crossed whole.
    assert.ok(network.received[0] instanceof Uint8Array);
    assert.equal(network.received[0].buffer.byteLength, 60);
  });
}

test("v86's WebSocket network and a WebSocket port meet at a relay", async () => {
  const relay = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  relay.on("connection", (socket) =>
    socket.on("message", (message) => {
      for (const other of relay.clients) if (other !== socket) other.send(message);
    }),
  );
  await once(relay, "listening");
  globalThis.WebSocket = WebSocket;
  const url = `ws://127.0.0.1:${relay.address().port}`;
  const network = await v86Network(url);
  await framesCross(network, webSocketPort(url));
  delete globalThis.WebSocket;
  relay.close();
});

test("three stacks are on one broadcast channel, and what is no frame is counted", async () => {
  const stacks = [];
  const ports = [];
  for (const last of [1, 2, 3]) {
    const stack = await createStack({ engine: await createEngine() });
    const port = broadcastPort("ethertab-test");
    plug(stack.addInterface({ addresses: [`10.0.0.${last}/24`] }), port);
    stacks.push(stack);
    ports.push(port);
  }
  for (const [from, to] of [
    [0, 2],
    [2, 1],
    [1, 3],
  ]) {
    if (to !== from + 1) await stacks[from].ping(`10.0.0.${to}`);
  }
  const stranger = new BroadcastChannel("ethertab-test");
  for (const message of [
    "text",
    null,
    {},
    [],
    7n,
    new Uint8Array(0),
    new ArrayBuffer(13),
    new Uint8Array(70_000),
  ]) {
    stranger.postMessage(message);
  }
  await until(() => ports.every(({ counters }) => counters.invalid === 8), "the invalid messages");
  // Other kinds of bytes are frames.
  const before = ports[0].counters.framesSent;
  for (const bytes of [
    viewed(1).slice().buffer,
    new DataView(viewed(2).slice().buffer),
    viewed(3),
  ]) {
    stranger.postMessage(bytes);
  }
  await until(() => ports[0].counters.framesSent === before + 3, "the frames of the stranger");
  await stacks[0].ping("10.0.0.3");
  stranger.close();
  await Promise.all(ports.map((port) => port[Symbol.asyncDispose]()));
  await Promise.all(stacks.map((stack) => stack.close()));
});

test("message ports carry a transfer, each frame in a buffer of its own", async () => {
  const { port1, port2 } = new MessageChannel();
  const [a, b] = [await createStack(), await createStack({ engine: await createEngine() })];
  const [left, right] = [messagePort(port1), messagePort(port2)];
  const sizes = new Set();
  port2.on("message", (frame) => sizes.add(frame.buffer.byteLength - frame.byteLength));
  plug(a.addInterface({ addresses: ["10.0.0.1/24"] }), left);
  plug(b.addInterface({ addresses: ["10.0.0.2/24"] }), right);
  await Promise.all([left.opened, right.opened]);
  await a.ping("10.0.0.2");
  const { client, server } = await connected({ a, b });
  const bytes = pattern(2_000_000);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  assert.deepEqual([...sizes], [0]);
  // The one side's end is the other's.
  left.close();
  assert.deepEqual(await right.closed, { error: null });
  assert.deepEqual([left.state, right.state, right.isPlugged], ["closed", "closed", false]);
  await Promise.all([a.close(), b.close()]);
});

const WORKER = `
  import { parentPort } from "node:worker_threads";
  import { createStack, messagePort, plug } from ${JSON.stringify(import.meta.resolve("ethertab"))};
  const stack = await createStack();
  plug(stack.addInterface({ addresses: ["10.0.0.2/24"] }), messagePort(parentPort));
  const listener = stack.listen({ port: 7 });
  for await (const socket of listener) socket.readable.pipeTo(socket.writable);
`;

test("a stack in a worker is reached through the worker, and its end is the port's", async () => {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(WORKER)}`));
  const stack = await createStack();
  const port = messagePort(worker);
  plug(stack.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  // Until the worker is ready, nobody answers.
  let socket;
  do socket = stack.connect("10.0.0.2:7");
  while (
    !(await socket.opened.then(
      () => true,
      () => false,
    ))
  );
  const bytes = pattern(500_000);
  const [received] = await Promise.all([
    readAll(socket.readable),
    writeAll(socket.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  await worker.terminate();
  assert.deepEqual(await port.closed, { error: null });
  await stack.close();
});

/** An RTCDataChannel without a network: what is sent waits until the test takes it. */
class FakeChannel extends EventTarget {
  readyState = "connecting";
  binaryType = "blob";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  sent = [];

  send(bytes) {
    if (bytes.byteLength > 16_384) throw new TypeError("too long");
    this.sent.push(bytes);
    this.bufferedAmount += bytes.byteLength;
  }

  flush() {
    const wasHigh = this.bufferedAmount > this.bufferedAmountLowThreshold;
    this.bufferedAmount = 0;
    if (wasHigh) this.dispatchEvent(new Event("bufferedamountlow"));
  }

  change(state) {
    this.readyState = state;
    this.dispatchEvent(new Event(state === "closed" ? "close" : state));
  }

  close() {
    this.change("closed");
  }
}

test("a data channel that is full holds frames back, and loses none", async () => {
  const channel = new FakeChannel();
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const port = messagePort(channel, { queue: 10_000 });
  const other = functionPort({ send() {} });
  lan.plug(port);
  lan.plug(other);
  assert.deepEqual([port.state, channel.binaryType], ["connecting", "arraybuffer"]);
  const frame = new Uint8Array(1_514).fill(0xff, 0, 6).fill(2, 6, 12);
  for (let count = 0; count < 300; count += 1) {
    frame[100] = count;
    other.receive(frame);
    if (count === 0) {
      await settle();
      channel.change("open");
    }
  }
  await settle();
  // No more than is taken at a time beyond what may wait.
  const most = 64 + 10_000 / frame.byteLength + 1;
  for (let flushes = 0; channel.sent.length < 300; flushes += 1) {
    assert.ok(flushes < 20, `${channel.sent.length} frames after ${flushes} times`);
    assert.ok(channel.bufferedAmount <= most * frame.byteLength, `${channel.bufferedAmount} bytes`);
    channel.flush();
    await settle();
  }
  assert.deepEqual(
    channel.sent.map((sent) => sent[100]),
    Array.from({ length: 300 }, (_, index) => index & 0xff),
  );
  assert.equal(port.counters.dropped, 0);
  // Longer than the channel's longest message.
  other.receive(new Uint8Array(20_000).fill(0xff, 0, 6).fill(2, 6, 12));
  channel.flush();
  await settle();
  assert.equal(port.counters.dropped, 1);
  channel.change("closed");
  assert.deepEqual(await port.closed, { error: null });
  engine.close();
});

test("closing a port leaves a worker alone, and forgets its events", () => {
  const heard = new Map();
  const worker = {
    postMessage() {},
    on: (event, listener) => heard.set(event, listener),
    off: (event, listener) => heard.get(event) === listener && heard.delete(event),
  };
  const port = messagePort(worker);
  assert.deepEqual([...heard.keys()], ["message", "messageerror", "close", "exit"]);
  port.close();
  port.close();
  assert.equal(heard.size, 0);
});

test("wrong arguments are named", () => {
  for (const [make, name, text] of [
    [() => messagePort({}), "TypeError", "target"],
    [() => messagePort(null), "TypeError", "target"],
    [() => messagePort({ postMessage() {} }), "TypeError", "target"],
    [() => broadcastPort({}), "TypeError", "channel"],
    [() => broadcastPort(-1), "RangeError", "channel"],
    [() => broadcastPort(0, { signal: 1 }), "TypeError", "options.signal"],
    [() => webSocketPort("ws://[", { framing: "hdlc" }), "RangeError", "options.framing"],
    [() => webSocketPort(() => 1), "TypeError", "target"],
    [() => webSocketPort(() => 1, { reconnect: 1 }), "TypeError", "options.reconnect"],
    [() => webSocketPort(() => 1, { reconnect: { attempts: -1 } }), "RangeError", "attempts"],
    [() => webSocketPort(() => 1, { reconnect: { minDelay: "1 s" } }), "RangeError", "minDelay"],
    [
      () => webSocketPort(() => 1, { reconnect: { minDelay: 9, maxDelay: 5 } }),
      "RangeError",
      "maxDelay",
    ],
    [() => webSocketPort(() => 1, { queue: -1 }), "RangeError", "options.queue"],
  ]) {
    assert.throws(make, (error) => error.name === name && error.message.includes(text), text);
  }
});
