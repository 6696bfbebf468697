// What guests ask web servers is asked by fetch. Node's HTTP client is the guest, over a stack; Node's HTTP server is the web.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import http from "node:http";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { createEngine, createStack, createSwitch, SocketError } from "ethertab";
import { createGateway, fetchEgress, noEgress } from "../dist/gateway/index.js";
import { createHttpAgent } from "../dist/node/index.js";
import { readAll, until } from "./support.mjs";

const MIB = 1024 * 1024;
const pattern = (size) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 11)) & 255));
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const LARGE = pattern(8 * MIB);

/** What the web server does, by path. */
const pages = {
  "/hello": (_, response) => response.end("hello"),
  "/echo": (request, response) => {
    const { method, url, headers } = request;
    const hash = createHash("sha256");
    let size = 0;
    request.on("data", (piece) => {
      hash.update(piece);
      size += piece.length;
    });
    request.on("end", () =>
      response.end(JSON.stringify({ method, url, headers, size, hash: hash.digest("hex") })),
    );
  },
  "/gzip": (_, response) => {
    const body = gzipSync("squeezed ".repeat(1000));
    response.writeHead(200, { "content-encoding": "gzip", "content-length": body.length });
    response.end(body);
  },
  "/large": (_, response) => {
    response.writeHead(200, { "content-length": LARGE.length, "set-cookie": ["a=1", "b=2"] });
    response.end(LARGE);
  },
  "/range": (request, response) => {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range);
    response.writeHead(206, { "content-range": `bytes ${from}-${to}/${LARGE.length}` });
    response.end(LARGE.subarray(Number(from), Number(to) + 1));
  },
  "/chunks": async (_, response) => {
    for (const piece of ["one ", "two ", "three"]) {
      response.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    response.end();
  },
  "/empty": (_, response) => response.writeHead(204).end(),
  "/same": (_, response) => response.writeHead(304, { etag: '"x"' }).end(),
  "/moved": (_, response) => response.writeHead(302, { location: "/hello" }).end(),
  // Redirects as the query says: `?status=307&to=/echo`.
  "/to": (request, response) => {
    const { searchParams } = new URL(request.url, "http://x");
    response.writeHead(Number(searchParams.get("status") ?? 302), {
      location: searchParams.get("to"),
    });
    response.end("moved");
  },
  "/early": (_, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("only");
    setTimeout(() => response.destroy(), 20);
  },
  "/missing": (_, response) => response.writeHead(404, "Nothing Here").end("no"),
  "/endless": (request, response) => {
    endless.push(request);
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
    };
    response.on("drain", more);
    more();
  },
  "/hang": (request) => {
    hanging.push(request);
  },
};
const hanging = [];
const endless = [];

let web;
let port;
before(async () => {
  web = http.createServer((request, response) => {
    const page = pages[new URL(request.url, "http://x").pathname];
    if (page === undefined) response.writeHead(500).end("?");
    else page(request, response);
  });
  await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
  ({ port } = web.address());
});
after(() => {
  web.closeAllConnections();
  web.close();
});

/** The platform's fetch, for which all names of the test are this computer. */
const testFetch = (url, init) =>
  fetch(String(url).replace(/\/\/[a-z.]*web\.test/, "//127.0.0.1"), init);

/** A gateway by fetch, and a guest. */
async function network(t, options = {}, gatewayOptions = {}) {
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const egress = fetchEgress({ fetch: testFetch, ...options });
  const gateway = await createGateway({ engine, seed: 1, egress, ...gatewayOptions });
  lan.plug(gateway);
  const guest = await createStack({ engine, seed: 2, dns: { servers: ["10.0.2.2"] } });
  lan.plug(guest.addInterface({ addresses: ["10.0.2.15/24"], gateway: "10.0.2.2" }));
  const agent = createHttpAgent(guest, { keepAlive: true });
  t.after(async () => {
    agent.destroy();
    await gateway.close();
    engine.close();
  });
  /** One request by Node's client, with its whole answer. */
  const ask = (path, { body, ...more } = {}) =>
    new Promise((resolve, reject) => {
      const request = http.request(
        { agent, host: "web.test", port, path, ...more },
        async (response) => {
          const pieces = [];
          try {
            for await (const piece of response) pieces.push(piece);
            resolve({ response, body: Buffer.concat(pieces) });
          } catch (error) {
            reject(error);
          }
        },
      );
      request.on("error", reject);
      if (body === undefined) request.end();
      else if (typeof body === "function") body(request);
      else request.end(body);
    });
  return { gateway, guest, egress, ask };
}

test("requests with all kinds of answers, on one connection that is kept", async (t) => {
  const { ask, egress } = await network(t);
  const hello = await ask("/hello");
  assert.deepEqual([hello.response.statusCode, hello.body.toString()], [200, "hello"]);
  const squeezed = await ask("/gzip", { headers: { "accept-encoding": "gzip" } });
  assert.equal(squeezed.body.toString(), "squeezed ".repeat(1000));
  assert.equal(squeezed.response.headers["content-encoding"], undefined);
  assert.equal(squeezed.response.headers["content-length"], undefined);
  const large = await ask("/large");
  assert.equal(sha256(large.body), sha256(LARGE));
  assert.equal(large.response.headers["content-length"], String(LARGE.length));
  assert.deepEqual(large.response.headers["set-cookie"], ["a=1", "b=2"]);
  const range = await ask("/range", { headers: { range: "bytes=100-299" } });
  assert.equal(range.response.statusCode, 206);
  assert.deepEqual(range.body, LARGE.subarray(100, 300));
  const chunks = await ask("/chunks");
  assert.equal(chunks.body.toString(), "one two three");
  const moved = await ask("/moved");
  assert.equal(moved.body.toString(), "hello");
  assert.match(moved.response.headers["content-location"], /\/hello$/);
  const missing = await ask("/missing");
  assert.deepEqual(
    [missing.response.statusCode, missing.response.statusMessage],
    [404, "Nothing Here"],
  );
  for (const [path, method, status] of [
    ["/empty", "GET", 204],
    ["/same", "GET", 304],
    ["/large", "HEAD", 200],
  ]) {
    const { response, body } = await ask(path, { method });
    assert.deepEqual([response.statusCode, body.length], [status, 0]);
  }
  const last = await ask("/hello");
  assert.equal(last.body.toString(), "hello");
  const { connections, requests, failures, bytesDown } = egress.counters();
  assert.deepEqual([connections, requests, failures], [1, 11, 0]);
  assert.ok(bytesDown > LARGE.length);
});

test("methods, fields and bodies arrive as the guest sent them", async (t) => {
  const { ask } = await network(t);
  const echo = async (options) => JSON.parse((await ask("/echo?a=b", options)).body.toString());
  const get = await echo({
    headers: {
      "x-own": "1",
      accept: "text/plain",
      "user-agent": "guest",
      connection: "x-hop",
      "x-hop": "1",
      te: "trailers",
    },
  });
  assert.deepEqual([get.method, get.url], ["GET", "/echo?a=b"]);
  assert.deepEqual(
    [get.headers["x-own"], get.headers.accept, get.headers["user-agent"]],
    ["1", "text/plain", "guest"],
  );
  assert.deepEqual([get.headers["x-hop"], get.headers.te], [undefined, undefined]);
  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
    const { size, headers, ...rest } = await echo({
      method,
      body: "text",
      headers: { "content-type": "text/x", "content-length": 4 },
    });
    assert.deepEqual([rest.method, size, headers["content-type"]], [method, 4, "text/x"]);
  }
  const whole = await echo({ method: "PUT", body: LARGE });
  assert.deepEqual([whole.size, whole.hash], [LARGE.length, sha256(LARGE)]);
  const chunked = await echo({
    method: "POST",
    body(request) {
      for (let at = 0; at < LARGE.length; at += MIB) request.write(LARGE.subarray(at, at + MIB));
      request.end();
    },
  });
  assert.deepEqual(
    [chunked.hash, chunked.headers["transfer-encoding"]],
    [sha256(LARGE), "chunked"],
  );
  const expecting = await echo({
    method: "POST",
    headers: { expect: "100-continue", "content-length": 3 },
    body(request) {
      request.flushHeaders();
      request.on("continue", () => request.end("abc"));
    },
  });
  assert.equal(expecting.size, 3);
});

test("pipelined requests are answered in their order", async (t) => {
  const { guest } = await network(t);
  const socket = guest.connect(`web.test:${port}`);
  const head = `HTTP/1.1\r\nHost: web.test:${port}\r\n`;
  const writer = socket.writable.getWriter();
  await writer.write(
    new TextEncoder().encode(
      `GET /hello ${head}\r\nGET /chunks ${head}\r\nGET /missing ${head}Connection: close\r\n\r\n`,
    ),
  );
  const text = (await readAll(socket.readable)).toString();
  assert.match(text, /hello.*one .*three.*404 Nothing Here/s);
});

test("a server that cannot be asked is a 502 that says CORS or network; one that breaks off is a reset", async (t) => {
  const { ask, egress } = await network(t);
  const { response, body } = await ask("/hello", { port: 1_025 });
  assert.equal(response.statusCode, 502);
  assert.match(
    body.toString(),
    /^CORS or network: the request for http:\/\/web\.test:1025\/hello failed/,
  );
  await assert.rejects(ask("/early"), /aborted|ECONNRESET/);
  assert.equal(egress.counters().failures, 2);
});

test("the server's work ends when the guest goes away", async (t) => {
  const { guest } = await network(t);
  const socket = guest.connect(`web.test:${port}`);
  socket.closed.catch(() => {});
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode(`GET /hang HTTP/1.1\r\nHost: web.test\r\n\r\n`));
  await until(() => hanging.length === 1, "the request");
  const [request] = hanging;
  const gone = new Promise((resolve) => request.on("close", resolve));
  socket.abort();
  await gone;
});

test("a guest that resets in the middle of a body, either way, ends the exchange outside", async (t) => {
  const { guest, egress, gateway, ask } = await network(t);
  const begin = async (head, body = "") => {
    const socket = guest.connect(`web.test:${port}`);
    socket.closed.catch(() => {});
    const writer = socket.writable.getWriter();
    writer.closed.catch(() => {});
    await writer.write(new TextEncoder().encode(`${head} HTTP/1.1\r\nHost: web.test\r\n${body}`));
    return { socket, writer };
  };
  hanging.length = 0;
  const chunk = `${(128 * 1024).toString(16)}\r\n${"x".repeat(128 * 1024)}\r\n`;
  const upload = await begin("POST /hang", `Transfer-Encoding: chunked\r\n\r\n${chunk}`);
  await until(() => hanging.length === 1, "the upload's beginning");
  // Nothing of it may look like a whole body.
  let isWhole = false;
  hanging[0].on("end", () => {
    isWhole = true;
  });
  const uploadEnds = new Promise((resolve) => hanging[0].resume().on("close", resolve));
  upload.socket.abort();
  await uploadEnds;
  assert.deepEqual([isWhole, hanging[0].complete], [false, false]);

  const download = await begin("GET /endless", "\r\n");
  const reader = download.socket.readable.getReader();
  for (let bytes = 0; bytes < MIB; bytes += (await reader.read()).value.length);
  const downloadEnds = new Promise((resolve) => endless[0].on("close", resolve));
  download.socket.abort();
  reader.closed.catch(() => {});
  await downloadEnds;
  await until(() => gateway.flows().length === 0, "the flows' ends");
  assert.equal((await ask("/hello")).body.toString(), "hello");
  assert.equal(egress.counters().requests, 3);
});

test("an upload that is too long to be held is a 413, and what can be streamed is not", async (t) => {
  const { ask, egress } = await network(t, { upload: "buffer", bufferLimit: MIB });
  const small = await ask("/echo", { method: "POST", body: LARGE.subarray(0, MIB) });
  assert.equal(JSON.parse(small.body.toString()).size, MIB);
  const large = await ask("/echo", { method: "POST", body: LARGE.subarray(0, 2 * MIB) });
  assert.equal(large.response.statusCode, 413);
  assert.equal(egress.counters().uploadsTooLarge, 1);
});

for (const { what, options, status } of [
  { what: "a 413", options: { upload: "buffer", bufferLimit: MIB }, status: 413 },
  {
    what: "a 502",
    options: { fetch: () => Promise.reject(new TypeError("no network")) },
    status: 502,
  },
]) {
  test(`RFC 9112 §9.6: ${what} reaches a guest that sends all of a long body before it reads`, async (t) => {
    const { guest } = await network(t, options);
    const socket = guest.connect({ hostname: "web.test", port });
    const writer = socket.writable.getWriter();
    const fields = `Host: web.test:${port}\r\nContent-Length: ${LARGE.length}\r\n`;
    await writer.write(Buffer.from(`POST /echo HTTP/1.1\r\n${fields}\r\n`));
    for (let at = 0; at < LARGE.length; at += MIB) {
      await writer.write(LARGE.subarray(at, at + MIB));
    }
    const answer = await new Response(socket.readable).text();
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
    await socket.closed;
  });
}

test("redirects by hand, a proxy against CORS, and http upgraded", async (t) => {
  const asked = [];
  const recording = (url, init) => {
    asked.push(String(url));
    return /moved/.test(url) ? testFetch(url, init) : Promise.resolve(new Response("ok"));
  };
  const manual = await network(t, { fetch: recording, redirect: "manual" });
  const moved = await manual.ask("/moved");
  assert.deepEqual([moved.response.statusCode, moved.response.headers.location], [302, "/hello"]);
  asked.length = 0;
  for (const corsProxy of [
    "https://p.test/?url=",
    "https://p.test/{+url}",
    (url) => (url.endsWith("b") ? null : "https://f.test/"),
  ]) {
    const { ask } = await network(t, { fetch: recording, corsProxy });
    for (const path of ["/a?x=1", "/b"]) await ask(path, { port: 80 });
  }
  const upgrading = await network(t, { fetch: recording, upgrade: true });
  await upgrading.ask("/c", { port: 80 });
  await upgrading.ask("/d", { port: 8080 });
  assert.deepEqual(asked, [
    "https://p.test/?url=http%3A%2F%2Fweb.test%2Fa%3Fx%3D1",
    "https://p.test/?url=http%3A%2F%2Fweb.test%2Fb",
    "https://p.test/http://web.test/a?x=1",
    "https://p.test/http://web.test/b",
    "https://f.test/",
    "http://web.test/b",
    "https://web.test/c",
    "https://web.test:8080/d",
  ]);
});

test("each redirect is followed only where the rules lead to this egress; else the guest gets it", async (t) => {
  const asked = [];
  const egress = fetchEgress({
    fetch: (url, init) => {
      asked.push(String(url));
      return testFetch(url, init);
    },
  });
  const secret = ["secret.web.test", "127.0.0.0/8", "::1", "169.254.0.0/16"];
  const rules = [
    { host: secret, egress: noEgress() },
    { port: 81, egress: noEgress() },
    { egress },
  ];
  const { ask } = await network(t, {}, { egress: rules });
  const here = `http://web.test:${port}`;
  const path = (to, status = 302) => `/to?status=${status}&to=${encodeURIComponent(to)}`;
  for (const to of [
    `http://secret.web.test:${port}/hello`,
    `http://SECRET.web.test.:${port}/hello`,
    `http://127.0.0.1:${port}/hello`,
    `http://2130706433:${port}/hello`,
    `http://[::1]:${port}/hello`,
    `http://[::ffff:7f00:1]:${port}/hello`,
    "http://169.254.169.254/latest/meta-data/",
    "http://other.web.test:81/",
  ]) {
    asked.length = 0;
    // By a host that is permitted, to one that is not.
    const { response, body } = await ask(path(`http://other.web.test:${port}${path(to, 307)}`));
    assert.deepEqual([response.statusCode, body.toString()], [307, "moved"], to);
    assert.equal(response.headers.location, new URL(to).href);
    assert.equal(asked.length, 2);
  }
  const { response, body } = await ask(path(`http://other.web.test:${port}${path("/hello")}`));
  assert.deepEqual([response.statusCode, body.toString()], [200, "hello"]);
  assert.equal(response.headers["content-location"], `http://other.web.test:${port}/hello`);
  // A POST that has become a GET on its way is not made a POST again by the guest.
  const changed = await ask(path(`${here}${path("http://169.254.169.254/", 307)}`, 301), {
    method: "POST",
    body: "x",
  });
  assert.equal(changed.response.statusCode, 303);
});

test("redirects change the request as the Fetch standard says", async (t) => {
  const { ask, egress } = await network(t);
  const to = (target, status) => `/to?status=${status}&to=${encodeURIComponent(target)}`;
  const post = (path, body = "text", headers = {}) =>
    ask(path, { method: "POST", body, headers: { "content-type": "text/x", ...headers } });
  for (const [status, method, size] of [
    [301, "GET", 0],
    [302, "GET", 0],
    [303, "GET", 0],
    [307, "POST", 4],
    [308, "POST", 4],
  ]) {
    const echo = JSON.parse((await post(to("/echo", status))).body.toString());
    assert.deepEqual([echo.method, echo.size], [method, size], String(status));
    assert.equal(echo.headers["content-type"], method === "POST" ? "text/x" : undefined);
  }
  const put = await ask(to("/echo", 302), { method: "PUT", body: "text" });
  assert.equal(JSON.parse(put.body.toString()).method, "PUT");
  const own = { authorization: "Basic eDp5", cookie: "a=1", "x-own": "1" };
  for (const [target, isTold] of [
    ["/echo", true],
    [`http://other.web.test:${port}/echo`, false],
  ]) {
    const { headers } = JSON.parse((await ask(to(target, 302), { headers: own })).body.toString());
    assert.deepEqual(
      [headers.authorization, headers.cookie, headers["x-own"]],
      isTold ? ["Basic eDp5", "a=1", "1"] : [undefined, undefined, "1"],
    );
  }
  const before = egress.counters().failures;
  for (const [target, status, body, message] of [
    ["/echo", 307, LARGE.subarray(0, 200_000), /asks for the body again/],
    ["file:///etc/passwd", 302, "x", /file:, which is not HTTP/],
    ["http://a b/", 302, "x", /which is no URL/],
    ["", 307, "x", /more than 20 redirects/],
  ]) {
    const { response, body: text } = await post(to(target, status), body);
    assert.equal(response.statusCode, 502);
    assert.match(text.toString(), message);
  }
  assert.equal(egress.counters().failures, before + 4);
  const none = await ask("/to?status=304");
  assert.equal(none.response.statusCode, 304);
});

test("a page's browser follows by itself: what comes from where the rules lead elsewhere is not shown", async (t) => {
  globalThis.location = { protocol: "http:", origin: "http://page.test" };
  t.after(() => Reflect.deleteProperty(globalThis, "location"));
  let end;
  const egress = fetchEgress({
    fetch: async (_, { redirect }) => {
      assert.equal(redirect, "follow");
      const response = new Response("inside");
      return Object.defineProperties(response, {
        redirected: { value: true },
        url: { value: end },
      });
    },
  });
  const { ask } = await network(
    t,
    {},
    {
      egress: [
        { host: "192.168.0.0/16", egress: noEgress() },
        { port: 80, egress },
      ],
    },
  );
  const outcomes = [];
  for (end of [
    "http://192.168.1.1/",
    "http://other.test/",
    "https://web.test/",
    "https://other.test/",
  ]) {
    const { response, body } = await ask("/", { port: 80 });
    outcomes.push([response.statusCode, body.toString()]);
  }
  const denied = (url) => `http://web.test/ redirects to ${url}, where the rules do not lead.\n`;
  assert.deepEqual(outcomes, [
    [502, denied("http://192.168.1.1/")],
    [200, "inside"],
    [200, "inside"],
    [502, denied("https://other.test/")],
  ]);
});

test("what is not HTTP is refused, or reset when it turns out", async (t) => {
  const { guest, egress } = await network(t);
  for (const refused of [22, 25, 443, 3306]) {
    await assert.rejects(
      guest.connect(`web.test:${refused}`).opened,
      (error) => error instanceof SocketError && error.code === "ECONNREFUSED",
    );
  }
  const socket = guest.connect("web.test:8080");
  await socket.opened;
  socket.tryWrite(Uint8Array.of(0x10, 0x0c, 0x00, 0x04));
  await assert.rejects(socket.closed, { code: "ECONNRESET" });
  const { refused, notHttp } = egress.counters();
  assert.deepEqual([refused, notHttp], [4, 1]);
});

test("a Host field does not lead around the rules, nor to another port", async (t) => {
  const asked = [];
  const egress = fetchEgress({
    fetch: async (url) => {
      asked.push(String(url));
      return new Response("ok");
    },
  });
  const { ask } = await network(
    t,
    {},
    {
      egress: [{ host: ["secret.test", "10.0.0.0/8"], egress: noEgress() }, { egress }],
    },
  );
  const status = async (host) =>
    (await ask("/", { host: "web.test", port: 80, headers: { host } })).response.statusCode;
  assert.equal(await status("web.test:8080"), 200);
  assert.equal(await status("other.test"), 200);
  assert.equal(await status("secret.test"), 421);
  assert.equal(await status("10.1.2.3"), 421);
  assert.deepEqual(asked, ["http://web.test/", "http://other.test/"]);
});

test("a hostile guest: slow heads, large heads and many connections stay bounded", async (t) => {
  const { guest, gateway } = await network(
    t,
    { http: { headTimeout: 50, keepAliveTimeout: 100, maxHeadBytes: 8_192 } },
    { flows: { perGuest: 20 } },
  );
  let most = 0;
  gateway.addEventListener("flow", () => {
    most = Math.max(most, gateway.flows().length);
  });
  // One half sends a part of a head, the others nothing.
  const part = new TextEncoder().encode("GET / HTTP/1.1\r\nHo");
  const opening = Array.from({ length: 60 }, async (_, index) => {
    const socket = guest.connect("web.test:8080");
    socket.closed.catch(() => {});
    await socket.opened;
    if (index % 2 === 0) socket.tryWrite(part);
  });
  await Promise.allSettled(opening);
  assert.ok(most <= 21, `${most} flows at once, with the one that is refused`);
  await until(() => gateway.flows().length === 0, "their end");
  const bomb = guest.connect("web.test:8080");
  await bomb.opened;
  bomb.tryWrite(new TextEncoder().encode(`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`));
  assert.match((await readAll(bomb.readable)).toString(), /^HTTP\/1\.1 431 /);
});

test("what cannot be an option is said to be none", () => {
  const wrong = [
    [{ fetch: 7 }, /options\.fetch/],
    [{ corsProxy: "nonsense" }, /options\.corsProxy/],
    [{ redirect: "error" }, /options\.redirect/],
    [{ credentials: "all" }, /options\.credentials/],
    [{ upload: 1 }, /options\.upload/],
    [{ bufferLimit: -1 }, /options\.bufferLimit/],
    [{ ports: "x" }, /options\.ports/],
    [{ tls: true }, /options\.tls/],
    [{ http: { maxHead: 1 } }, /maxHead/],
  ];
  for (const [options, message] of wrong) assert.throws(() => fetchEgress(options), message);
});
