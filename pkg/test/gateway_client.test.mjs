// `gateway.fetch`'s HTTP client: byte for byte over a pair of sockets, and judged by Node's own server.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { fetchOver } from "../dist/gateway/http/client.js";
import { ConnectionPool } from "../dist/gateway/http/pool.js";
import { clock, connectToLoopback, loadParser, RawPeer, socketPair } from "./gateway_support.mjs";

let parser;
before(async () => {
  parser = await loadParser();
});

/** A client whose connections are answered by `answer`, in turn, with the peer that it talks to. */
function client(answer, { stallTimeout = 2000 } = {}) {
  const connections = [];
  const connect = async ({ hostname, port }) => {
    const [local, remote] = socketPair();
    const peer = new RawPeer(remote);
    connections.push({ hostname, port, peer });
    Promise.resolve(answer(peer, connections.length)).catch(() => {});
    return local;
  };
  const pool = new ConnectionPool({ clock, stallTimeout, connect });
  return { connections, pool, fetch: (url, init) => fetchOver({ parser, pool }, url, init) };
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
  const ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

  test("head, Host with port, headers, no fragment", async () => {
    const { fetch, connections } = answering(ok);
    await fetch("http://10.0.2.15:8000/a?b#c", { headers: { "x-y": "z", cookie: "k=v" } });
    const [{ hostname, port, peer }] = connections;
    assert.deepEqual([hostname, port], ["10.0.2.15", 8000]);
    const lines = peer.text.split("\r\n");
    assert.equal(lines[0], "GET /a?b HTTP/1.1");
    for (const line of [
      "host: 10.0.2.15:8000",
      "x-y: z",
      "cookie: k=v",
      "accept-encoding: identity",
    ]) {
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
    await assert.rejects(fetch("ftp://10.0.2.15/"), /ftp: is not supported/);
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
    `HTTP/1.1 ${status} Moved\r\nLocation: ${location}\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngone`;

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

describe("connections are kept", () => {
  const answer = (body, fields = "") =>
    `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;
  const requests = (peer) => peer.text.split("\r\n\r\n").length - 1;
  /** Answers each request of a connection in turn; `answers` is told which connection and which request of it. */
  const server = (answers) =>
    client(async (peer, connection) => {
      for (let request = 1; ; request += 1) {
        await peer.until((other) => requests(other) >= request);
        const text = answers(connection, request, peer);
        if (text !== null) peer.send(text);
      }
    });
  const url = "http://10.0.2.15/";

  test("one after the other on one, several at a time on several", async () => {
    const { fetch, connections, pool } = server(() => answer("x"));
    for (let round = 0; round < 5; round += 1) assert.equal(await (await fetch(url)).text(), "x");
    assert.equal(connections.length, 1);
    const responses = await Promise.all(Array.from({ length: 20 }, () => fetch(url)));
    assert.equal(connections.length, 20);
    for (const response of responses) assert.equal(await response.text(), "x");
    assert.equal(pool.idle, 8, "the rest was closed");
    for (let port = 1; port <= 70; port += 1) {
      await (await fetch(`http://10.0.2.15:${port}/`)).text();
    }
    assert.equal(pool.idle, 64);
    pool.close();
    await connections[0].peer.untilEnd();
    assert.equal(pool.idle, 0);
  });

  test("not after a body without an end, an unread one, nor where the server says so", async () => {
    for (const text of [
      "HTTP/1.1 200 OK\r\n\r\nx",
      answer("x", "Connection: close\r\n"),
      answer("x", "Keep-Alive: timeout=1\r\n"),
      answer("x").replace("1.1", "1.0"),
      `${answer("x")}HTTP/1.1 200 OK\r\n\r\nmore`,
    ]) {
      const { fetch, pool } = answering(text);
      assert.equal((await (await fetch(url)).text())[0], "x", text);
      assert.equal(pool.idle, 0, text);
    }
    const { fetch, pool } = server(() => answer("x".repeat(100)));
    await (await fetch(url)).body.cancel();
    assert.equal(pool.idle, 0);
    const old = server(() => answer("x", "Connection: keep-alive\r\n").replace("1.1", "1.0"));
    await (await old.fetch(url)).text();
    assert.equal(old.pool.idle, 1);
  });

  test("what cannot be repeated has a connection of its own, which is kept after it", async () => {
    const { fetch, connections, pool } = server(() => answer("x"));
    await (await fetch(url)).text();
    await (await fetch(url, { method: "POST", body: "data" })).text();
    assert.equal(connections.length, 2);
    assert.equal(pool.idle, 2);
    await (await fetch(url, { method: "PUT", body: "data" })).text();
    assert.equal(connections.length, 2);
  });

  test("one that the server has closed is not used; one that ends under a request is replaced", async () => {
    for (const end of ["finish", "reset"]) {
      const idle = server(() => answer("x"));
      await (await idle.fetch(url)).text();
      idle.connections[0].peer[end]();
      await idle.connections[0].peer.until(() => idle.pool.idle === 0);

      const under = server((connection, request, peer) => {
        if (connection > 1 || request === 1) return answer(String(connection));
        peer[end]();
        return null;
      });
      await (await under.fetch(url)).text();
      const response = await under.fetch(url, { method: "PUT", body: "again" });
      assert.equal(await response.text(), "2");
      assert.match(under.connections[1].peer.text, /\r\n\r\nagain$/);
    }
  });

  test("a fresh one that ends without an answer is an error, and a silent one is not replaced", async () => {
    const gone = client((peer) => peer.finish());
    await assert.rejects(gone.fetch(url), /closed the connection without a response/);
    assert.equal(gone.connections.length, 1);
    const { fetch, connections } = client(
      async (peer) => {
        await peer.until((other) => requests(other) >= 1);
        peer.send(answer("x"));
      },
      { stallTimeout: 30 },
    );
    await (await fetch(url)).text();
    await assert.rejects(fetch(url), /sent nothing for 30 ms/);
    assert.equal(connections.length, 1);
  });

  test("the signal of a request that is over means nothing to the next", async () => {
    const { fetch, connections } = server(() => answer("x"));
    const first = new AbortController();
    await (await fetch(url, { signal: first.signal })).text();
    first.abort();
    assert.equal(await (await fetch(url)).text(), "x");
    assert.equal(connections.length, 1);
  });

  test("a redirect's body is read, and its connection goes on", async () => {
    const { fetch, connections } = server((_, request) =>
      request === 1
        ? "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 4\r\n\r\ngone"
        : answer("end"),
    );
    assert.equal(await (await fetch(url)).text(), "end");
    assert.equal(connections.length, 1);
  });
});

describe("content codings are undone", () => {
  const plain = Buffer.from("hello, coding ".repeat(10_000));
  const cases = {
    gzip: [gzipSync(plain)],
    "x-gzip": [gzipSync(plain)],
    deflate: [deflateSync(plain), deflateRawSync(plain)],
    "deflate, gzip": [gzipSync(deflateSync(plain))],
    identity: [plain],
  };
  for (const [coding, bodies] of Object.entries(cases)) {
    test(coding, async () => {
      for (const body of bodies) {
        const { fetch } = client(async (peer) => {
          await peer.until(({ text }) => text.includes("\r\n\r\n"));
          peer.send(`HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\n\r\n`);
          for (let at = 0; at < body.length; at += 1000) {
            peer.send(body.subarray(at, at + 1000));
            await new Promise((resolve) => setImmediate(resolve));
          }
          peer.finish();
        });
        const response = await fetch("http://10.0.2.15/");
        assert.equal(Buffer.compare(Buffer.from(await response.arrayBuffer()), plain), 0);
      }
    });
  }

  test("an unknown one is left alone; a damaged body is an error", async () => {
    const unknown = answering("HTTP/1.1 200 OK\r\nContent-Encoding: lost\r\n\r\nbytes");
    assert.equal(await (await unknown.fetch("http://10.0.2.15/")).text(), "bytes");
    for (const coding of ["gzip", "deflate"]) {
      const { fetch } = answering(`HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\n\r\nxxxxx`);
      const response = await fetch("http://10.0.2.15/");
      await assert.rejects(response.text(), TypeError);
    }
  });
});

describe("judged by Node's server", () => {
  const large = new Uint8Array(20 * 1024 * 1024).map((_, index) => index * 13 + (index >> 12));
  let server;
  let base;
  let connections = 0;
  const pool = new ConnectionPool({
    clock,
    stallTimeout: 5000,
    connect: ({ port }) => {
      connections += 1;
      return connectToLoopback(port);
    },
  });
  const fetch = (path, init) => fetchOver({ parser, pool }, base + path, init);

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
    pool.close();
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

  test("connections are kept, and both ends agree on how many", async () => {
    await (await fetch("/tiny")).text();
    const before = connections;
    for (let round = 0; round < 20; round += 1) await (await fetch("/tiny")).text();
    assert.equal(connections, before);
    const open = await new Promise((resolve) =>
      server.getConnections((_, count) => resolve(count)),
    );
    assert.equal(open, pool.idle);
    server.closeIdleConnections();
    assert.equal((await (await fetch("/tiny")).text()).length, 20_000);
  });

  test("20 MiB up and back at the same time", async () => {
    for (const body of [large, new Blob([large]).stream()]) {
      const response = await fetch("/echo", { method: "POST", body });
      assert.equal(Buffer.compare(new Uint8Array(await response.arrayBuffer()), large), 0);
    }
  });
});
