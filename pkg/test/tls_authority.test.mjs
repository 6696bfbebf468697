// Certificate authorities of the page, and HTTPS for guests of a gateway. The judges: OpenSSL's verification and Node's https.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import * as https from "node:https";
import * as net from "node:net";
import { pipeline } from "node:stream";
import { after, before, test } from "node:test";
import * as tls from "node:tls";
import { promisify } from "node:util";
import {
  acceptTls,
  createAuthority,
  createEngine,
  createGateway,
  createStack,
  fetchEgress,
  plug,
  wrapTls,
} from "ethertab";
import { createHttpsAgent, createNet } from "ethertab/node";
import { pattern, readAll, writeAll } from "./support.mjs";
import { OpenSsl } from "./tls_support.mjs";

const DAY = 24 * 3_600_000;
let openssl;
before(() => {
  openssl = new OpenSsl();
});
after(() => openssl[Symbol.dispose]());

/** Two ends of a connection that has no socket. */
function pipes() {
  const there = new TransformStream();
  const back = new TransformStream();
  return [
    { readable: back.readable, writable: there.writable },
    { readable: there.readable, writable: back.writable },
  ];
}

test("an authority's certificates are what Node and clients want, and are made once", async () => {
  const authority = await createAuthority({ name: "my lab" });
  const own = new X509Certificate(authority.cert);
  assert.equal(own.subject, "CN=my lab");
  assert.ok(own.ca && own.verify(own.publicKey));
  for (const [name, san] of [
    ["Shop.Test.", "DNS:shop.test"],
    ["*.shop.test", "DNS:*.shop.test"],
    ["10.0.0.2", "IP Address:10.0.0.2"],
    ["[fd00::2]", "IP Address:FD00:0:0:0:0:0:0:2"],
    [`${"a".repeat(60)}.${"b".repeat(60)}.test`, `DNS:${"a".repeat(60)}.${"b".repeat(60)}.test`],
  ]) {
    const { cert, key } = authority.issue(name);
    assert.equal(authority.issue(name.toLowerCase()).cert, cert);
    const leaf = new X509Certificate(cert);
    assert.equal(leaf.subjectAltName, san);
    assert.ok(leaf.checkIssued(own) && leaf.verify(own.publicKey) && !leaf.ca);
    const [from, to] = [leaf.validFrom, leaf.validTo].map((date) => Date.parse(date));
    assert.ok(from < Date.now() - 400 * DAY && to > Date.now() + 390 * DAY);
    assert.ok(to - from <= 825 * DAY);
    tls.createSecureContext({ cert, key });
  }
  assert.notEqual(
    new X509Certificate(authority.issue("a.test").cert).serialNumber,
    new X509Certificate(authority.issue("b.test").cert).serialNumber,
  );
  for (const name of ["", "a b", "*", "a..b", "-", "x".repeat(64)]) {
    assert.throws(() => authority.issue(name), { name: "TypeError" });
  }
  authority.close();
  assert.throws(() => authority.issue("a.test"), { code: "ABORT_ERR" });
});

test("an authority is restored from what it told, or from OpenSSL's", async () => {
  const first = await createAuthority();
  const theirs = openssl.selfSigned("their-root", {
    extensions: ["-subj", "/C=DE/O=Lab/CN=their root"],
  });
  for (const saved of [{ cert: first.cert, key: first.key }, theirs]) {
    const again = await createAuthority({ cert: saved.cert, key: saved.key });
    assert.equal(
      new X509Certificate(again.cert).fingerprint,
      new X509Certificate(saved.cert).fingerprint,
    );
    const leaf = new X509Certificate(again.issue("shop.test").cert);
    assert.ok(leaf.checkIssued(new X509Certificate(saved.cert)));
  }
  await assert.rejects(createAuthority({ cert: first.cert, key: theirs.key }), /not that of the/);
  await assert.rejects(createAuthority({ cert: first.cert }), /together/);
  await assert.rejects(createAuthority({ leafDays: 825 }), /825 together at most/);
});

test("certificates that were kept are made again when they run out, and the oldest makes room", async () => {
  let now = Date.now();
  const authority = await createAuthority({ date: () => now, cacheSize: 2 });
  const cert = authority.issue("a.test").cert;
  now += 300 * DAY;
  assert.equal(authority.issue("a.test").cert, cert);
  now += 97 * DAY;
  const renewed = authority.issue("a.test").cert;
  assert.notEqual(renewed, cert);
  authority.issue("b.test");
  authority.issue("c.test");
  assert.notEqual(authority.issue("a.test").cert, renewed);
});

test("TLS over streams, and TLS within TLS, with the certificates of an authority", async () => {
  const authority = await createAuthority();
  const [here, there] = pipes();
  const ca = authority.cert;
  const outer = wrapTls(here, { hostname: "proxy.test", tls: { ca } });
  const outerServer = acceptTls(there, { tls: { authority } });
  const inner = wrapTls(outer, { hostname: "shop.test", alpn: ["x"], tls: { ca } });
  const innerServer = acceptTls(outerServer, { tls: { authority, alpn: ["x"] } });
  const echo = innerServer.readable.pipeTo(innerServer.writable);
  const sent = pattern(400_000);
  const [got] = await Promise.all([readAll(inner.readable), writeAll(inner.writable, sent)]);
  assert.equal(Buffer.compare(got, sent), 0);
  assert.equal((await inner.opened).alpn, "x");
  assert.equal((await innerServer.opened).tls.servername, "shop.test");
  await echo;
  await Promise.all([inner.closed, innerServer.closed]);
});

test("bytes that are no TLS, and TLS with bytes changed, end connections and nothing else", async () => {
  const authority = await createAuthority();
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed >>> 8;
  };
  for (let round = 0; round < 60; round += 1) {
    const [here, there] = pipes();
    const [relay, far] = pipes();
    const isDamaged = round % 3 !== 0;
    const at = random() % 3_000;
    let offset = 0;
    const damage = new TransformStream({
      transform(chunk, controller) {
        const bytes = isDamaged ? chunk.slice() : Uint8Array.from(chunk, random);
        if (isDamaged && at >= offset && at < offset + bytes.length)
          bytes[at - offset] ^= 1 + (random() % 255);
        offset += bytes.length;
        controller.enqueue(bytes);
      },
    });
    const way =
      round % 2 === 0 ? [there.readable, relay.readable] : [relay.readable, there.readable];
    const ends =
      round % 2 === 0 ? [relay.writable, there.writable] : [there.writable, relay.writable];
    const carried = [way[0].pipeThrough(damage).pipeTo(ends[0]), way[1].pipeTo(ends[1])].map(
      (end) => end.catch(() => {}),
    );
    const client = wrapTls(here, { hostname: "shop.test", tls: { ca: authority.cert } });
    const server = acceptTls(far, { tls: { authority } });
    const echo = server.readable.pipeTo(server.writable).catch(() => {});
    const sent = pattern(5_000);
    const results = await Promise.allSettled([
      readAll(client.readable).finally(() => server.abort()),
      writeAll(client.writable, sent),
    ]);
    const [read] = results;
    if (read.status === "fulfilled") assert.equal(Buffer.compare(read.value, sent), 0);
    else assert.notEqual(read.reason.name, "EngineError", read.reason.stack);
    client.abort();
    await Promise.all([echo, ...carried]);
  }
});

/** A gateway with an authority and a guest. */
async function network(options) {
  const engine = await createEngine();
  const gateway = await createGateway({ engine, authority: true, ...options });
  const guest = await createStack({
    engine,
    hostname: "guest",
    dns: { servers: [gateway.address] },
  });
  plug(guest.addInterface({ addresses: ["10.0.2.15/24"], gateway: gateway.address }), gateway.port);
  return { engine, gateway, guest };
}

/** A request of Node's https from the guest. */
async function ask(guest, url, options = {}) {
  const request = https.request(url, { agent: createHttpsAgent(guest), ...options });
  request.end(options.body);
  const [response] = await once(request, "response");
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  return { response, text: Buffer.concat(chunks).toString() };
}

/** What a guest without TLS gets. */
async function fetchPlain(guest, hostname, path) {
  const socket = guest.connect({ hostname, port: 80 });
  await writeAll(socket.writable, Buffer.from(`GET ${path} HTTP/1.0\r\nHost: ${hostname}\r\n\r\n`));
  const [head, body] = (await readAll(socket.readable)).toString().split("\r\n\r\n");
  return { head, body };
}

test("a gateway serves https with its authority, whose certificate the guest gets from it", async () => {
  const { engine, gateway, guest } = await network();
  gateway.serve("https://shop.test", async (request) => {
    return new Response(`${request.url} ${await request.text()}`);
  });
  gateway.serve("http://shop.test", () => new Response("plain"));
  const [, url] = /wget -O \S+ (\S+) && update-ca-certificates/.exec(gateway.trustCommand);
  const { hostname, pathname } = new URL(url);
  const { head, body: ca } = await fetchPlain(guest, hostname, pathname);
  assert.match(head, /200 OK/);
  assert.equal(ca, gateway.authority.cert);
  assert.equal((await fetchPlain(guest, "shop.test", "/")).body, "plain");
  const { text, response } = await ask(guest, "https://shop.test/x?y=1", {
    ca,
    method: "POST",
    body: "hi",
  });
  assert.equal(text, "https://shop.test/x?y=1 hi");
  assert.equal(response.statusCode, 200);
  const unknown = await ask(guest, `https://${gateway.address}/`, { ca });
  assert.equal(unknown.response.statusCode, 404);
  await assert.rejects(ask(guest, "https://shop.test/"), {
    code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  });
  assert.throws(
    () => gateway.serve("http://other.test:443", () => {}),
    /port 443 is that of https/,
  );
  const saved = JSON.parse(JSON.stringify(gateway.save()));
  await gateway.close();
  const again = await createGateway({ engine, restore: saved });
  assert.equal(again.authority.cert, ca);
  await again.close();
  const plain = await createGateway({ engine });
  assert.equal(plain.trustCommand, null);
  assert.throws(() => plain.serve("https://shop.test", () => {}), /needs the option authority/);
  await plain.close();
  engine.close();
});

test("a guest's https goes out by fetch, ended with the gateway's authority", async () => {
  const asked = [];
  const fetch = async (request, init) => {
    const made = new Request(request, init);
    asked.push(made.url);
    return new Response(`fetched ${made.method}`, { status: 201 });
  };
  const { engine, gateway, guest } = await network({ egress: fetchEgress({ fetch }) });
  const ca = gateway.authority.cert;
  const { response, text } = await ask(guest, "https://api.example/v1?x=1", { ca });
  assert.equal(response.statusCode, 201);
  assert.equal(text, "fetched GET");
  assert.deepEqual(asked, ["https://api.example/v1?x=1"]);
  assert.equal(gateway.counters().egress.fetch.tlsConnections, 1);
  const none = await createNet(guest).connect(22, "api.example");
  await assert.rejects(once(none, "connect"), { code: "ECONNREFUSED" });
  await gateway.close();
  engine.close();
});

test("curl is a client of a gateway's https", async (t) => {
  const run = promisify(execFile);
  const { engine, gateway, guest } = await network();
  gateway.serve("https://shop.test", async (request) => {
    const { byteLength } = await request.arrayBuffer();
    return new Response(`${request.method} ${request.url} ${byteLength}`);
  });
  const guestNet = createNet(guest);
  const bridge = net.createServer({ allowHalfOpen: true }, (socket) => {
    const target = { host: gateway.address, port: 443, allowHalfOpen: true };
    const there = guestNet.connect(target);
    pipeline(socket, there, () => {});
    pipeline(there, socket, () => {});
  });
  bridge.listen(0, "127.0.0.1");
  await once(bridge, "listening");
  t.after(async () => {
    bridge.close();
    await gateway.close();
    engine.close();
  });
  const to = ["--connect-to", `shop.test:443:127.0.0.1:${bridge.address().port}`];
  const ca = ["--cacert", openssl.write("gateway.pem", gateway.authority.cert)];
  const url = "https://shop.test/a";
  const body = ["--data-binary", `@${openssl.write("body", "x".repeat(500_000))}`];
  for (const [version, more, answer] of [
    [["--tlsv1.3"], [], `GET ${url} 0`],
    [["--tls-max", "1.2"], [], `GET ${url} 0`],
    [["--tlsv1.3"], body, `POST ${url} 500000`],
    // Offers the protocol http/1.0, and no other.
    [["--http1.0"], [], `GET ${url} 0`],
    [["--http1.0"], body, `POST ${url} 500000`],
  ]) {
    const { stdout } = await run("curl", ["-sS", ...to, ...ca, ...version, ...more, url]);
    assert.equal(stdout, answer);
  }
  // 60: the certificate is not trusted.
  await assert.rejects(run("curl", ["-sS", ...to, url]), { code: 60 });
  // RFC 7301 §3.2: with no protocol in common the server sends the alert no_application_protocol, 120.
  const at = ["-connect", `127.0.0.1:${bridge.address().port}`, "-servername", "shop.test"];
  const h2 = run("openssl", ["s_client", ...at, "-alpn", "h2"]);
  h2.child.stdin.end();
  await assert.rejects(h2, /alert number 120/);
});
