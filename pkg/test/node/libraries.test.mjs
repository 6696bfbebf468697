// Libraries as they are published, over two stacks: they know of nothing but Node's own shapes.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import * as http from "node:http";
import { after, before, test } from "node:test";
import { Aedes } from "aedes";
import { createHttpAgent, createNet } from "ethertab/node";
import { AbstractConnector, Redis } from "ioredis";
import { MqttClient } from "mqtt";
import ssh2 from "ssh2";
import { Agent, fetch, request, WebSocket as UndiciSocket } from "undici";
import { WebSocket, WebSocketServer } from "ws";
import { pattern, twoStacks } from "../support.mjs";
import { redis } from "./redis.mjs";
import { when } from "./runner.mjs";

const SERVER = "10.0.0.2";
let network;
let clientNet;
let serverNet;
before(async () => {
  network = await twoStacks();
  clientNet = createNet(network.a);
  serverNet = createNet(network.b);
});
after(() => network.engine.close());

/** A listener of the second stack; its port. */
async function listen(t, onConnection) {
  const sockets = new Set();
  const server = serverNet.createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, SERVER);
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return server.address().port;
}

/** A listener that gives its connections to an HTTP server. */
const serveHttp = (t, server) => listen(t, (socket) => server.emit("connection", socket));

/** An undici dispatcher whose connections are the first stack's. */
function dispatcher() {
  return new Agent({
    connect({ hostname, port }, callback) {
      const socket = clientNet.connect(Number(port) || 80, hostname);
      socket.setNoDelay(true);
      socket.once("connect", () => callback(null, socket));
      socket.once("error", (error) => callback(error, null));
      return socket;
    },
  });
}

test("ws: client and server, with text, bytes, fragments, pings and a close", async (t) => {
  const web = http.createServer();
  const server = new WebSocketServer({ server: web });
  server.on("connection", (socket) => {
    socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
  });
  const port = await serveHttp(t, web);
  const agent = createHttpAgent(network.a);
  const socket = new WebSocket(`ws://${SERVER}:${port}/`, { agent });
  await once(socket, "open");
  socket.send("text");
  assert.equal(String((await once(socket, "message"))[0]), "text");
  const bytes = pattern(1_000_000);
  socket.send(bytes);
  assert.equal(Buffer.compare((await once(socket, "message"))[0], bytes), 0);
  socket.send("in ", { fin: false });
  socket.send("parts");
  assert.equal(String((await once(socket, "message"))[0]), "in parts");
  socket.ping("there?");
  assert.equal(String((await once(socket, "pong"))[0]), "there?");
  socket.close(4_000, "enough");
  const [code, reason] = await once(socket, "close");
  assert.deepEqual([code, String(reason)], [4_000, "enough"]);
});

test("undici: request, fetch and a WebSocket by a dispatcher", async (t) => {
  const web = http.createServer((incoming, response) => {
    response.setHeader("x-path", incoming.url);
    incoming.pipe(response);
  });
  const server = new WebSocketServer({ server: web });
  server.on("connection", (socket) => socket.on("message", (message) => socket.send(message)));
  const port = await serveHttp(t, web);
  const agent = dispatcher();
  const sent = pattern(500_000);
  const origin = `http://${SERVER}:${port}`;
  const answer = await request(`${origin}/a`, { dispatcher: agent, method: "POST", body: sent });
  assert.equal(answer.headers["x-path"], "/a");
  assert.equal(Buffer.compare(Buffer.from(await answer.body.arrayBuffer()), sent), 0);
  const response = await fetch(`${origin}/b`, { dispatcher: agent, method: "POST", body: "b" });
  assert.equal(await response.text(), "b");
  const many = Array.from({ length: 30 }, async (_, index) => {
    const { headers, body } = await request(`${origin}/${index}`, { dispatcher: agent });
    await body.dump();
    return headers["x-path"];
  });
  assert.deepEqual(
    await Promise.all(many),
    many.map((_, index) => `/${index}`),
  );
  await assert.rejects(request(`http://${SERVER}:1/`, { dispatcher: agent }), {
    code: "ECONNREFUSED",
  });
  const socket = new UndiciSocket(`ws://${SERVER}:${port}/`, { dispatcher: agent });
  await once(socket, "open");
  socket.send("through undici");
  const [{ data }] = await once(socket, "message");
  assert.equal(String(data instanceof Blob ? await data.text() : data), "through undici");
  socket.close();
  await once(socket, "close");
  await agent.close();
});

test("ssh2: a command, its streams and its exit code, and a forwarded connection", async (t) => {
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2_048,
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
    publicKeyEncoding: { type: "pkcs1", format: "pem" },
  });
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (connection) => {
    connection.on("error", () => {});
    connection.on("authentication", (context) => {
      const isRight = context.method === "password" && context.password === "secret";
      if (isRight) context.accept();
      else context.reject(["password"]);
    });
    connection.on("session", (accept) => {
      accept().on("exec", (acceptExec, _reject, { command }) => {
        const stream = acceptExec();
        stream.stderr.write("to stderr");
        stream.write(`${command}: `);
        stream.on("data", (chunk) => stream.write(chunk));
        stream.on("end", () => {
          stream.exit(7);
          stream.end();
        });
      });
    });
    connection.on("tcpip", (accept) => accept().end("forwarded"));
  });
  const port = await listen(t, (socket) => server.injectSocket(socket));
  const client = new ssh2.Client();
  client.connect({ sock: clientNet.connect(port, SERVER), username: "me", password: "secret" });
  await once(client, "ready");
  const stream = await new Promise((resolve, reject) => {
    client.exec("cat", (error, opened) => (error ? reject(error) : resolve(opened)));
  });
  const sent = pattern(300_000);
  const received = [];
  stream.on("data", (chunk) => received.push(chunk));
  const errors = once(stream.stderr, "data");
  const ended = Promise.all([once(stream, "exit"), once(stream, "close")]);
  stream.end(sent);
  const [[code]] = await ended;
  assert.equal(code, 7);
  assert.equal(String((await errors)[0]), "to stderr");
  assert.equal(
    Buffer.compare(Buffer.concat(received), Buffer.concat([Buffer.from("cat: "), sent])),
    0,
  );
  const forward = await new Promise((resolve, reject) => {
    client.forwardOut("127.0.0.1", 1, "inside.test", 80, (error, opened) =>
      error ? reject(error) : resolve(opened),
    );
  });
  assert.equal(String((await once(forward, "data"))[0]), "forwarded");
  const stranger = new ssh2.Client();
  // The server hangs up on it, which it tells after the first error.
  stranger.on("error", () => {});
  stranger.connect({ sock: clientNet.connect(port, SERVER), username: "me", password: "wrong" });
  const gone = when(stranger, "close");
  const [error] = await when(stranger, "error");
  assert.equal(error.level, "client-authentication");
  client.end();
  await Promise.all([gone, when(client, "close")]);
});

test("ioredis: commands, pipelines, and a connection that is lost and made again", async (t) => {
  const store = new Map();
  const sockets = [];
  const port = await listen(t, (socket) => {
    sockets.push(socket);
    redis(socket, store);
  });
  class Connector extends AbstractConnector {
    async connect() {
      this.connecting = true;
      this.stream = clientNet.connect(port, SERVER);
      return this.stream;
    }
  }
  const client = new Redis({ Connector, protocol: 2, retryStrategy: () => 1 });
  t.after(() => client.disconnect());
  assert.equal(await client.set("key", "välue"), "OK");
  assert.equal(await client.get("key"), "välue");
  assert.equal(await client.get("none"), null);
  const long = "x".repeat(300_000);
  await client.set("long", long);
  assert.equal(await client.get("long"), long);
  const counts = await Promise.all(Array.from({ length: 100 }, () => client.incr("count")));
  assert.deepEqual(
    counts,
    counts.map((_, index) => index + 1),
  );
  const results = await client.pipeline().set("a", "1").get("a").incr("a").exec();
  assert.deepEqual(
    results.map(([, value]) => value),
    ["OK", "1", 2],
  );
  client.on("error", (error) => assert.equal(error.code, "ECONNRESET"));
  const lost = when(client, "reconnecting");
  sockets[0].resetAndDestroy();
  await lost;
  assert.equal(await client.get("key"), "välue");
  assert.equal(sockets.length, 2);
});

test("mqtt: clients of a broker, with each quality of service, a last will and a retained message", async (t) => {
  const broker = await Aedes.createBroker();
  const port = await listen(t, (socket) => broker.handle(socket));
  t.after(() => broker.close());
  const connect = (options) => {
    const client = new MqttClient(() => clientNet.connect(port, SERVER), {
      reconnectPeriod: 0,
      protocolVersion: 4,
      protocolId: "MQTT",
      clean: true,
      keepalive: 60,
      ...options,
    });
    t.after(() => client.end(true));
    return client;
  };
  const listener = connect({ clientId: "listener" });
  await once(listener, "connect");
  await listener.subscribeAsync("#", { qos: 2 });
  const speaker = connect({
    clientId: "speaker",
    will: { topic: "wills", payload: Buffer.from("gone"), qos: 1 },
  });
  await once(speaker, "connect");
  for (const qos of [0, 1, 2]) {
    const received = once(listener, "message");
    const payload = pattern(qos === 2 ? 200_000 : 20);
    await speaker.publishAsync(`qos/${qos}`, payload, { qos });
    const [topic, message, packet] = await received;
    assert.deepEqual([topic, packet.qos], [`qos/${qos}`, qos]);
    assert.equal(Buffer.compare(message, payload), 0);
  }
  await speaker.publishAsync("kept", "for later", { retain: true, qos: 1 });
  const late = connect({ clientId: "late" });
  await once(late, "connect");
  const kept = once(late, "message");
  await late.subscribeAsync("kept");
  assert.equal(String((await kept)[1]), "for later");
  const will = new Promise((resolve) => {
    listener.on("message", (topic, message) => {
      if (topic === "wills") resolve(String(message));
    });
  });
  speaker.stream.destroy();
  assert.equal(await will, "gone");
});
