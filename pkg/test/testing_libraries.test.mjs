/** Libraries as they are published, in virtual time: their own timeouts, on networks that go wrong. */

import assert from "node:assert/strict";
import { once } from "node:events";
import * as http from "node:http";
import { test } from "node:test";
import { Aedes } from "aedes";
import { createWorld } from "ethertab/testing";
import { AbstractConnector, Redis } from "ioredis";
import { MqttClient } from "mqtt";
import { Agent, RetryAgent, request } from "undici";
import { WebSocket, WebSocketServer } from "ws";
import { redis } from "./node/redis.mjs";

const HOUR = 3_600_000;

/** A client and a server at a cable, whose timers are the world's. */
async function pair(t) {
  const world = await createWorld({ seed: 1, test: t, failures: null, fakeTimers: true });
  const client = world.host("client");
  const server = world.host("server");
  world.cable(client, server, { latency: "20ms" });
  return { world, client, server };
}

/** Options of undici whose connections are a host's. */
function connectFrom(host) {
  return {
    connect({ hostname, port }, callback) {
      const socket = host.net.connect(Number(port) || 80, hostname);
      socket.once("connect", () => callback(null, socket));
      socket.once("error", (error) => callback(error, null));
      return socket;
    },
  };
}

/** Ends a dispatcher, and lets undici hear of it: it has one timer for all of them, which looks at their time limits each half second. */
async function end(world, dispatcher) {
  await world.run(dispatcher.destroy());
  await world.step("2s");
}

const connections = (world) => world.capture.handshakes().length;

test("undici keeps a connection for an hour, and no longer", async (t) => {
  const { world, client, server } = await pair(t);
  const web = http.createServer((_, response) => response.end("hello"));
  web.keepAliveTimeout = 3 * HOUR;
  server.serve(80, web);
  const options = { ...connectFrom(client), keepAliveTimeout: HOUR, keepAliveMaxTimeout: HOUR };
  const dispatcher = new Agent(options);
  const ask = async () => (await request("http://server/", { dispatcher })).body.text();
  assert.equal(await world.run(ask), "hello");
  await world.step("59m");
  assert.equal(await world.run(ask), "hello");
  assert.equal(connections(world), 1, "within the hour it is the same");
  await world.step("61m");
  world.capture
    .expect("client's FIN", ({ tcp, host }) => host === "client" && tcp?.flags.fin)
    .once();
  assert.equal(await world.run(ask), "hello");
  assert.equal(connections(world), 2);
  await end(world, dispatcher);
});

test("undici's time for headers and for a body is up when nothing comes", async (t) => {
  const { world, client, server } = await pair(t);
  server.serve(
    80,
    http.createServer((incoming, response) => {
      if (incoming.url === "/half") response.write("half of it");
    }),
  );
  const dispatcher = new Agent({
    ...connectFrom(client),
    headersTimeout: 300_000,
    bodyTimeout: 60_000,
  });
  const began = world.clock.now();
  const silent = request("http://server/", { dispatcher });
  await assert.rejects(world.run(silent), { code: "UND_ERR_HEADERS_TIMEOUT" });
  const waited = world.clock.now() - began;
  assert.ok(waited >= 300_000 && waited < 302_000, `${waited}`);
  const { body } = await world.run(request("http://server/half", { dispatcher }));
  const middle = world.clock.now();
  await assert.rejects(world.run(body.text()), { code: "UND_ERR_BODY_TIMEOUT" });
  const rest = world.clock.now() - middle;
  assert.ok(rest >= 59_000 && rest < 62_000, `${rest}`);
  await end(world, dispatcher);
});

test("undici's RetryAgent goes on where a reset has cut a download", async (t) => {
  const { world, client, server } = await pair(t);
  const file = "0123456789".repeat(10_000);
  const ranges = [];
  server.serve(
    80,
    http.createServer((incoming, response) => {
      ranges.push(incoming.headers.range);
      const from = Number(/^bytes=(\d+)-/.exec(incoming.headers.range ?? "bytes=0-")[1]);
      const range = `bytes ${from}-${file.length - 1}/${file.length}`;
      const part = from === 0 ? {} : { "content-range": range };
      response.writeHead(from === 0 ? 200 : 206, { ...part, etag: '"1"' });
      response.end(file.slice(from));
    }),
  );
  const fault = world.faults.resetAfter(40_000);
  const dispatcher = new RetryAgent(new Agent(connectFrom(client)), { minTimeout: 1_000 });
  const text = await world.run(async () => {
    const { body } = await request("http://server/", { dispatcher });
    world.clock.setTimeout(() => fault.heal(), "1s");
    return body.text();
  });
  assert.equal(text, file);
  assert.equal(fault.count, 1);
  assert.equal(ranges.length, 2);
  assert.ok(world.clock.now() >= 1_000, "after the time that it waits");
  await end(world, dispatcher);
});

test("ws: a heartbeat finds out that the peer is gone", async (t) => {
  const { world, client, server } = await pair(t);
  const web = http.createServer();
  const sockets = new WebSocketServer({ server: web });
  const alive = new WeakSet();
  const terminated = [];
  sockets.on("connection", (socket) => {
    alive.add(socket);
    socket.on("pong", () => alive.add(socket));
    socket.on("message", (message) => socket.send(`heard ${message}`));
  });
  const heartbeat = setInterval(() => {
    for (const socket of sockets.clients) {
      if (!alive.delete(socket)) {
        terminated.push(world.clock.now());
        socket.terminate();
      } else socket.ping();
    }
  }, 30_000);
  server.serve(80, web);
  const socket = new WebSocket("ws://server/", { agent: client.agent });
  await world.run(once(socket, "open"));
  socket.send("hello");
  const [heard] = await world.run(once(socket, "message"));
  assert.equal(String(heard), "heard hello");
  await world.step("1h");
  assert.deepEqual(terminated, [], "as long as pongs come");
  world.partition([client], [server]);
  const cut = world.clock.now();
  await world.until(() => terminated.length > 0);
  assert.ok(terminated[0] - cut > 30_000 && terminated[0] - cut <= 60_000);
  clearInterval(heartbeat);
  assert.equal(socket.readyState, WebSocket.OPEN, "which the client has not heard of");
  world.heal();
  socket.send("still there?");
  await world.run(once(socket, "close"));
});

test("ws: a handshake that is never answered times out", async (t) => {
  const { world, client, server } = await pair(t);
  server.net.createServer(() => {}).listen(80);
  const socket = new WebSocket("ws://server/", { agent: client.agent, handshakeTimeout: 60_000 });
  const began = world.clock.now();
  const [error] = await world.run(once(socket, "error"));
  assert.match(error.message, /handshake has timed out/);
  assert.equal(Math.round((world.clock.now() - began) / 1_000), 60);
});

/** A Redis client of a host. */
function redisClient(host, options) {
  class Connector extends AbstractConnector {
    async connect() {
      this.connecting = true;
      this.stream = host.net.connect(6379, "server");
      return this.stream;
    }
  }
  const client = new Redis({ Connector, protocol: 2, ...options });
  client.errors = [];
  client.on("error", ({ code }) => client.errors.push(code));
  return client;
}

test("ioredis: what is asked during an outage is answered after it", async (t) => {
  const { world, client, server } = await pair(t);
  const store = new Map();
  server.net.createServer((socket) => redis(socket, store)).listen(6379);
  const tries = [];
  const db = redisClient(client, {
    connectTimeout: 10_000,
    maxRetriesPerRequest: null,
    retryStrategy(times) {
      tries.push(world.clock.now());
      return Math.min(times * 1_000, 30_000);
    },
  });
  assert.equal(await world.run(db.set("key", "before")), "OK");
  world.kill(server);
  const asked = db.get("key");
  await world.step("30m");
  assert.ok(tries.length > 10 && tries.length < 100, `${tries.length} tries`);
  assert.deepEqual(new Set(db.errors), new Set(["ETIMEDOUT"]));
  world.restart(server);
  server.net.createServer((socket) => redis(socket, store)).listen(6379);
  assert.equal(await world.run(asked), "before");
  db.disconnect();
  await world.run(once(db, "end"));
});

test("ioredis: a command's time is up while its packets vanish", async (t) => {
  const { world, client, server } = await pair(t);
  server.net.createServer((socket) => redis(socket, new Map())).listen(6379);
  const db = redisClient(client, { commandTimeout: 5_000 });
  await world.run(db.set("key", "1"));
  const hole = world.faults.blackhole({ from: server, to: client, oneWay: true });
  const began = world.clock.now();
  await assert.rejects(world.run(db.incr("key")), /Command timed out/);
  assert.equal(world.clock.now() - began, 5_000);
  hole.heal();
  // It has arrived: whoever tries such a command again has it done twice.
  assert.equal(await world.run(db.get("key")), "2");
  db.disconnect();
  await world.run(once(db, "end"));
});

test("mqtt: a client whose network is gone comes back, and its last will is told", async (t) => {
  const { world, client, server } = await pair(t);
  const watcher = world.host("watcher");
  world.cable(watcher, server);
  const broker = await world.run(Aedes.createBroker());
  server.net.createServer((socket) => broker.handle(socket)).listen(1883);
  const connect = (host, options) =>
    new MqttClient(() => host.net.connect(1883, "server"), {
      protocolVersion: 4,
      protocolId: "MQTT",
      keepalive: 60,
      connectTimeout: 30_000,
      reconnectPeriod: 5_000,
      ...options,
    });
  const told = [];
  const listener = connect(watcher, { clientId: "listener" });
  listener.on("message", (topic, message) => told.push(`${topic}: ${message}`));
  await world.run(once(listener, "connect"));
  await world.run(listener.subscribeAsync("#", { qos: 1 }));
  const will = { topic: "will", payload: Buffer.from("gone"), qos: 1 };
  const speaker = connect(client, { clientId: "speaker", clean: false, will });
  const errors = [];
  speaker.on("error", ({ message }) => errors.push(message));
  await world.run(once(speaker, "connect"));
  await world.step("1h");
  assert.equal(speaker.connected, true, "keep-alives keep it");
  assert.deepEqual(told, []);
  world.partition([client], [server]);
  const cut = world.clock.now();
  await world.until(() => told.length > 0);
  assert.deepEqual(told, ["will: gone"]);
  const silence = world.clock.now() - cut;
  // MQTT 3.1.1 §3.1.2.10: one and a half times the keep-alive after the last that came.
  assert.ok(silence > 30_000 && silence <= 91_000, `${silence}`);
  await world.until(() => !speaker.connected);
  assert.deepEqual(errors, ["Keepalive timeout"]);
  const published = speaker.publishAsync("news", "kept for later", { qos: 1 });
  await world.step("10m");
  world.heal();
  await world.run(published);
  await world.until(() => told.includes("news: kept for later"));
  assert.equal(speaker.connected, true);
  await world.run(Promise.all([speaker.endAsync(), listener.endAsync()]));
  await world.run(new Promise((resolve) => broker.close(resolve)));
});
