/** Callers that use things in ways they were not meant for (P4): everything settles, and nothing is left behind. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import {
  capture,
  createEngine,
  createGateway,
  createStack,
  createSwitch,
  functionPort,
  plug,
  SocketError,
} from "ethertab";
import { connected, pattern, readAll, settle, twoStacks, until } from "./support.mjs";

/** More than the buffers of both ends hold. */
const TOO_MUCH = 8 * 1024 * 1024;

test("aborting a writable whose write waits for room resets the connection and settles both", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  const writer = client.writable.getWriter();
  const write = writer.write(new Uint8Array(TOO_MUCH));
  const told = assert.rejects(write, { code: "ABORT_ERR" });
  await until(() => client.writableBytes === 0, "a full send buffer");
  await writer.abort("enough");
  await told;
  await assert.rejects(client.closed, { code: "ABORT_ERR" });
  await assert.rejects(server.closed, { code: "ECONNRESET" });
  network.engine.close();
});

test("bytes that are transferred away while their write waits reset the connection", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  const bytes = new Uint8Array(TOO_MUCH);
  const write = client.writable.getWriter().write(bytes);
  const told = assert.rejects(write, TypeError);
  await until(() => client.writableBytes === 0, "a full send buffer");
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  await assert.rejects(readAll(server.readable), { code: "ECONNRESET" });
  await told;
  await assert.rejects(client.closed, { code: "ABORT_ERR" });
  network.engine.close();
});

test("a stream that ends within an element of the reader's view fails, and the connection still ends", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  const writer = client.writable.getWriter();
  await writer.write(pattern(3));
  const reader = server.readable.getReader({ mode: "byob" });
  assert.equal((await reader.read(new Uint16Array(4))).value.length, 1);
  const partial = assert.rejects(reader.read(new Uint16Array(4)), TypeError);
  await writer.close();
  await partial;
  await server.closed;
  await client.closed;
  network.engine.close();
});

test("a writable that is asked for after the connection failed has failed too", async () => {
  const network = await twoStacks();
  const client = network.a.connect("10.0.0.2:9");
  await assert.rejects(client.opened, { code: "ECONNREFUSED" });
  await assert.rejects(client.writable.getWriter().closed, { code: "ECONNREFUSED" });
  network.engine.close();
});

test("a link that was unplugged does nothing to the next one", async () => {
  const network = await twoStacks();
  network.link.unplug();
  plug(network.nicA, network.nicB);
  assert.throws(() => network.link.set({ loss: 1 }), /link between a:0 and b:0 is unplugged/);
  await network.a.ping("10.0.0.2", { timeout: 1_000 });
  network.engine.close();
});

test("a closed interface takes no address and no capture, and keeps its counters", async () => {
  const network = await twoStacks();
  await network.a.ping("10.0.0.2");
  const { framesSent } = network.nicA.counters;
  assert.ok(framesSent > 0);
  network.nicA.close();
  assert.throws(() => network.nicA.addAddress("10.0.0.5/24"), /interface a:0 is closed/);
  assert.throws(() => network.nicA.removeAddress("10.0.0.1/24"), /interface a:0 is closed/);
  assert.throws(() => capture(network.nicA), /port a:0 is closed/);
  await network.a.close();
  assert.equal(network.nicA.counters.framesSent, framesSent);
  network.engine.close();
});

test("many pings at once bring no warning, and end with their stack", async () => {
  const network = await twoStacks();
  const warnings = [];
  const onWarning = (warning) => warnings.push(warning);
  process.on("warning", onWarning);
  const pings = Array.from({ length: 20 }, () =>
    assert.rejects(network.a.ping("10.0.0.99"), { code: "ABORT_ERR" }),
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  await network.a.close();
  await Promise.all(pings);
  process.off("warning", onWarning);
  assert.deepEqual(warnings, []);
  network.engine.close();
});

test("a handler whose response is locked by another reader is a 500 and an error event", async () => {
  const { engine, a } = await twoStacks();
  const gateway = await createGateway({ engine });
  plug(a.addInterface({ addresses: ["10.0.2.15/24"] }), gateway.port);
  gateway.addEventListener("error", (event) => event.preventDefault());
  gateway.serve("http://page.test", () => {
    const response = new Response("x");
    response.body.getReader();
    return response;
  });
  const failed = once(gateway, "error");
  const socket = a.connect("10.0.2.2:80");
  const request = "GET / HTTP/1.1\r\nHost: page.test\r\nConnection: close\r\n\r\n";
  await socket.writable.getWriter().write(Buffer.from(request));
  assert.match(String(await readAll(socket.readable)), /^HTTP\/1.1 500 /);
  const [{ detail }] = await failed;
  assert.match(detail.error.message, /locked/);
  engine.close();
});

const wrongGateways = [
  [{ dhcp: { leases: [null] } }, /options\.dhcp\.leases\[0\].*null/],
  [{ dhcp: { leases: 5 } }, /options\.dhcp\.leases.*5/],
  [{ dns: { hosts: { "x.test": 5 } } }, /options\.dns\.hosts\["x\.test"\].*5/],
  [{ http: { maxConnections: Object.create(null) } }, /http\.maxConnections.*an object/],
];

for (const [options, message] of wrongGateways) {
  test(`a gateway refuses with ${message}`, async () => {
    await assert.rejects(createGateway(options), { name: "TypeError", message });
  });
}

test("an origin that is no string is refused by name", async () => {
  const { engine } = await twoStacks();
  const gateway = await createGateway({ engine });
  assert.throws(() => gateway.serve(Symbol("x"), () => {}), /origin must be a string.*symbol/);
  assert.throws(() => gateway.serve("http://x.test", null), /handler must be a function.*null/);
  engine.close();
});

test("a closed interface leaves neither addresses nor routes behind", async () => {
  const stack = await createStack();
  const start = { addresses: ["10.7.0.1/24"], gateway: "10.7.0.254" };
  stack.addInterface(start).close();
  const nic = stack.addInterface(start);
  assert.equal(nic.addresses.includes("10.7.0.1/24"), true);
  await stack.close();
});

test("a UDP socket that is closed in its onerror is told of nothing more", async () => {
  const network = await twoStacks();
  const socket = network.a.bindUdp();
  const told = [];
  socket.onready = () => told.push("ready");
  socket.onerror = (error) => {
    told.push(error.code);
    socket.close();
  };
  socket.send(new Uint8Array(3), { remoteAddress: "10.0.0.2", remotePort: 9 });
  network.b.bindUdp({ port: 10 }).onready = () => told.push("other");
  socket.send(new Uint8Array(3), { remoteAddress: "10.0.0.2", remotePort: 10 });
  await socket.closed;
  await settle();
  assert.deepEqual(told.sort(), ["ECONNREFUSED", "other"]);
  network.engine.close();
});

test("a socket made in a handler is told nothing of the one that had its number", async () => {
  const network = await twoStacks({ impairment: { latency: 5 } });
  network.b.listen({ port: 80 });
  await network.a.ping("10.0.0.2");
  const [one, two] = [network.a.connect("10.0.0.2:80"), network.a.connect("10.0.0.2:80")];
  let third;
  const instead = (of) => {
    one.onready = null;
    two.onready = null;
    of.abort();
    third = network.a.connect("10.0.0.99:80", { connectTimeout: 100 });
  };
  one.onready = () => instead(two);
  two.onready = () => instead(one);
  await until(() => third !== undefined, "a connection");
  await assert.rejects(third.opened, SocketError);
  network.engine.close();
});

test("aborting a ping that was answered does nothing to a socket made meanwhile", async () => {
  const network = await twoStacks();
  network.b.listen({ port: 80 });
  const abort = new AbortController();
  const answered = network.a.ping("10.0.0.2", { signal: abort.signal });
  const trigger = network.a.bindUdp({ port: 7 });
  let client;
  trigger.onready = () => {
    trigger.onready = null;
    client = network.a.connect("10.0.0.2:80");
    abort.abort();
  };
  network.b.bindUdp().send(new Uint8Array(1), { remoteAddress: "10.0.0.1", remotePort: 7 });
  await answered.catch(() => {});
  await until(() => client !== undefined, "a datagram");
  await client.opened;
  network.engine.close();
});

test("frames of a port that is closed do not enter by the port that gets its number", async () => {
  const engine = await createEngine();
  const [lan, other] = [await createSwitch({ engine }), await createSwitch({ engine })];
  let seen = 0;
  other.plug(functionPort({ send: () => (seen += 1) }));
  const [gone, next] = [functionPort({ send: () => {} }), functionPort({ send: () => {} })];
  // Both switches have a free port, so that only the port from outside is new.
  other.plug(next);
  lan.plug(gone);
  other.unplug(next);
  await settle();
  const frame = new Uint8Array(60);
  frame.fill(255, 0, 6);
  frame.set([2, 0, 0, 0, 0, 1, 0x88, 0xb5], 6);
  gone.receive(frame);
  gone.close();
  other.plug(next);
  await settle();
  assert.equal(seen, 0);
  assert.equal(next.counters.framesReceived, 0);
  engine.close();
});

test("a stack that closes refuses the sockets that are asked for then", async () => {
  const network = await twoStacks();
  const refusals = [];
  const connect = () => {
    try {
      const socket = network.a.connect("10.0.0.2:80");
      socket.onready = () => {
        socket.onready = null;
        connect();
      };
    } catch (error) {
      refusals.push(error.code);
    }
  };
  connect();
  await network.a.close();
  assert.deepEqual(refusals, ["ABORT_ERR"]);
  network.engine.close();
});
