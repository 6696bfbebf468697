// TLS of sockets. The judges are Node's own tls and OpenSSL's certificates: what is expected of a client is what Node's client does.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { after, before, test } from "node:test";
import * as tls from "node:tls";
import { acceptTls, capture, createEngine, createStack, plug, wrapTls } from "ethertab";
import { createNet } from "ethertab/node";
import { ManualClock, pattern, readAll, twoStacks, until, writeAll } from "./support.mjs";
import { OpenSsl } from "./tls_support.mjs";

const SERVER = "10.0.0.2";
const NAMES = { san: `DNS:shop.test,DNS:*.wild.test,IP:${SERVER}` };
let openssl;
let root;
let leaf;
let network;
before(async () => {
  openssl = new OpenSsl();
  root = openssl.selfSigned("root");
  leaf = openssl.signed(root, "shop.test", NAMES);
  network = await twoStacks();
});
after(() => {
  network.engine.close();
  openssl[Symbol.dispose]();
});

/** A TLS server of Node's on the second stack; the address that clients connect to, and the first error that it has had. */
async function nodeServer(t, options, connected = (socket) => socket.pipe(socket)) {
  const server = tls.createServer({ ...leaf, ...options }, connected);
  const refused = once(server, "tlsClientError").then(([error]) => error);
  const sockets = new Set();
  const listener = createNet(network.b).createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    server.emit("connection", socket);
  });
  listener.listen(0, SERVER);
  await once(listener, "listening");
  t.after(() => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  });
  return { hostname: SERVER, port: listener.address().port, refused, sockets };
}

/** A connection of Node's TLS to a listener of the second stack. */
function nodeClient(address, options) {
  const socket = createNet(network.a).connect({
    host: address.hostname ?? SERVER,
    port: address.port,
    allowHalfOpen: true,
  });
  return tls.connect({ socket, ca: root.cert, servername: "shop.test", ...options });
}

/** A listener of ours on the second stack whose connections send back what they get. */
async function ownServer(t, options, handle = echo) {
  const listener = network.b.listen({ port: 0, tls: { ...leaf, ...options } });
  const { port } = await listener.listening;
  const errors = [];
  const handled = (async () => {
    for await (const socket of listener) handle(socket).catch((error) => errors.push(error));
  })();
  t.after(async () => {
    await listener.close();
    await handled;
  });
  return { hostname: SERVER, port, errors };
}

async function echo(socket) {
  await socket.readable.pipeTo(socket.writable);
}

function client(address, options = {}) {
  const { ca = root.cert, ...rest } = options.tls ?? {};
  return network.a.connect(address, {
    secureTransport: "on",
    sni: "shop.test",
    ...options,
    tls: { ca, ...rest },
  });
}

/** A transport as a pair of streams, whose writer gets the chunks themselves. */
function streamsOver(end) {
  let wake = () => {};
  end.onready = () => wake();
  const readable = new ReadableStream({
    async pull(controller) {
      const into = new Uint8Array(64 * 1024);
      for (;;) {
        const count = end.tryRead(into);
        if (count > 0) return controller.enqueue(into.subarray(0, count));
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    },
  });
  return { readable, writable: new WritableStream({ write: (chunk) => void end.tryWrite(chunk) }) };
}

async function body(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function exchange(socket, bytes) {
  const [got] = await Promise.all([readAll(socket.readable), writeAll(socket.writable, bytes)]);
  return got;
}

for (const version of ["TLSv1.2", "TLSv1.3"]) {
  test(`a client with Node's server, ${version}, and again with the session of the first time`, async (t) => {
    const address = await nodeServer(t, { maxVersion: version, minVersion: version });
    const cafile = [root.cert];
    for (const resumed of [false, true]) {
      const socket = client(address, { tls: { ca: cafile } });
      assert.equal(socket.secureTransport, "on");
      assert.equal(socket.upgraded, false);
      const sent = pattern(300_000);
      assert.equal(Buffer.compare(await exchange(socket, sent), sent), 0);
      const info = await socket.opened;
      assert.equal(info.remoteAddress, `${SERVER}:${address.port}`);
      assert.equal(info.tls.protocol, version);
      assert.equal(info.tls.resumed, resumed);
      assert.equal(info.tls.servername, "shop.test");
      assert.equal(info.tls.peerCertificates.length, 1);
      await socket.closed;
    }
  });

  test(`a server with Node's client, ${version}`, async (t) => {
    const address = await ownServer(t);
    const socket = nodeClient(address, { maxVersion: version, minVersion: version });
    await once(socket, "secureConnect");
    assert.equal(socket.authorized, true);
    assert.equal(socket.getProtocol(), version);
    const sent = pattern(300_000);
    socket.end(sent);
    assert.equal(Buffer.compare(await body(socket), sent), 0);
    assert.deepEqual(address.errors, []);
  });
}

test("both ends are ours, by DER, with an IP address as the name", async (t) => {
  const der = (pem) => Buffer.from(pem.replace(/-----[A-Z ]+-----|\n/g, ""), "base64");
  const address = await ownServer(t, { cert: der(leaf.cert), key: der(leaf.key) });
  const socket = network.a.connect(address, { secureTransport: "on", tls: { ca: der(root.cert) } });
  const sent = pattern(1_000_000);
  assert.equal(Buffer.compare(await exchange(socket, sent), sent), 0);
  const { tls } = await socket.opened;
  assert.match(tls.cipher, /CHACHA20/);
  assert.equal(Buffer.compare(tls.peerCertificates[0], der(leaf.cert)), 0);
});

test("keys of RSA, and PEM in bytes", async (t) => {
  const rsa = openssl.signed(root, "rsa.test", { san: "DNS:shop.test", rsa: true });
  const address = await ownServer(t, { cert: Buffer.from(rsa.cert), key: Buffer.from(rsa.key) });
  const socket = client(address);
  assert.equal((await exchange(socket, pattern(1000))).length, 1000);
});

test("protocols are agreed on, with Node at either end", async (t) => {
  const theirs = await nodeServer(t, { ALPNProtocols: ["h2", "http/1.1"] });
  const ours = await ownServer(t, { alpn: ["h2", "http/1.1"] });
  for (const address of [theirs, ours]) {
    const socket = client(address, { alpn: ["spdy/3", "http/1.1"] });
    assert.equal((await socket.opened).alpn, "http/1.1");
    await socket.close();
    const none = client(address);
    assert.equal((await none.opened).alpn, null);
    await none.close();
    const strange = client(address, { alpn: ["strange"] });
    await assert.rejects(strange.opened, { code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" });
  }
  const node = nodeClient(ours, { ALPNProtocols: ["http/1.1"] });
  await once(node, "secureConnect");
  assert.equal(node.alpnProtocol, "http/1.1");
  node.destroy();
});

test("certificates that must not be accepted fail with the code that Node's client has", async (t) => {
  const past = { start: "20200101000000Z", end: "20210101000000Z" };
  const future = { start: "20450101000000Z", end: "20460101000000Z" };
  const stranger = openssl.selfSigned("stranger");
  const middle = openssl.signed(stranger, "middle", { authority: true });
  const below = openssl.signed(middle, "below", NAMES);
  const cases = {
    expired: openssl.signed(root, "expired", { ...NAMES, ...past }),
    early: openssl.signed(root, "early", { ...NAMES, ...future }),
    "another name": openssl.signed(root, "other.test", { san: "DNS:other.test" }),
    "self-signed": openssl.selfSigned("shop.test", NAMES),
    "unknown issuer": openssl.signed(stranger, "unknown", NAMES),
    "unknown root in the chain": { key: below.key, cert: below.cert + middle.cert + stranger.cert },
    "unknown root": { key: below.key, cert: below.cert + middle.cert },
    "a client's": openssl.signed(root, "client", { ...NAMES, usage: "clientAuth" }),
  };
  for (const [name, { cert, key }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const address = await nodeServer(t, { cert, key });
      const reference = nodeClient(address);
      const [expected] = await once(reference, "error");
      const socket = client(address);
      await assert.rejects(socket.opened, { name: "SocketError", code: expected.code });
      await assert.rejects(socket.closed, { code: expected.code });
      await assert.rejects(readAll(socket.readable), { code: expected.code });
      // Who asks for no verification gets none.
      const trusting = client(address, { tls: { verify: false } });
      assert.equal((await exchange(trusting, pattern(10))).length, 10);
    });
  }
});

test("authorities are trusted while their certificates are valid, as by Node's client and server", async (t) => {
  const past = { start: "20200101000000Z", end: "20210101000000Z" };
  const future = { start: "20450101000000Z", end: "20460101000000Z" };
  for (const [name, dates] of Object.entries({ expired: past, early: future })) {
    const authority = openssl.authority(`${name}-authority`, dates);
    const cases = {
      "a certificate that is valid": openssl.signed(authority, "valid", NAMES),
      "another that has expired": openssl.signed(authority, "expired", { ...NAMES, ...past }),
      "another that is not yet valid": openssl.signed(authority, "early", { ...NAMES, ...future }),
    };
    for (const [which, pair] of Object.entries(cases)) {
      await t.test(`${name} authority, ${which}`, async (t) => {
        const address = await nodeServer(t, pair);
        for (const ca of [[authority.cert], [root.cert, authority.cert]]) {
          const [expected] = await once(nodeClient(address, { ca }), "error");
          assert.match(expected.code, /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/);
          await assert.rejects(client(address, { tls: { ca } }).opened, { code: expected.code });
        }
        // What a server finds of a client's; Node's goes on and tells the application.
        const asking = { requestCert: true, ca: authority.cert };
        let told;
        const reference = await nodeServer(
          t,
          { ...asking, rejectUnauthorized: false },
          (socket) => {
            told = socket.authorizationError;
            socket.end();
          },
        );
        await once(nodeClient(reference, pair).resume(), "end");
        const own = await ownServer(t, asking);
        // The client may have opened before it is refused, and then gets the alert or the end of the connection.
        nodeClient(own, pair).on("error", () => {});
        await until(() => own.errors.length === 1);
        assert.equal(own.errors[0].code, told);
      });
    }
  }
});

test("a certificate that is trusted itself is enough, for its names and its time", async (t) => {
  const self = openssl.selfSigned("self", NAMES);
  const address = await ownServer(t, self);
  const socket = client(address, { tls: { ca: self.cert } });
  await socket.opened;
  await socket.close();
  const wrong = client(address, { sni: "other.test", tls: { ca: self.cert } });
  await assert.rejects(wrong.opened, { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
});

test("the date is the clock's: what is valid in real time has expired in that of the engine", async () => {
  for (const [days, code] of [
    [0, null],
    [365, "CERT_HAS_EXPIRED"],
    [-365, "CERT_NOT_YET_VALID"],
  ]) {
    const clock = {
      now: () => performance.now(),
      setTimer: (callback, delay) => setTimeout(callback, delay),
      clearTimer: (timer) => clearTimeout(timer),
      date: () => Date.now() + days * 24 * 3_600_000,
    };
    const engine = await createEngine({ clock });
    const a = await createStack({ engine });
    const b = await createStack({ engine });
    plug(
      a.addInterface({ addresses: ["10.0.0.1/24"] }),
      b.addInterface({ addresses: ["10.0.0.2/24"] }),
    );
    const listener = b.listen({ port: 443, tls: leaf });
    const accepted = listener.accept();
    const tls = { ca: root.cert };
    const socket = a.connect("10.0.0.2:443", { secureTransport: "on", sni: "shop.test", tls });
    if (code === null) await Promise.all([socket.opened, (await accepted).opened]);
    else await assert.rejects(socket.opened, { code });
    await listener.close();
    engine.close();
  }
});

test("clients with certificates, of ours and of Node's servers and clients", async (t) => {
  const who = openssl.signed(root, "alice", { usage: "clientAuth" });
  const stranger = openssl.selfSigned("mallory");
  const required = { requestCert: true, ca: root.cert };
  const theirs = await nodeServer(t, { ...required, rejectUnauthorized: true }, (socket) => {
    socket.end(socket.getPeerCertificate().subject.CN);
  });
  const greet = async (socket) => {
    const { tls } = await socket.opened;
    await writeAll(socket.writable, Buffer.from(`${tls.peerCertificates.length}`));
  };
  const ours = await ownServer(t, required, greet);
  const optional = await ownServer(t, { ...required, requestCert: "optional" }, greet);
  const said = async (address, tls) =>
    (await readAll(client(address, { tls }).readable)).toString();
  assert.equal(await said(theirs, who), "alice");
  assert.equal(await said(ours, who), "1");
  assert.equal(await said(optional, who), "1");
  assert.equal(await said(optional, {}), "0");
  const code = { code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" };
  await assert.rejects(said(ours, {}), code);
  await assert.rejects(said(ours, stranger), { code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA" });
  // Node's client adds the authority, which it knows.
  assert.equal((await body(nodeClient(ours, who))).toString(), "2");
  const [error] = await once(nodeClient(ours, {}).resume(), "error");
  assert.equal(error.code, code.code);
  const codes = ours.errors.map((error) => error.code).sort();
  assert.deepEqual(codes, [
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
    "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
  ]);
});

test("a server chooses by name, at once or later, or refuses", async (t) => {
  const other = openssl.signed(root, "other.test", { san: "DNS:other.test" });
  const seen = [];
  const select = (hello) => {
    seen.push(hello);
    if (hello.servername === "other.test") return Promise.resolve(other);
    if (hello.servername === "broken.test") throw new Error("no such thing");
    return hello.servername === "shop.test" ? {} : null;
  };
  const address = await ownServer(t, { select, alpn: ["x"] });
  for (const sni of ["shop.test", "other.test"]) {
    const socket = client(address, { sni, alpn: ["x", "y"] });
    assert.equal((await socket.opened).alpn, "x");
    await socket.close();
  }
  for (const sni of ["stranger.test", "broken.test"]) {
    await assert.rejects(client(address, { sni }).opened, {
      code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME",
    });
  }
  await assert.rejects(
    once(nodeClient(address, { servername: "stranger.test" }), "secureConnect"),
    { code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" },
  );
  assert.deepEqual(seen[0], { servername: "shop.test", alpn: ["x", "y"] });
  assert.match(address.errors[0].message, /"stranger.test", which is not served/);
});

test("startTls changes to TLS over the same connection, at both ends", async () => {
  const listener = network.b.listen({ port: 0, tls: leaf, secureTransport: "starttls" });
  const { port } = await listener.listening;
  const socket = network.a.connect({ hostname: SERVER, port }, { secureTransport: "starttls" });
  assert.equal(socket.secureTransport, "starttls");
  const accepted = await listener.accept();
  const server = (async () => {
    const reader = accepted.readable.getReader();
    assert.equal(Buffer.from((await reader.read()).value).toString(), "STARTTLS\n");
    const writer = accepted.writable.getWriter();
    await writer.write(Buffer.from("OK\n"));
    const upgraded = accepted.startTls();
    assert.equal(upgraded.upgraded, true);
    await echo(upgraded);
  })();
  const writer = socket.writable.getWriter();
  const reader = socket.readable.getReader();
  await writer.write(Buffer.from("STARTTLS\n"));
  assert.equal(Buffer.from((await reader.read()).value).toString(), "OK\n");
  const upgraded = socket.startTls({ expectedServerHostname: "shop.test", tls: { ca: root.cert } });
  // "the original socket "upgraded" attribute is set to true"
  assert.equal(socket.upgraded && upgraded.upgraded, true);
  await socket.closed;
  assert.equal((await reader.read()).done, true);
  await assert.rejects(writer.write(Buffer.from("x")));
  assert.throws(() => socket.startTls(), { name: "SocketError", code: "ERR_INVALID_STATE" });
  assert.throws(() => upgraded.startTls(), { name: "SocketError", code: "ERR_INVALID_STATE" });
  const sent = pattern(100_000);
  assert.equal(Buffer.compare(await exchange(upgraded, sent), sent), 0);
  await server;
  const plain = network.a.connect({ hostname: SERVER, port });
  assert.throws(() => plain.startTls(), { name: "SocketError", code: "ERR_INVALID_STATE" });
  await plain.close();
  await listener.close();
});

test("startTls before the connection is open", async (t) => {
  const address = await ownServer(t);
  const socket = network.a.connect(address, {
    secureTransport: "starttls",
    sni: "shop.test",
    tls: { ca: root.cert },
  });
  const upgraded = socket.startTls();
  assert.equal((await socket.opened).tls, undefined);
  assert.notEqual((await upgraded.opened).tls, undefined);
  await upgraded.close();
});

test("half-close: each direction ends by itself, at Node's and at our end", async (t) => {
  const address = await ownServer(t, {}, async (socket) => {
    const got = await readAll(socket.readable);
    await writeAll(socket.writable, Buffer.from(`${got.length}`));
  });
  const socket = client(address, { allowHalfOpen: true });
  await writeAll(socket.writable, pattern(50_000));
  // The server's socket is not half-open: its end follows that of what it has read.
  assert.equal((await readAll(socket.readable)).length, 0);
  const listener = network.b.listen({ port: 0, tls: leaf, allowHalfOpen: true });
  const { port } = await listener.listening;
  for (const kind of ["ours", "node"]) {
    const accepting = listener.accept().then(async (socket) => {
      const got = await readAll(socket.readable);
      await writeAll(socket.writable, Buffer.from(`${got.length}`));
      await socket.closed;
    });
    let answer;
    if (kind === "ours") {
      const socket = client({ hostname: SERVER, port }, { allowHalfOpen: true });
      await writeAll(socket.writable, pattern(50_000));
      answer = await readAll(socket.readable);
      await socket.closed;
    } else {
      const socket = nodeClient({ port });
      socket.end(pattern(50_000));
      answer = await body(socket);
    }
    assert.equal(answer.toString(), "50000");
    await accepting;
  }
  await listener.close();
});

test("a connection that is cut off is no good end", async (t) => {
  const address = await nodeServer(t, {}, (socket) => {
    socket.write("part", () => {
      for (const below of address.sockets) below.end();
    });
  });
  const socket = client(address);
  const reader = socket.readable.getReader();
  assert.equal(Buffer.from((await reader.read()).value).toString(), "part");
  await assert.rejects(reader.read(), { code: "ERR_SSL_UNEXPECTED_EOF_WHILE_READING" });
  await assert.rejects(socket.closed, { code: "ERR_SSL_UNEXPECTED_EOF_WHILE_READING" });
});

test("what is no TLS, nobody there, and too slow a peer", async (t) => {
  const plain = network.b.listen({ port: 0 });
  const { port } = await plain.listening;
  const http = client({ hostname: SERVER, port });
  const accepted = await plain.accept();
  await writeAll(accepted.writable, Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await assert.rejects(http.opened, { code: "ERR_SSL_WRONG_VERSION_NUMBER" });
  const silent = client({ hostname: SERVER, port }, { tls: { handshakeTimeout: 30 } });
  await assert.rejects(silent.opened, { code: "ETIMEDOUT" });
  const early = client({ hostname: SERVER, port });
  await (await plain.accept()).close();
  await (await plain.accept()).close();
  await assert.rejects(early.opened, { code: "ECONNRESET" });
  await plain.close();
  await assert.rejects(client({ hostname: SERVER, port }).opened, { code: "ECONNREFUSED" });
  const address = await ownServer(t);
  const request = network.a.connect(address);
  await writeAll(request.writable, Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  await readAll(request.readable).catch(() => {});
  assert.equal(address.errors[0].code, "ERR_SSL_WRONG_VERSION_NUMBER");
  const controller = new AbortController();
  const aborted = client(address, { signal: controller.signal });
  await aborted.opened;
  controller.abort(new Error("enough"));
  await assert.rejects(
    aborted.closed,
    (error) => error.code === "ABORT_ERR" && error.cause.message === "enough",
  );
  const before = client(address, { signal: AbortSignal.abort() });
  await assert.rejects(before.opened, { code: "ABORT_ERR" });
});

/** The first message of Node's client. */
function clientHello(options) {
  return new Promise((resolve) => {
    const below = new Duplex({ read() {}, write: (chunk) => resolve(chunk) });
    tls.connect({ socket: below, ...options }).on("error", () => {});
  });
}

test("what does not belong into a handshake ends it at once, by an alert", async (t) => {
  const hello = Object.fromEntries(
    await Promise.all(
      ["TLSv1.2", "TLSv1.3"].map(async (version) => [
        version,
        await clientHello({ minVersion: version, maxVersion: version }),
      ]),
    ),
  );
  const data = Buffer.from([23, 3, 3, 0, 32, ...new Array(32).fill(7)]);
  const serverHello = Buffer.from([22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3, ...new Array(36).fill(0)]);
  const closeNotify = Buffer.from([21, 3, 3, 0, 2, 1, 0]);
  const [unexpected, undecodable] = [10, 50];
  // What the client sends, in pieces that arrive one by one; the alert in the clear, if there is one; the error here.
  const cases = [
    ["data", "TLSv1.3", [data], unexpected, "ERR_SSL_UNEXPECTED_MESSAGE"],
    ["a server's message", "TLSv1.3", [serverHello], unexpected, "ERR_SSL_UNEXPECTED_MESSAGE"],
    [
      "an unknown kind",
      "TLSv1.3",
      [Buffer.of(99, 3, 3, 0, 1, 1)],
      undecodable,
      "ERR_SSL_WRONG_VERSION_NUMBER",
    ],
    ["an alert, which has no answer", "TLSv1.3", [closeNotify], null, "ERR_SSL_UNEXPECTED_MESSAGE"],
    ...["TLSv1.2", "TLSv1.3"].flatMap((version) => {
      const first = hello[version];
      // In TLS 1.3 the server's alert is encrypted by then, and what comes is expected to be.
      const [alert, code] =
        version === "TLSv1.2"
          ? [unexpected, "ERR_SSL_UNEXPECTED_MESSAGE"]
          : [null, "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC"];
      return [
        ["data behind the first message", version, [Buffer.concat([first, data])], alert, code],
        ["data after it", version, [first, data], alert, code],
      ];
    }),
  ];
  for (const [name, version, pieces, alert, code] of cases) {
    await t.test(`${name}, ${version}`, async (t) => {
      const address = await ownServer(t, { minVersion: version, maxVersion: version });
      const socket = network.a.connect(address, { allowHalfOpen: true });
      const writer = socket.writable.getWriter();
      const reader = socket.readable.getReader();
      let got = Buffer.alloc(0);
      for (const [i, piece] of pieces.entries()) {
        await writer.write(piece);
        if (i === pieces.length - 1) break;
        got = Buffer.concat([got, (await reader.read()).value]);
      }
      // Its end comes while this end is open.
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        got = Buffer.concat([got, value]);
      }
      const last = got.subarray(-7);
      const isAlert = last.length === 7 && last.readUInt8(0) === 21 && last.readUInt16BE(3) === 2;
      assert.deepEqual(isAlert ? [...last.subarray(5)] : null, alert === null ? null : [2, alert]);
      await until(() => address.errors.length > 0);
      assert.equal(address.errors[0].code, code);
      await writer.close();
    });
  }
});

test("handshakes that go no further give way to newer ones, the oldest first", async () => {
  const listener = network.b.listen({ port: 0, backlog: 4, tls: leaf });
  const address = { hostname: SERVER, port: (await listener.listening).port };
  const early = client(address);
  const served = await listener.accept();
  await early.opened;
  const half = [];
  for (let i = 0; i < 10; i += 1) {
    const socket = network.a.connect(address);
    await socket.opened;
    socket.tryWrite(Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3));
    half.push({ socket, accepted: await listener.accept() });
  }
  for (const { socket, accepted } of half.slice(0, 6)) {
    await assert.rejects(accepted.opened, { code: "ETIMEDOUT" });
    await assert.rejects(socket.closed, { code: "ECONNRESET" });
  }
  // Who has something to say gets through, and who has got through stays.
  const good = client(address);
  const other = await listener.accept();
  await Promise.all([good.opened, other.opened]);
  await assert.rejects(half[6].accepted.opened, { code: "ETIMEDOUT" });
  for (const { socket } of half.slice(7)) assert.notEqual(socket.info(), null);
  for (const [end, peer] of [
    [early, served],
    [good, other],
  ]) {
    const echoed = echo(peer);
    assert.equal(Buffer.compare(await exchange(end, pattern(1_000)), pattern(1_000)), 0);
    await echoed;
  }
  for (const { socket } of half.slice(7)) socket.abort();
  await listener.close();
});

test("who does not read holds the sender back, with little kept in between", async (t) => {
  let written = 0;
  const address = await ownServer(t, {}, async (socket) => {
    const writer = socket.writable.getWriter();
    for (let i = 0; i < 200; i += 1) {
      await writer.write(pattern(64 * 1024));
      written += 64 * 1024;
    }
    await writer.close();
  });
  const socket = client(address, { tcp: { receiveBuffer: 64 * 1024 } });
  await socket.opened;
  let stood = -1;
  while (stood !== written) {
    stood = written;
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(stood < 9_000_000, `${stood} bytes were written to a reader that does not read`);
  assert.equal((await readAll(socket.readable)).length, 200 * 64 * 1024);
});

test("close sends all that was written, to a peer that reads after a while, too", async () => {
  const clock = Object.assign(new ManualClock(), { date: () => Date.now() });
  const tcp = { sendBuffer: 50_000, receiveBuffer: 50_000, bufferTuning: false };
  const { engine, a, b } = await twoStacks({ clock });
  const listener = b.listen({ port: 443, tls: leaf, tcp });
  const tls = { ca: root.cert };
  const socket = a.connect("10.0.0.2:443", {
    secureTransport: "on",
    sni: "shop.test",
    tls,
    tcp,
  });
  const peer = await listener.accept();
  await Promise.all([socket.opened, peer.opened]);
  let written = 0;
  for (let stalled = 0; stalled < 5; ) {
    const count = socket.tryWrite(pattern(1_000_000));
    written += count;
    stalled = count === 0 ? stalled + 1 : 0;
    if (count === 0) await clock.advance(1_000);
  }
  await socket.close();
  await clock.advance(60_000);
  const reading = readAll(peer.readable);
  await clock.advance(60_000);
  assert.equal((await reading).length, written);
  engine.close();
});

test("the layer below the streams", async (t) => {
  const address = await ownServer(t);
  const socket = client(address);
  const into = new Uint8Array(10);
  assert.equal(socket.tryRead(into), -1);
  assert.equal(socket.tryWrite(pattern(10)), 0);
  await socket.opened;
  assert.ok(socket.writableBytes > 0);
  assert.equal(socket.tryWrite(pattern(25)), 25);
  const got = [];
  await new Promise((resolve, reject) => {
    socket.onready = () => {
      try {
        for (let count = socket.tryRead(into); count > 0; count = socket.tryRead(into)) {
          got.push(...into.subarray(0, count));
        }
        if (got.length === 25) resolve();
      } catch (error) {
        reject(error);
      }
    };
  });
  assert.deepEqual(got, [...pattern(25)]);
  socket.shutdown();
  assert.throws(() => socket.tryWrite(pattern(1)), { code: "EPIPE" });
  await socket.closed;
  assert.equal(socket.tryRead(into), 0);
});

test("a transport of the caller's own may keep what it is given", async () => {
  // Records go over two queues of chunks, which keep them.
  const ends = () => {
    const queues = [[], []];
    const waiting = [null, null];
    const end = (own) => ({
      opened: Promise.resolve({}),
      closed: new Promise(() => {}),
      remote: { address: "", port: 0 },
      local: null,
      kept: [],
      writableBytes: 100_000,
      set onready(onready) {
        waiting[own] = onready;
      },
      tryRead(into) {
        this.into = into;
        const chunk = queues[own].shift();
        if (chunk === undefined) return -1;
        into.set(chunk);
        return chunk.byteLength;
      },
      tryWrite(from) {
        this.kept.push([from, from.slice()]);
        queues[1 - own].push(from.slice());
        queueMicrotask(() => waiting[1 - own]?.());
        return from.byteLength;
      },
      shutdown() {},
      close: async () => {},
      abort() {},
    });
    return [end(0), end(1)];
  };
  for (const wrap of [(end) => end, streamsOver]) {
    const [left, right] = ends();
    const near = wrapTls(wrap(left), { hostname: "shop.test", tls: { ca: root.cert } });
    const far = acceptTls(wrap(right), { tls: leaf });
    far.readable.pipeTo(far.writable).catch(() => {});
    const reader = near.readable.getReader();
    const writer = near.writable.getWriter();
    for (let round = 0; round < 5; round += 1) {
      const bytes = pattern(1_000, round);
      await writer.write(bytes);
      const { value } = await reader.read();
      assert.equal(Buffer.compare(value, bytes), 0);
    }
    const memory = new Set();
    for (const { kept, into } of [left, right]) {
      assert.ok(kept.length > 5);
      for (const [given, copy] of kept) {
        assert.equal(Buffer.compare(given, copy), 0, "what was given has not changed");
        memory.add(given.buffer);
      }
      if (into !== undefined) memory.add(into.buffer);
    }
    // None of it is the module's memory, in which keys are.
    for (const { byteLength } of memory) assert.ok(byteLength <= 64 * 1024);
  }
});

test("secrets are told as by Node, and tshark reads a capture with them", async (t) => {
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const versions = { minVersion: version, maxVersion: version };
    const expected = [];
    const ours = await ownServer(t, versions);
    const reference = nodeClient(ours, versions);
    reference.on("keylog", (line) => expected.push(`${line}`));
    await once(reference, "secureConnect");
    reference.destroy();

    const lines = { client: [], server: [] };
    const server = await ownServer(t, {
      ...versions,
      select: () => ({ keylog: (line) => lines.server.push(line) }),
    });
    const recording = capture(network.nicA);
    const keylog = (line) => lines.client.push(line);
    const socket = client(server, { tls: { ...versions, keylog } });
    const secret = new TextEncoder().encode("GET /what-nobody-else-reads HTTP/1.1\r\n\r\n");
    await exchange(socket, secret);
    // A connection of which nothing is to be told, though one before it was.
    await exchange(client(server, { tls: versions }), secret);
    const parts = (line) => [line.split(" ")[0], line.split(" ")[2].length];
    assert.deepEqual(lines.client.map(parts).sort(), expected.map(parts).sort());
    assert.ok(lines.client.every((line) => lines.server.includes(line)));
    const pcapng = await recording.pcapng();
    recording.stop();
    const files = [openssl.write("c.pcapng", pcapng), openssl.write("keys", lines.client.join(""))];
    const read = execFileSync(
      "tshark",
      ["-r", files[0], "-d", `tcp.port==${server.port},tls`].concat([
        "-o",
        `tls.keylog_file:${files[1]}`,
        "-z",
        "follow,tls,ascii,0",
        "-q",
      ]),
      { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
    );
    assert.match(read, /what-nobody-else-reads/);
  }
});

test("what is wrong with options is said where they are given", async () => {
  const connect = (options) =>
    network.a.connect(`${SERVER}:1`, { secureTransport: "on", ...options });
  const listen = (tls) => network.b.listen({ port: 0, tls });
  assert.throws(() => connect({ tls: { ca: [] } }), /tls.ca must not be empty/);
  assert.throws(() => connect({ tls: { ca: 5 } }), {
    name: "TypeError",
    message: /tls.ca must be/,
  });
  assert.throws(() => connect({ tls: { cert: leaf.cert } }), /must be given together/);
  assert.throws(() => connect({ alpn: [""] }), /1 to 255 bytes/);
  assert.throws(
    () => connect({ tls: { minVersion: "TLSv1.3", maxVersion: "TLSv1.2" } }),
    RangeError,
  );
  assert.throws(() => listen({}), /needs cert and key/);
  assert.throws(() => listen({ key: leaf.key }), /must be given together/);
  for (const [tls, message] of [
    [{ ...leaf, key: root.key }, /key is not that of the certificate/],
    [{ ...leaf, cert: "no certificate" }, /tls.cert has no certificate/],
    [{ ...leaf, key: "no key" }, /tls.key has no private key/],
  ]) {
    const listener = listen(tls);
    await assert.rejects(listener.listening, message);
    await assert.rejects(listener.accept(), message);
  }
});
