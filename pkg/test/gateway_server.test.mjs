// The gateway's HTTP server: byte for byte over a pair of sockets, and judged by Node's own client.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { httpLimits } from "../dist/gateway/http/limits.js";
import { parseOrigin, Routes, resolvingBy } from "../dist/gateway/http/routes.js";
import { serveConnection } from "../dist/gateway/http/server.js";
import { clock, listenOnLoopback, loadParser, RawPeer, socketPair } from "./gateway_support.mjs";

let parser;
before(async () => {
  parser = await loadParser();
});

/** A server for the origins given, with what it reported. */
function server(handlers, limits = {}) {
  const routes = new Routes();
  for (const [origin, handler] of Object.entries(handlers))
    routes.add(parseOrigin(origin, handler));
  const records = [];
  const failures = [];
  const context = {
    parser,
    clock,
    limits: httpLimits({ headTimeout: 500, keepAliveTimeout: 500, stallTimeout: 2000, ...limits }),
    resolve: resolvingBy(routes),
    exchanged: (record) => records.push(record),
    failed: (error, url) => failures.push({ error, url }),
  };
  const serve = (socket) => serveConnection(socket, 80, context);
  const open = (capacity) => {
    const [local, remote] = socketPair(capacity);
    const done = serve(local);
    return Object.assign(new RawPeer(remote), { done });
  };
  return { open, serve, records, failures };
}

const hello = { "http://shop.test": () => new Response("hello") };
const get = (path = "/", fields = "") => `GET ${path} HTTP/1.1\r\nHost: shop.test\r\n${fields}\r\n`;

describe("requests on one connection", () => {
  test("a small response tells its length and keeps the connection", async () => {
    const peer = server(hello).open();
    peer.send(get());
    await peer.until(({ text }) => text.endsWith("hello"));
    assert.equal(
      peer.text,
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain;charset=UTF-8\r\ncontent-length: 5\r\n\r\nhello",
    );
    peer.send(get("/", "Connection: close\r\n"));
    await peer.untilEnd();
    assert.match(peer.text, /hello.*connection: close\r\n\r\nhello$/s);
    peer.finish();
    await peer.done;
  });

  test("pipelined requests are answered in order, however long each takes", async () => {
    const handler = async (request) => {
      const { pathname } = new URL(request.url);
      await new Promise((resolve) => setTimeout(resolve, pathname === "/1" ? 30 : 0));
      return new Response(`<${pathname}>`);
    };
    const peer = server({ "http://shop.test": handler }).open();
    peer.send(get("/1") + get("/2") + get("/3", "Connection: close\r\n"));
    await peer.untilEnd();
    assert.deepEqual(peer.text.match(/<.*?>/g), ["</1>", "</2>", "</3>"]);
  });

  test("a head that arrives byte by byte, after empty lines", async () => {
    const peer = server(hello).open();
    for (const byte of `\r\n\r\n${get("/", "Connection: close\r\n")}`) {
      peer.send(byte);
      await new Promise(setImmediate);
    }
    assert.match(await peer.untilEnd(), /^HTTP\/1.1 200 OK/);
  });

  test("HTTP/1.0: no Host needed, closes, keeps alive when asked, never chunked", async () => {
    const stream = () =>
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          controller.enqueue(new TextEncoder().encode("late"));
          controller.close();
        },
      });
    const handler = ({ url }) => new Response(url.endsWith("/stream") ? stream() : "now");
    const { open } = server({ "http://shop.test": handler });
    const closing = open();
    closing.send("GET /stream HTTP/1.0\r\n\r\n");
    const text = await closing.untilEnd();
    assert.ok(text.endsWith("connection: close\r\n\r\nlate"), text);
    assert.ok(!text.includes("chunked"));

    const kept = open();
    kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    await kept.until((peer) => peer.text.endsWith("now"));
    assert.match(kept.text, /connection: keep-alive/);
    kept.send("GET / HTTP/1.0\r\n\r\n");
    assert.match(await kept.untilEnd(), /connection: close\r\n\r\nnow$/);
  });

  test("HEAD, 204 and 304 have no body and do not end the connection", async () => {
    const handler = (request) => {
      const status = Number(new URL(request.url).pathname.slice(1));
      return new Response(status === 200 ? "four" : null, { status, headers: { "x-kept": "yes" } });
    };
    const peer = server({ "http://shop.test": handler }).open();
    peer.send(get("/200").replace("GET", "HEAD") + get("/204") + get("/304"));
    peer.send(get("/200", "Connection: close\r\n"));
    const heads = (await peer.untilEnd()).split("\r\n\r\n");
    assert.equal(heads.length, 5);
    assert.deepEqual(
      heads.slice(0, 4).map((head) => head.slice(0, 12)),
      ["HTTP/1.1 200", "HTTP/1.1 204", "HTTP/1.1 304", "HTTP/1.1 200"],
    );
    assert.ok(!/content-length|chunked/.test(heads[1]), heads[1]);
    assert.equal(heads[4], "four");
  });

  test("several Set-Cookie fields stay several", async () => {
    const headers = new Headers([
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ]);
    const peer = server({ "http://shop.test": () => new Response(null, { headers }) }).open();
    peer.send(get("/", "Connection: close\r\n"));
    assert.match(await peer.untilEnd(), /set-cookie: a=1\r\nset-cookie: b=2\r\n/);
  });
});

describe("what the handler sees", () => {
  test("method, URL, Host and Cookie, body, the guest's address", async () => {
    let seen;
    const handler = async (request, { remote }) => {
      seen = [request.method, request.url, await request.text(), remote.address];
      seen.push(request.headers.get("host"), request.headers.get("cookie"));
      return new Response(null, { status: 201 });
    };
    const peer = server({ "http://shop.test": handler }).open();
    peer.send(
      "POST /a?b=c HTTP/1.1\r\nHost: SHOP.test\r\nCookie: k=v\r\nContent-Length: 4\r\n\r\nbodyGET",
    );
    await peer.until(({ text }) => text.includes("201 Created"));
    const expected = ["POST", "http://shop.test/a?b=c", "body", "10.0.2.15", "SHOP.test", "k=v"];
    assert.deepEqual(seen, expected);
  });

  test("chunked body with extensions and trailers; the next request is found after it", async () => {
    const handler = async (request) => new Response(`[${await request.text()}]`);
    const { open, records } = server({ "http://shop.test": handler });
    const peer = open();
    peer.send("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer.send("3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n");
    peer.send(get("/", "Connection: close\r\n"));
    const text = await peer.untilEnd();
    assert.deepEqual(text.match(/\[.*?\]/g), ["[abc0123456789]", "[]"]);
    assert.equal(records[0].bytesReceived, 13);
  });

  test("chunked body that arrives byte by byte", async () => {
    const handler = async (request) => new Response(`[${await request.text()}]`);
    const peer = server({ "http://shop.test": handler }).open();
    const head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const byte of `${head}3\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n`) {
      peer.send(byte);
      await new Promise(setImmediate);
    }
    await peer.until(({ text }) => text.endsWith("[abc]"));
    peer.finish();
    await peer.done;
  });

  test("a target in absolute form names the host", async () => {
    const handler = (request) => new Response(request.url);
    const peer = server({ "http://shop.test": handler }).open();
    peer.send("GET http://shop.test/x HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n");
    assert.match(await peer.untilEnd(), /http:\/\/shop\.test\/x$/);
  });

  test("a body is not read before the handler asks, and not faster", async () => {
    let proceed;
    const gate = new Promise((resolve) => {
      proceed = resolve;
    });
    const handler = async (request) => {
      await gate;
      return new Response(String((await request.arrayBuffer()).byteLength));
    };
    const { serve } = server({ "http://shop.test": handler });
    const [local, remote] = socketPair(64 * 1024);
    serve(local);
    const body = new Uint8Array(1024 * 1024);
    const head = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1048576\r\n\r\n";
    remote.tryWrite(Buffer.from(head));
    let sent = 0;
    const push = () => {
      for (let taken = 1; taken > 0 && sent < body.length; sent += taken) {
        taken = remote.tryWrite(body.subarray(sent));
      }
    };
    remote.onready = push;
    push();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(sent < 100 * 1024, `${sent} bytes were taken before anybody asked`);
    proceed();
    const peer = new RawPeer(remote);
    const read = remote.onready;
    remote.onready = () => {
      push();
      read();
    };
    push();
    await peer.until(({ text }) => text.endsWith("1048576"));
  });

  test("Expect: 100-continue is answered when the body is read", async () => {
    const handler = async (request) =>
      new Response(request.url.endsWith("/no") ? "no" : await request.text());
    const { open } = server({ "http://shop.test": handler });
    const expect = "Expect: 100-continue\r\nContent-Length: 2\r\n";
    const reading = open();
    reading.send(get("/yes", expect).replace("GET", "POST"));
    await reading.until(({ text }) => text === "HTTP/1.1 100 Continue\r\n\r\n");
    reading.send("ok");
    await reading.until(({ text }) => text.endsWith("\r\n\r\nok"));
    // Without a 100 nobody knows whether a body follows: the connection ends.
    const refusing = open();
    refusing.send(get("/no", expect).replace("GET", "POST"));
    const text = await refusing.untilEnd();
    assert.match(text, /^HTTP\/1.1 200 OK.*connection: close\r\n\r\nno$/s);
  });

  test("the signal aborts when the guest resets or closes", async () => {
    for (const leave of ["reset", "finish"]) {
      let aborted;
      const handler = (request) =>
        new Promise((_, reject) => {
          request.signal.addEventListener("abort", () => {
            aborted = true;
            reject(request.signal.reason);
          });
        });
      const { open, failures } = server({ "http://shop.test": handler });
      const peer = open();
      peer.send(get());
      await new Promise((resolve) => setTimeout(resolve, 5));
      peer[leave]();
      await peer.done;
      assert.equal(aborted, true, leave);
      assert.deepEqual(failures, [], "a guest that leaves is no failure of the handler");
    }
  });

  test("a stream is cancelled when the guest goes", async () => {
    let cancelled;
    const seen = new Promise((resolve) => {
      cancelled = resolve;
    });
    const body = () =>
      new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
        cancel: cancelled,
      });
    const peer = server({ "http://shop.test": () => new Response(body()) }).open();
    peer.send(get());
    await peer.until(({ text }) => text.length > 1000);
    peer.reset();
    await seen;
  });
});

describe("handlers that fail", () => {
  test("a throw, a wrong value, a stream that fails at once: 500 and a report", async () => {
    const failing = new ReadableStream({ start: (controller) => controller.error(new Error("s")) });
    const used = new Response("x");
    await used.text();
    const handlers = {
      throws: () => {
        throw new Error("t");
      },
      rejects: () => Promise.reject(new Error("r")),
      "gives undefined": () => undefined,
      "gives a network error": () => Response.error(),
      "gives a used response": () => used,
      "gives a failing stream": () => new Response(failing),
    };
    for (const [name, handler] of Object.entries(handlers)) {
      const { open, failures, records } = server({ "http://shop.test": handler });
      const peer = open();
      peer.send(get("/", "Connection: close\r\n"));
      assert.match(await peer.untilEnd(), /^HTTP\/1.1 500 Internal Server Error/, name);
      assert.equal(failures.length, 1, name);
      assert.equal(records[0].status, 500, name);
    }
  });

  test("a stream that fails midway resets the connection", async () => {
    const body = () => {
      let pieces = 0;
      return new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          pieces += 1;
          if (pieces > 3) controller.error(new Error("midway"));
          else controller.enqueue(new Uint8Array(100));
        },
      });
    };
    const { open, failures } = server({ "http://shop.test": () => new Response(body()) });
    const peer = open();
    peer.send(get());
    await peer.untilEnd();
    assert.equal(peer.failure?.code, "ECONNRESET");
    assert.equal(failures[0].error.message, "midway");
  });

  test("a body that is not as long as announced resets the connection", async () => {
    for (const length of ["3", "9"]) {
      const handler = () => new Response("12345", { headers: { "content-length": length } });
      const { open, failures } = server({ "http://shop.test": handler });
      const peer = open();
      peer.send(get());
      await peer.untilEnd();
      assert.equal(peer.failure?.code, "ECONNRESET");
      assert.match(failures[0].error.message, /announced/);
    }
  });
});

describe("requests that are refused", () => {
  const post = (fields, body = "") => `POST / HTTP/1.1\r\nHost: shop.test\r\n${fields}\r\n${body}`;
  const chunked = "Transfer-Encoding: chunked\r\n";
  const cases = {
    "both lengths (RFC 9112 §6.3)": [400, post(`${chunked}Content-Length: 5\r\n`, "0\r\n\r\n")],
    "two different lengths": [400, post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")],
    "a signed length": [400, post("Content-Length: +5\r\n", "hello")],
    "a hexadecimal length": [400, post("Content-Length: 0x5\r\n", "hello")],
    "an empty length": [400, post("Content-Length:\r\n")],
    "a length list with a difference": [400, post("Content-Length: 5, 6\r\n")],
    "a length beyond numbers": [413, post("Content-Length: 99999999999999999999\r\n")],
    "chunked not last": [400, post("Transfer-Encoding: chunked, gzip\r\n")],
    "chunked twice": [400, post("Transfer-Encoding: chunked, chunked\r\n")],
    "chunked twice on two lines": [400, post(chunked + chunked)],
    "an unknown coding": [501, post("Transfer-Encoding: gzip, chunked\r\n")],
    "a coding in disguise": [400, post("Transfer-Encoding: xchunked\r\n")],
    "an empty coding": [400, post("Transfer-Encoding:\r\n")],
    "chunked in HTTP/1.0": [400, post(chunked, "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0")],
    "a space before the colon": [400, post("Content-Length : 5\r\n", "hello")],
    "a folded field": [400, post("X: a\r\n b\r\n")],
    "no Host": [400, "GET / HTTP/1.1\r\n\r\n"],
    "two Hosts": [400, get("/", "Host: shop.test\r\n")],
    "a Host with a path": [400, "GET / HTTP/1.1\r\nHost: shop.test/x\r\n\r\n"],
    "a Host with a user": [400, "GET / HTTP/1.1\r\nHost: me@shop.test\r\n\r\n"],
    "no slash": [400, "GET x HTTP/1.1\r\nHost: shop.test\r\n\r\n"],
    CONNECT: [501, "CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test:80\r\n\r\n"],
    TRACE: [501, get().replace("GET", "TRACE")],
    "no HTTP": [400, "hello\r\n\r\n"],
    "HTTP/2": [400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "a NUL in a field": [400, get("/", "X: a\0b\r\n")],
    "a chunk size without digits": [400, post(chunked, "\r\n\r\n0\r\n\r\n")],
    "a chunk size beyond numbers": [400, post(chunked, "fffffffffffffffff\r\n")],
    "a negative chunk size": [400, post(chunked, "-1\r\n")],
    "a bare LF in a chunk extension": [400, post(chunked, "1;\nX\r\na\r\n0\r\n\r\n")],
    "a chunk longer than its size": [400, post(chunked, "1\r\nab\r\n0\r\n\r\n")],
    "200 fields": [431, get("/", "X: y\r\n".repeat(200))],
    "a large field": [431, get("/", `X: ${"y".repeat(5000)}\r\n`)],
    "a long target": [414, get(`/${"y".repeat(5000)}`)],
    "a body that is announced too large": [413, post("Content-Length: 1001\r\n")],
    "a body that becomes too large": [413, post(chunked, `400\r\n${"x".repeat(1024)}\r\n`)],
  };
  for (const [name, [status, request]] of Object.entries(cases)) {
    test(`${name}: ${status}, and the connection ends`, async () => {
      const handler = async (incoming) => new Response(await incoming.text());
      const limits = { maxHeadBytes: 4096, maxBodyBytes: 1000 };
      const { open, failures } = server({ "http://shop.test": handler }, limits);
      const peer = open();
      peer.send(request);
      const text = await peer.untilEnd();
      assert.match(text, new RegExp(`^HTTP/1.1 ${status} `));
      assert.equal(text.match(/HTTP\/1\.1/g).length, 1, text);
      assert.match(text, /connection: close/);
      assert.deepEqual(failures, []);
    });
  }

  test("an unknown host: 404 that lists what is served, and the connection stays", async () => {
    const { open } = server({ ...hello, "http://mail.test": () => new Response() });
    const peer = open();
    peer.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    await peer.until(({ text }) => text.includes("mail.test"));
    assert.match(
      peer.text,
      /^HTTP\/1.1 404 Not Found.*does not serve http:\/\/nobody\.test.*shop/s,
    );
    peer.send(get());
    await peer.until(({ text }) => text.endsWith("hello"));
  });

  test("an unread body that is malformed: one response, and the connection ends", async () => {
    const peer = server(hello).open();
    peer.send(post(chunked, "zz\r\n"));
    const text = await peer.untilEnd();
    assert.equal(text.match(/HTTP\/1\.1/g).length, 1, text);
    assert.ok(text.endsWith("hello"));
  });

  test("an unread body is skipped, and the next request found after it", async () => {
    const peer = server(hello).open();
    peer.send(post(chunked, "5\r\nGET /\r\n0\r\n\r\n") + post("Content-Length: 5\r\n", "GET /"));
    await peer.until(({ text }) => text.match(/hello/g)?.length === 2);
    peer.send(get());
    await peer.until(({ text }) => text.match(/200 OK/g)?.length === 3);
  });

  test("the same length twice is that length", async () => {
    const handler = async (request) => new Response(`[${await request.text()}]`);
    const peer = server({ "http://shop.test": handler }).open();
    peer.send(post("Content-Length: 5, 5\r\nContent-Length: 5\r\n", "hello"));
    await peer.until(({ text }) => text.endsWith("[hello]"));
  });
});

describe("peers that are slow", () => {
  test("a head that does not come to its end: 408", async () => {
    const peer = server(hello, { headTimeout: 40 }).open();
    const drip = setInterval(() => peer.send("X"), 5);
    peer.send("GET / HTTP/1.1\r\n");
    assert.match(await peer.untilEnd(), /^HTTP\/1.1 408 Request Timeout/);
    clearInterval(drip);
  });

  test("a body that stops: 408", async () => {
    const handler = async (request) => new Response(await request.text());
    const { open, failures } = server({ "http://shop.test": handler }, { stallTimeout: 30 });
    const peer = open();
    peer.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9\r\n\r\nhalf");
    assert.match(await peer.untilEnd(), /^HTTP\/1.1 408 Request Timeout/);
    assert.deepEqual(failures, []);
  });

  test("an idle connection is closed without a word", async () => {
    const peer = server(hello, { keepAliveTimeout: 30 }).open();
    assert.equal(await peer.untilEnd(), "");
    assert.equal(peer.failure, undefined);
  });

  test("a peer that does not read a response is reset", async () => {
    const handler = () => new Response(new Uint8Array(1_000_000));
    const { serve } = server({ "http://shop.test": handler }, { stallTimeout: 30 });
    const [local, remote] = socketPair(1000);
    const done = serve(local);
    remote.tryWrite(Buffer.from(get()));
    await done;
    await assert.rejects(remote.closed, { code: "ECONNRESET" });
  });
});

describe("judged by Node's client", () => {
  const files = {
    "/large": new Uint8Array(20 * 1024 * 1024).map((_, index) => index * 7 + (index >> 11)),
  };
  const handlers = {
    "http://shop.test": async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/echo") return new Response(request.body);
      if (pathname === "/hash") {
        const hash = createHash("sha256");
        for await (const piece of request.body) hash.update(piece);
        return new Response(hash.digest("hex"));
      }
      return new Response(files[pathname]);
    },
  };
  let port;
  let close;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

  before(async () => {
    const { serve } = server(handlers);
    ({ port, close } = await listenOnLoopback(serve));
  });
  after(async () => {
    agent.destroy();
    await close();
  });

  /** One exchange by `node:http`. */
  function exchange(path, { body, ...options } = {}) {
    return new Promise((resolve, reject) => {
      const headers = { host: "shop.test", ...options.headers };
      const request = http.request(
        { port, host: "127.0.0.1", path, agent, ...options, headers },
        async (response) => {
          const pieces = [];
          for await (const piece of response) pieces.push(piece);
          resolve({ status: response.statusCode, body: Buffer.concat(pieces) });
        },
      );
      request.on("error", reject);
      if (options.headers?.expect) request.on("continue", () => request.end(body));
      else request.end(body);
    });
  }

  test("20 MiB down", async () => {
    const { body } = await exchange("/large");
    assert.equal(Buffer.compare(body, files["/large"]), 0);
  });

  test("20 MiB up, by length and chunked, with and without Expect", async () => {
    const expected = createHash("sha256").update(files["/large"]).digest("hex");
    const length = { "content-length": String(files["/large"].length) };
    const chunked = { "transfer-encoding": "chunked" };
    for (const framing of [length, chunked]) {
      for (const expect of [{}, { expect: "100-continue" }]) {
        const headers = { ...framing, ...expect };
        const result = await exchange("/hash", { method: "PUT", body: files["/large"], headers });
        assert.equal(result.body.toString(), expected, JSON.stringify(headers));
      }
    }
  });

  test("5 MiB echoed while they are still being sent", async () => {
    const body = files["/large"].subarray(0, 5 * 1024 * 1024);
    const result = await exchange("/echo", { method: "POST", body });
    assert.equal(Buffer.compare(result.body, body), 0);
  });

  test("200 requests on four connections", async () => {
    const results = await Promise.all(Array.from({ length: 200 }, () => exchange("/none")));
    assert.ok(results.every(({ status, body }) => status === 200 && body.length === 0));
  });
});
