// Node's own http, https, http2 and tls over two stacks.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as https from "node:https";
import * as nodeNet from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as tls from "node:tls";
import { install } from "@sinonjs/fake-timers";
import { createHttpAgent, createHttpsAgent, createNet } from "ethertab/node";
import { pattern, twoStacks } from "../support.mjs";

const SERVER = "10.0.0.2";
let network;
let clientNet;
let serverNet;
let credentials;
before(async () => {
  network = await twoStacks();
  clientNet = createNet(network.a);
  serverNet = createNet(network.b);
  credentials = selfSigned();
});
after(() => network.engine.close());

/** A certificate for the server's address, by the openssl that is there. */
function selfSigned() {
  const folder = mkdtempSync(join(tmpdir(), "ethertab-tls-"));
  try {
    const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(folder, name));
    const subject = [
      "-subj",
      "/CN=shop.test",
      "-addext",
      `subjectAltName=DNS:shop.test,IP:${SERVER}`,
    ];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const files = ["-keyout", key, "-out", cert, "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...kind, ...files, ...subject], { stdio: "pipe" });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Gives the connections of the second stack to a server of Node's; the port. */
async function serve(server, t) {
  // Under TLS a socket must not end by itself when the peer's end comes.
  const options = { allowHalfOpen: server instanceof tls.Server };
  const listener = serverNet.createServer(options, (socket) => server.emit("connection", socket));
  listener.listen(0, SERVER);
  await once(listener, "listening");
  t.after(() => {
    listener.close();
    server.closeAllConnections?.();
  });
  return listener.address().port;
}

async function body(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function echo(request, response) {
  response.setHeader("x-path", request.url);
  request.pipe(response);
}

async function post(client, options, bytes) {
  const request = client.request({ method: "POST", path: "/echo", ...options });
  request.end(bytes);
  const [response] = await once(request, "response");
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers["x-path"], "/echo");
  return { bytes: await body(response), reused: request.reusedSocket };
}

test("http: requests one after the other share a connection", async (t) => {
  const port = await serve(http.createServer(echo), t);
  const agent = createHttpAgent(network.a, { keepAlive: true });
  const sent = pattern(300_000);
  const options = { agent, host: SERVER, port };
  const first = await post(http, options, sent);
  assert.equal(Buffer.compare(first.bytes, sent), 0);
  assert.equal(first.reused, false);
  assert.equal((await post(http, options, "again")).reused, true);
  assert.equal(Object.values(agent.freeSockets).flat().length, 1);
  agent.destroy();
});

test("http: many requests at once, timeouts and refused connections", async (t) => {
  const slow = http.createServer((request, response) => {
    if (request.url !== "/never") response.end(request.url);
  });
  const port = await serve(slow, t);
  const agent = createHttpAgent(network.a);
  const get = (path, options = {}) =>
    new Promise((resolve, reject) => {
      http
        .get({ agent, host: SERVER, port, path, ...options }, resolve)
        .on("error", reject)
        .on("timeout", function () {
          this.destroy(new Error("timed out"));
        });
    });
  const paths = Array.from({ length: 50 }, (_, index) => `/${index}`);
  const all = await Promise.all(paths.map(async (path) => String(await body(await get(path)))));
  assert.deepEqual(all, paths);
  await assert.rejects(get("/never", { timeout: 50 }), /timed out/);
  await assert.rejects(get("/", { port: 1 }), { message: `connect ECONNREFUSED ${SERVER}:1` });
  agent.destroy();
});

test("http: an upgrade hands the socket over", async (t) => {
  const server = http.createServer();
  server.on("upgrade", (_request, socket) => {
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    );
    socket.pipe(socket);
  });
  const port = await serve(server, t);
  const agent = createHttpAgent(network.a);
  const headers = { connection: "Upgrade", upgrade: "echo" };
  const request = http.get({ agent, host: SERVER, port, headers });
  const [, socket] = await once(request, "upgrade");
  socket.end("over the bare socket");
  assert.equal(String(await body(socket)), "over the bare socket");
});

test("https: certificates are checked, sessions taken up again", async (t) => {
  const port = await serve(https.createServer(credentials, echo), t);
  const agent = createHttpsAgent(network.a, { ca: credentials.cert, keepAlive: true });
  const options = { agent, host: SERVER, port };
  const sent = pattern(300_000);
  assert.equal(Buffer.compare((await post(https, options, sent)).bytes, sent), 0);
  assert.equal((await post(https, options, "again")).reused, true);
  agent.destroy();
  const stranger = createHttpsAgent(network.a);
  await assert.rejects(post(https, { ...options, agent: stranger }, ""), {
    code: "DEPTH_ZERO_SELF_SIGNED_CERT",
  });
  const wrongName = createHttpsAgent(network.a, { ca: credentials.cert, servername: "bank.test" });
  await assert.rejects(post(https, { ...options, agent: wrongName }, ""), {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
  });
});

test("tls: both ends over sockets of stacks", async (t) => {
  const server = tls.createServer(credentials, (socket) => socket.pipe(socket));
  const port = await serve(server, t);
  const socket = tls.connect({
    socket: clientNet.connect({ port, host: SERVER, allowHalfOpen: true }),
    ca: credentials.cert,
    servername: "shop.test",
  });
  await once(socket, "secureConnect");
  assert.equal(socket.authorized, true);
  const sent = pattern(500_000);
  socket.end(sent);
  assert.equal(Buffer.compare(await body(socket), sent), 0);
});

test("tls: a server that is not there", async () => {
  const socket = tls.connect({ socket: clientNet.connect(1, SERVER) });
  const [error] = await once(socket, "error");
  assert.equal(error.message, `connect ECONNREFUSED ${SERVER}:1`);
});

for (const [name, scheme] of [
  ["http2: in the clear", "http"],
  ["http2: over tls", "https"],
]) {
  test(name, async (t) => {
    const server = scheme === "http" ? http2.createServer() : http2.createSecureServer(credentials);
    server.on("stream", (stream, headers) => {
      stream.respond({ ":status": 200, "x-path": headers[":path"] });
      stream.pipe(stream);
    });
    const port = await serve(server, t);
    const session = http2.connect(`${scheme}://${SERVER}:${port}`, {
      createConnection: () => {
        const socket = clientNet.connect(port, SERVER);
        if (scheme === "http") return socket;
        const options = { ca: credentials.cert, servername: "shop.test", ALPNProtocols: ["h2"] };
        return tls.connect({ socket, ...options });
      },
    });
    const sent = pattern(200_000);
    const streams = Array.from({ length: 10 }, async (_, index) => {
      const stream = session.request({ ":method": "POST", ":path": `/${index}` });
      stream.end(sent);
      const [headers] = await once(stream, "response");
      assert.equal(headers["x-path"], `/${index}`);
      assert.equal(Buffer.compare(await body(stream), sent), 0);
    });
    await Promise.all(streams);
    session.close();
    await once(session, "close");
  });
}

test("net: what Linux's loopback carries, stacks carry: 16 MiB both ways", async () => {
  const server = serverNet.createServer((socket) => socket.pipe(socket));
  server.listen(0, SERVER);
  await once(server, "listening");
  const socket = clientNet.connect(server.address().port, SERVER);
  const sent = pattern(16 << 20);
  socket.end(sent);
  assert.equal(Buffer.compare(await body(socket), sent), 0);
  server.close();
  await once(server, "close");
});

test("fake timers of a test hold up the program, not the network", async (t) => {
  // Node's own as the judge.
  const pairs = [
    { connect: clientNet.connect, server: serverNet.createServer(), host: SERVER },
    { connect: nodeNet.connect, server: nodeNet.createServer(), host: "127.0.0.1" },
  ];
  for (const { server, host } of pairs) {
    server.on("connection", (socket) => socket.pipe(socket));
    server.listen(0, host);
    await once(server, "listening");
  }
  // Node itself waits for process.nextTick as it is.
  const frozen = install({ now: 0, toNotFake: ["nextTick"] });
  t.after(() => {
    frozen.uninstall();
    for (const { server } of pairs) server.close();
  });
  for (const { connect, server, host } of pairs) {
    const socket = connect(server.address().port, host);
    socket.write("all the same");
    const [data] = await once(socket, "data");
    assert.equal(String(data), "all the same");
    socket.setTimeout(1);
    await once(socket, "timeout");
    socket.destroy();
    await once(socket, "close");
  }
  await assert.rejects(network.a.ping("10.0.0.77", { timeout: 20 }), { code: "ETIMEDOUT" });
  assert.equal(Date.now(), 0);
});
