// `gateway.fetch`'s HTTP client: byte for byte over a pair of sockets, and judged by Node's own server.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { fetchOver } from "../dist/gateway/http/client.js";
import { clock, connectToLoopback, loadParser, RawPeer, socketPair } from "./gateway_support.mjs";

let parser;
before(async () => {
  parser = await loadParser();
});

/** A client whose connections are answered by `answer`, in turn, with the peer that it talks to. */
function client(answer, { stallTimeout = 2000 } = {}) {
  const connections = [];
  const connect = async (hostname, port) => {
    const [local, remote] = socketPair();
    const peer = new RawPeer(remote);
    connections.push({ hostname, port, peer });
    Promise.resolve(answer(peer, connections.length)).catch(() => {});
    return local;
  };
  const context = { parser, clock, stallTimeout, connect };
  return { connections, fetch: (url, init) => fetchOver(context, url, init) };
}

/** Sends a fixed answer once a request's head is there. */
const answering = (text, finish = true) =>
  client(async (peer) => {
    await peer.until((other) => other.text.includes("\r\n\r\n"));
    peer.send(text);
    if (finish) peer.finish();
  });

describe("responses", () => {
  test("by length, chunked, until the connection's end", async () => {
    const answers = [
      "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello",
      "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nX-A: 1, 2\r\n\r\n2\r\nhe\r\n3;e\r\nllo\r\n0\r\nT: r\r\n\r\n",
      "HTTP/1.0 200 Fine\r\nX-A: 1,\r\n\t2\r\n\r\nhello",
    ];
    for (const answer of answers) {
      const response = await answering(answer).fetch("http://10.0.2.15/x");
      assert.equal(response.status, 200);
      assert.equal(response.statusText, "Fine");
      assert.equal(response.url, "http://10.0.2.15/x");
      assert.equal(response.headers.get("x-a"), "1, 2");
      assert.equal(await response.text(), "hello");
    }
  });

  test("HEAD, 204 and 304 have no body, whatever their length field says", async () => {
    const cases = { HEAD: 200, GET: 304, PUT: 204 };
    for (const [method, status] of Object.entries(cases)) {
      const { fetch } = answering(`HTTP/1.1 ${status} X\r\nContent-Length: 99\r\n\r\n`, false);
      const response = await fetch("http://10.0.2.15/", { method });
      assert.equal(response.status, status);
      assert.equal(await response.text(), "");
    }
  });

  test("interim responses are skipped", async () => {
    const interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    const { fetch } = answering(`${interim}${interim}HTTP/1.1 404 No\r\n\r\nnone`);
    const response = await fetch("http://10.0.2.15/");
    assert.equal(response.status, 404);
    assert.equal(await response.text(), "none");
  });

  test("a body is read no faster than somebody reads it", async () => {
    const piece = new Uint8Array(1000);
    let sent = 0;
    const { fetch } = client(async (peer) => {
      await peer.until(({ text }) => text.includes("\r\n\r\n"));
      peer.send("HTTP/1.1 200 OK\r\n\r\n");
      for (;;) {
        peer.send(piece);
        sent += piece.length;
      }
    });
    const response = await fetch("http://10.0.2.15/");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(sent < 80_000, `${sent} bytes were taken unread`);
    await response.body.cancel();
  });

  const broken = {
    "a short body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "a chunked body without its last chunk":
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "a chunk cut short": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    "no chunk size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  };
  for (const [name, answer] of Object.entries(broken)) {
    test(`${name} is an error of the body`, async () => {
      const response = await answering(answer).fetch("http://10.0.2.15/");
      await assert.rejects(response.text(), (error) => {
        assert.ok(error instanceof TypeError);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    });
  }

  test("a reset within a body until the end is no regular end", async () => {
    const { fetch } = client(async (peer) => {
      await peer.until(({ text }) => text.includes("\r\n\r\n"));
      peer.send("HTTP/1.1 200 OK\r\n\r\nhalf");
      await new Promise((resolve) => setTimeout(resolve, 5));
      peer.reset();
    });
    const response = await fetch("http://10.0.2.15/");
    await assert.rejects(response.text(), { name: "TypeError" });
  });

  const unusable = {
    "no HTTP": "SSH-2.0-OpenSSH\r\n\r\n",
    nothing: "",
    "half a head": "HTTP/1.1 200 OK\r\nX: ",
    "two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "an unknown coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
    "an endless head": `HTTP/1.1 200 OK\r\nX: ${"y".repeat(60_000)}\r\nY: ${"y".repeat(5_000)}`,
    "another protocol": "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
  };
  for (const [name, answer] of Object.entries(unusable)) {
    test(`${name} is a TypeError with a cause`, async () => {
      const { fetch } = answering(answer);
      await assert.rejects(fetch("http://10.0.2.15/"), (error) => {
        assert.ok(error instanceof TypeError, String(error));
        assert.match(error.message, /fetch of http:\/\/10\.0\.2\.15\/ failed: ./);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    });
  }

  test("a server that is silent", async () => {
    const { fetch } = client(() => {}, { stallTimeout: 20 });
    await assert.rejects(fetch("http://10.0.2.15/"), /sent nothing for 20 ms/);
  });
});

describe("requests", () => {
  const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

  test("head, Host with port, headers, no fragment", async () => {
    const { fetch, connections } = answering(ok);
    await fetch("http://10.0.2.15:8000/a?b#c", { headers: { "x-y": "z", cookie: "k=v" } });
    const [{ hostname, port, peer }] = connections;
    assert.deepEqual([hostname, port], ["10.0.2.15", 8000]);
    const lines = peer.text.split("\r\n");
    assert.equal(lines[0], "GET /a?b HTTP/1.1");
    for (const line of ["host: 10.0.2.15:8000", "x-y: z", "cookie: k=v", "connection: close"]) {
      assert.ok(lines.includes(line), peer.text);
    }
    assert.ok(!peer.text.includes("content-length"));
  });

  test("a body in memory tells its length, a live stream is chunked", async () => {
    const { fetch, connections } = answering(ok);
    await fetch("http://10.0.2.15/", { method: "POST", body: "hello" });
    assert.match(connections[0].peer.text, /content-length: 5\r\n.*\r\n\r\nhello$/s);
    await fetch("http://10.0.2.15/", { method: "POST" });
    assert.match(connections[1].peer.text, /content-length: 0\r\n/);
    const body = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        controller.enqueue(new TextEncoder().encode("late"));
        controller.close();
      },
    });
    const streaming = client(async (peer) => {
      await peer.until(({ text }) => text.endsWith("\r\n0\r\n\r\n"));
      peer.send(ok);
    });
    await streaming.fetch("http://10.0.2.15/", { method: "PUT", body });
    assert.match(streaming.connections[0].peer.text, /chunked.*\r\n\r\n4\r\nlate\r\n0\r\n\r\n$/s);
  });

  test("a body's stream that fails, fails the fetch and resets the connection", async () => {
    const body = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        controller.error(new Error("source"));
      },
    });
    const { fetch, connections } = client(() => {});
    await assert.rejects(fetch("http://10.0.2.15/", { method: "POST", body }), TypeError);
    await connections[0].peer.until((peer) => peer.failure);
  });

  test("an answer that comes before the body is sent counts", async () => {
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(100_000)),
    });
    const { fetch } = answering("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", false);
    const response = await fetch("http://10.0.2.15/", { method: "POST", body });
    assert.equal(response.status, 413);
    assert.equal(await response.text(), "no");
  });

  test("wrong URLs are TypeErrors", async () => {
    const { fetch } = answering(ok);
    await assert.rejects(fetch("https://10.0.2.15/"), /https: is not supported/);
    await assert.rejects(fetch("not a url"), TypeError);
  });
});

describe("signals", () => {
  test("aborted before, while waiting, and within the body", async () => {
    const { fetch } = answering("HTTP/1.1 200 OK\r\n\r\nhalf", false);
    await assert.rejects(fetch("http://10.0.2.15/", { signal: AbortSignal.abort() }), {
      name: "AbortError",
    });

    const silent = client(() => {});
    const reason = new Error("changed my mind");
    const waiting = new AbortController();
    const promise = silent.fetch("http://10.0.2.15/", { signal: waiting.signal });
    setTimeout(() => waiting.abort(reason), 5);
    await assert.rejects(promise, (error) => error === reason);
    await silent.connections[0].peer.until((peer) => peer.failure);

    const within = new AbortController();
    const response = await fetch("http://10.0.2.15/", { signal: within.signal });
    const text = response.text();
    // A collection must not take what the abort has to pass through.
    globalThis.gc?.();
    setTimeout(() => within.abort(reason), 5);
    await assert.rejects(text, (error) => error === reason);
  });
});

describe("redirects", () => {
  const to = (status, location) =>
    `HTTP/1.1 ${status} Moved\r\nLocation: ${location}\r\nContent-Length: 4\r\n\r\ngone`;

  /** Answers with each text in turn. */
  const sequence = (...answers) =>
    client(async (peer, count) => {
      await peer.until(({ text }) => text.includes("\r\n\r\n"));
      peer.send(answers[Math.min(count, answers.length) - 1]);
    });
  const end = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend";

  test("are followed, relative and absolute", async () => {
    const { fetch, connections } = sequence(to(302, "/b?c"), to(301, "http://10.0.2.16:81/d"), end);
    const response = await fetch("http://10.0.2.15/a", { headers: { authorization: "secret" } });
    assert.equal(response.url, "http://10.0.2.16:81/d");
    assert.equal(response.redirected, true);
    assert.equal(await response.text(), "end");
    const heads = connections.map(({ peer }) => peer.text);
    assert.match(heads[1], /^GET \/b\?c .*authorization: secret/s);
    assert.match(heads[2], /^GET \/d /);
    assert.ok(!heads[2].includes("secret"), "credentials stay with their origin");
  });

  test("POST becomes GET after 301, 302, 303 and stays after 307", async () => {
    for (const [status, method] of [
      [301, "GET"],
      [302, "GET"],
      [303, "GET"],
      [307, "POST"],
      [308, "POST"],
    ]) {
      const { fetch, connections } = sequence(to(status, "/b"), end);
      await fetch("http://10.0.2.15/a", { method: "POST" });
      assert.match(connections[1].peer.text, new RegExp(`^${method} /b `), String(status));
    }
  });

  test("a body in memory is sent again after 307, without its length after 303", async () => {
    const again = sequence(to(307, "/b"), end);
    await again.fetch("http://10.0.2.15/a", { method: "POST", body: "data" });
    assert.match(again.connections[1].peer.text, /^POST \/b .*\r\n\r\ndata$/s);
    const without = sequence(to(303, "/b"), end);
    await without.fetch("http://10.0.2.15/a", { method: "POST", body: "data" });
    assert.ok(!/content-(length|type)/.test(without.connections[1].peer.text));
  });

  test("a stream cannot be sent again", async () => {
    const body = new Blob(["data"]).stream();
    const { fetch } = sequence(to(307, "/b"), end);
    await assert.rejects(fetch("http://10.0.2.15/a", { method: "POST", body }), TypeError);
  });

  test("manual, error, and too many", async () => {
    const { fetch, connections } = sequence(to(302, "/again"));
    const manual = await fetch("http://10.0.2.15/a", { redirect: "manual" });
    assert.equal(manual.status, 302);
    assert.equal(manual.headers.get("location"), "/again");
    await assert.rejects(fetch("http://10.0.2.15/a", { redirect: "error" }), TypeError);
    const before = connections.length;
    await assert.rejects(fetch("http://10.0.2.15/a"), /redirect count exceeded/);
    assert.equal(connections.length - before, 21);
  });
});

describe("judged by Node's server", () => {
  const large = new Uint8Array(20 * 1024 * 1024).map((_, index) => index * 13 + (index >> 12));
  let server;
  let base;
  const fetch = (path, init) =>
    fetchOver(
      { parser, clock, stallTimeout: 5000, connect: (_, port) => connectToLoopback(port) },
      base + path,
      init,
    );

  before(async () => {
    server = http.createServer((request, response) => {
      if (request.url === "/length") response.setHeader("content-length", large.length).end(large);
      else if (request.url === "/chunked") {
        for (let at = 0; at < large.length; at += 99_999) {
          response.write(large.subarray(at, at + 99_999));
        }
        response.end();
      } else if (request.url === "/tiny") {
        for (let at = 0; at < 20_000; at += 1) response.write(String(at % 10));
        response.end();
      } else request.pipe(response);
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${server.address().port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  test("20 MiB down, by length and chunked", async () => {
    for (const path of ["/length", "/chunked"]) {
      const body = new Uint8Array(await (await fetch(path)).arrayBuffer());
      assert.equal(Buffer.compare(body, large), 0, path);
    }
  });

  test("20,000 chunks of one byte", async () => {
    const text = await (await fetch("/tiny")).text();
    assert.equal(text, "0123456789".repeat(2000));
  });

  test("20 MiB up and back at the same time", async () => {
    for (const body of [large, new Blob([large]).stream()]) {
      const response = await fetch("/echo", { method: "POST", body });
      assert.equal(Buffer.compare(new Uint8Array(await response.arrayBuffer()), large), 0);
    }
  });
});
