/** Stacks in workers. What they share with a stack in this thread is tested for both, by the same code. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { createAuthority, createStack, plug, SocketError } from "ethertab";
import { createStackWorker } from "ethertab/worker";
import { pattern, readAll, until, writeAll } from "./support.mjs";

const startWorker = (workerData) =>
  new Worker(new URL("./stack_worker.mjs", import.meta.url), { workerData });

/** One worker serves all tests that do not end it. */
const worker = startWorker();
after(() => worker.terminate());

const KINDS = {
  local: (options) => createStack(options),
  worker: (options) => createStackWorker(worker, options),
};

/** A stack of that kind, `10.0.0.1`, and another one in this thread, `10.0.0.2`. */
async function pairOf(kind, options = {}) {
  const a = await KINDS[kind]({ hostname: "a", seed: 1, ...options });
  const b = await createStack({ hostname: "b", seed: 2, tcp: options.tcp ?? {} });
  const nicA = await a.addInterface({ addresses: ["10.0.0.1/24", "fd00::1/64"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24", "fd00::2/64"] });
  const link = plug(nicA, nicB);
  const close = async () => {
    await Promise.all([a.close(), b.close()]);
    await a.closed;
    nicA.port?.close?.();
  };
  return { a, b, nicA, nicB, link, close };
}

for (const kind of Object.keys(KINDS)) {
  test(`${kind}: TLS at either end, and what is wrong with it`, async () => {
    const { a, b, close } = await pairOf(kind);
    const authority = await createAuthority();
    const asked = [];
    const select = ({ servername }) => {
      asked.push(servername);
      return authority.issue(servername);
    };
    for (const [from, to, hostname] of [
      [a, b, "10.0.0.2"],
      [b, a, "fd00::1"],
    ]) {
      const listener = to.listen({ port: 443, tls: { select, alpn: ["echo"] } });
      await listener.listening;
      const client = from.connect(
        { hostname, port: 443 },
        { secureTransport: "on", sni: "shop.test", alpn: ["echo"], tls: { ca: authority.cert } },
      );
      const server = await listener.accept();
      const bytes = pattern(2_000_000);
      const echo = server.readable.pipeTo(server.writable);
      const [echoed] = await Promise.all([
        readAll(client.readable),
        writeAll(client.writable, bytes),
      ]);
      assert.equal(Buffer.compare(echoed, bytes), 0);
      const { alpn, tls } = await client.opened;
      assert.deepEqual([alpn, tls.protocol, tls.servername], ["echo", "TLSv1.3", "shop.test"]);
      await Promise.all([echo, client.closed, server.closed]);

      const wrong = from.connect(
        { hostname, port: 443 },
        { secureTransport: "on", tls: { ca: authority.cert }, sni: "other.test" },
      );
      const refused = await listener.accept();
      await wrong.opened;
      const left = assert.rejects(refused.closed, { code: "ECONNRESET" });
      wrong.abort();
      await assert.rejects(wrong.closed, { code: "ABORT_ERR" });
      await left;
      const untrusting = from.connect(
        { hostname, port: 443 },
        { secureTransport: "on", tls: { ca: (await createAuthority()).cert }, sni: "shop.test" },
      );
      const told = (await listener.accept()).opened;
      await Promise.all([
        assert.rejects(untrusting.opened, { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" }),
        assert.rejects(untrusting.closed, { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" }),
        assert.rejects(told, { code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA" }),
      ]);
      await listener.close();
    }
    assert.deepEqual(new Set(asked), new Set(["shop.test", "other.test"]));
    const bad = a.listen({ port: 444, tls: { cert: "nothing", key: "nothing" } });
    await assert.rejects(bad.listening, TypeError);
    await assert.rejects(bad.accept(), TypeError);
    assert.throws(() => a.connect("10.0.0.2:443", { tls: {} }), /options\.tls needs/);
    await close();
  });

  test(`${kind}: startTls, at either end, before and after the connection is open`, async () => {
    const { a, b, close } = await pairOf(kind);
    const authority = await createAuthority();
    const tls = { ca: authority.cert };
    for (const [from, to, hostname] of [
      [a, b, "10.0.0.2"],
      [b, a, "10.0.0.1"],
    ]) {
      const listener = to.listen({
        port: 25,
        secureTransport: "starttls",
        tls: authority.issue("mail.test"),
      });
      await listener.listening;
      for (const isEarly of [false, true]) {
        const plain = from.connect({ hostname, port: 25 }, { secureTransport: "starttls" });
        const options = { expectedServerHostname: "mail.test", tls };
        // Libraries that were written for Cloudflare's sockets take the writer of the new one before they are told of the old one's end.
        const steps = [];
        plain.closed.then(() => steps.push("closed"));
        const upgraded = (socket) => {
          const successor = socket.startTls(options);
          queueMicrotask(() => steps.push("promises"));
          return successor;
        };
        const early = isEarly ? upgraded(plain) : null;
        const accepted = await listener.accept();
        if (!isEarly) {
          await plain.writable.getWriter().write(Buffer.from("STARTTLS"));
          const { value } = await accepted.readable.getReader().read();
          assert.equal(Buffer.from(value).toString(), "STARTTLS");
        }
        const server = accepted.startTls();
        const client = early ?? upgraded(plain);
        await Promise.all([plain.opened, plain.closed, accepted.closed]);
        assert.deepEqual(steps, ["promises", "closed"]);
        assert.deepEqual([plain.secureTransport, plain.upgraded], ["starttls", true]);
        assert.throws(() => plain.startTls(options), { code: "ERR_INVALID_STATE" });
        const bytes = pattern(300_000);
        const echo = server.readable.pipeTo(server.writable);
        const [echoed] = await Promise.all([
          readAll(client.readable),
          writeAll(client.writable, bytes),
        ]);
        assert.equal(Buffer.compare(echoed, bytes), 0);
        assert.equal(client.upgraded, true);
        assert.equal((await client.opened).tls.protocol, "TLSv1.3");
        await Promise.all([echo, client.closed, server.closed]);
      }
      await listener.close();
    }
    assert.throws(() => a.connect("10.0.0.2:9").startTls(), { code: "ERR_INVALID_STATE" });
    await close();
  });

  test(`${kind}: bytes go both ways, connecting and accepting, and the ends are told`, async () => {
    const { a, b, close } = await pairOf(kind);
    for (const [from, to, hostname] of [
      [a, b, "10.0.0.2"],
      [b, a, "fd00::1"],
    ]) {
      const listener = to.listen({ port: 7 });
      assert.deepEqual(await listener.listening, { address: "::", port: 7 });
      assert.deepEqual(listener.address, { address: "::", port: 7 });
      const client = from.connect({ hostname, port: 7 });
      const server = await listener.accept();
      const info = await client.opened;
      assert.deepEqual(await server.opened, {
        remoteAddress: info.localAddress,
        localAddress: info.remoteAddress,
        alpn: null,
      });
      assert.deepEqual(client.local, server.remote);
      const bytes = pattern(2_000_000);
      const echo = server.readable.pipeTo(server.writable);
      const [echoed] = await Promise.all([
        readAll(client.readable),
        writeAll(client.writable, bytes),
      ]);
      assert.equal(Buffer.compare(echoed, bytes), 0);
      await Promise.all([echo, client.closed, server.closed]);
      await listener.close();
      await listener.closed;
    }
    await close();
  });

  test(`${kind}: refused, reset, unreachable and aborted connections reject with class and code`, async () => {
    const { a, b, close } = await pairOf(kind);
    const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;
    const refused = a.connect("10.0.0.2:9");
    await assert.rejects(refused.opened, (error) => {
      assert.ok(hasCode("ECONNREFUSED")(error));
      assert.equal(error.remoteAddress, "10.0.0.2:9");
      assert.match(error.localAddress, /^10\.0\.0\.1:\d+$/);
      assert.match(
        error.message,
        /^SocketError: connection from 10\.0\.0\.1:\d+ to 10\.0\.0\.2:9: /,
      );
      return true;
    });
    await assert.rejects(refused.closed, hasCode("ECONNREFUSED"));
    await assert.rejects(refused.readable.getReader().read(), hasCode("ECONNREFUSED"));
    await assert.rejects(refused.writable.getWriter().write(pattern(1)), hasCode("ECONNREFUSED"));
    await assert.rejects(a.connect("192.0.2.1:80").opened, hasCode("ENETUNREACH"));

    const listener = b.listen({ port: 80 });
    const controller = new AbortController();
    const client = a.connect("10.0.0.2:80", { signal: controller.signal });
    const server = await listener.accept();
    await client.opened;
    const reading = client.readable.getReader().read();
    const reason = new DOMException("enough", "TimeoutError");
    controller.abort(reason);
    await assert.rejects(reading, (error) => hasCode("ABORT_ERR")(error) && error.cause === reason);
    await assert.rejects(server.closed, hasCode("ECONNRESET"));

    const other = a.connect("10.0.0.2:80");
    const peer = await listener.accept();
    await other.opened;
    peer.abort();
    await assert.rejects(other.closed, hasCode("ECONNRESET"));
    await assert.rejects(
      a.connect("10.0.0.2:80", { signal: AbortSignal.abort(reason) }).opened,
      hasCode("ABORT_ERR"),
    );
    await close();
  });

  test(`${kind}: close tells its reason to what waits, and sends what was written`, async () => {
    const { a, b, close } = await pairOf(kind);
    const listener = b.listen({ port: 80 });
    const client = a.connect("10.0.0.2:80");
    const server = await listener.accept();
    await client.opened;
    const writer = client.writable.getWriter();
    const reader = client.readable.getReader();
    await writer.write(pattern(100_000));
    const reading = reader.read();
    const failing = assert.rejects(writer.closed, (error) => error === "because");
    await client.close("because");
    assert.deepEqual(await reading, { done: true, value: undefined });
    await failing;
    assert.equal((await readAll(server.readable)).length, 100_000);
    await close();
  });

  test(`${kind}: what nobody reads stops the sender, and goes on when it is read`, async () => {
    const tcp = { sendBuffer: 65_536, receiveBuffer: 65_536 };
    const { a, b, close } = await pairOf(kind, { tcp });
    for (const [from, to, hostname] of [
      [a, b, "10.0.0.2"],
      [b, a, "10.0.0.1"],
    ]) {
      const listener = to.listen({ port: 81 });
      // In its thread it may come after the SYN otherwise, which is refused.
      await listener.listening;
      const client = from.connect({ hostname, port: 81 });
      const server = await listener.accept();
      await client.opened;
      let sent = 0;
      const chunk = pattern(16_384);
      client.onready = () => {
        for (let count = 1; count > 0; sent += count) {
          if (sent >= 2_500_000) return client.shutdown();
          count = client.tryWrite(chunk);
        }
      };
      client.onready();
      let last = -1;
      // Until nothing moves any more.
      for (let quiet = 0; quiet < 20; quiet = sent === last ? quiet + 1 : 0) {
        last = sent;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.ok(sent < 2_400_000, `${sent} bytes are on the way`);
      const into = new Uint8Array(300_000);
      let got = 0;
      await new Promise((resolve) => {
        server.onready = () => {
          for (;;) {
            const count = server.tryRead(into);
            if (count === 0) return resolve();
            if (count < 0) return undefined;
            got += count;
          }
        };
        server.onready();
      });
      assert.equal(got, sent);
      client.onready = null;
      server.onready = null;
      await Promise.allSettled([client.close(), server.close(), listener.close()]);
    }
    await close();
  });

  test(`${kind}: a byte stream fills the reader's own memory`, async () => {
    const { a, b, close } = await pairOf(kind);
    const listener = b.listen({ port: 80 });
    const client = a.connect("10.0.0.2:80");
    const server = await listener.accept();
    await writeAll(server.writable, pattern(1_000));
    const reader = client.readable.getReader({ mode: "byob" });
    const first = await reader.read(new Uint8Array(10), { min: 10 });
    assert.deepEqual(first.value, pattern(10));
    let rest = 0;
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(300));
      if (done) break;
      rest += value.byteLength;
    }
    assert.equal(rest, 990);
    await close();
  });

  test(`${kind}: a loop that does not end its body delays nobody, and more wait in the backlog`, async () => {
    const { a, b, close } = await pairOf(kind);
    const listener = a.listen({ port: 80, backlog: 32 });
    await listener.listening;
    const seen = [];
    const looping = (async () => {
      for await (const socket of listener) {
        seen.push(socket);
        await new Promise((resolve) => setTimeout(resolve, 1_000_000).unref());
      }
    })();
    looping.catch(() => {});
    const clients = Array.from({ length: 20 }, () => b.connect("10.0.0.1:80"));
    await Promise.all(clients.map((client) => client.opened));
    await until(() => seen.length === 1, "an accepted connection");
    const others = await Promise.all(Array.from({ length: 19 }, () => listener.accept()));
    assert.equal(others.length, 19);
    await close();
  });

  test(`${kind}: EADDRINUSE rejects listening and binding; waiting accepts end with the listener`, async () => {
    const { a, close } = await pairOf(kind);
    const listener = a.listen({ port: 80 });
    await listener.listening;
    const second = a.listen({ port: 80 });
    await assert.rejects(second.listening, { code: "EADDRINUSE", localAddress: "[::]:80" });
    await assert.rejects(second.accept(), { code: "EADDRINUSE" });
    assert.equal(second.address, null);
    const waiting = assert.rejects(listener.accept(), { code: "ABORT_ERR" });
    const aborting = assert.rejects(listener.accept({ signal: AbortSignal.abort("x") }), {
      code: "ABORT_ERR",
      cause: "x",
    });
    await aborting;
    await listener.close();
    await waiting;
    const udp = await a.bindUdp({ port: 53 });
    await assert.rejects(async () => a.bindUdp({ port: 53 }), { code: "EADDRINUSE" });
    const receiving = assert.rejects(udp.receive(), { code: "ABORT_ERR" });
    await udp.close();
    await receiving;
    await close();
  });

  test(`${kind}: datagrams, their errors and groups`, async () => {
    const { a, b, nicA, nicB, close } = await pairOf(kind);
    const ours = await a.bindUdp({ port: 5_000 });
    const theirs = b.bindUdp({ port: 5_001 });
    await ours.send(pattern(10), { remoteAddress: "10.0.0.2", remotePort: 5_001 });
    const datagram = await theirs.receive();
    assert.deepEqual([datagram.data, datagram.remotePort], [pattern(10), 5_000]);
    theirs.send(pattern(20), datagram);
    const back = await ours.receive();
    assert.deepEqual([back.data, back.remoteAddress], [pattern(20), "10.0.0.2"]);
    assert.equal(back.nic, nicA);
    await ours.send(pattern(3), back);
    assert.equal((await theirs.receive()).data.length, 3);
    const told = new Promise((resolve) => {
      ours.onerror = (error, target, report) => resolve({ error, target, report });
    });
    await ours.send(pattern(1), { remoteAddress: "10.0.0.2", remotePort: 9 });
    const { error, target, report } = await told;
    assert.ok(error instanceof SocketError);
    assert.deepEqual([error.code, target.port], ["ECONNREFUSED", 9]);
    assert.deepEqual(report, { reporter: "10.0.0.2", type: 3, code: 3 });
    await assert.rejects(
      async () => ours.send(new Uint8Array(66_000), { remoteAddress: "10.0.0.2", remotePort: 9 }),
      { code: "EMSGSIZE" },
    );
    await ours.joinGroup("239.1.2.3", nicA);
    theirs.send(pattern(5), { remoteAddress: "239.1.2.3", remotePort: 5_000, nic: nicB });
    assert.equal((await ours.receive()).localAddress, "239.1.2.3");
    assert.equal((await ours.settings()).multicastTtl, 1);
    await ours.connect({ address: "10.0.0.2", port: 5_001 });
    assert.deepEqual(ours.remote, { address: "10.0.0.2", port: 5_001 });
    await ours.send(pattern(7));
    assert.equal((await theirs.receive()).data.length, 7);
    await close();
  });

  test(`${kind}: pings, routes, counters, interfaces and a trace of the way`, async () => {
    const { a, b, nicA, close } = await pairOf(kind, { limits: { trace: 256 } });
    const { rtt, ttl } = await a.ping("10.0.0.2");
    assert.ok(rtt >= 0 && ttl === 64);
    await assert.rejects(a.ping("10.0.0.77", { timeout: 20 }), { code: "ETIMEDOUT" });
    const controller = new AbortController();
    const silent = a.ping("10.0.0.78", { signal: controller.signal });
    controller.abort("enough");
    await assert.rejects(silent, { code: "ABORT_ERR", cause: "enough" });
    await assert.rejects(a.ping("nobody"), { code: "ENOTFOUND" });
    assert.ok((await nicA.addresses).includes("10.0.0.1/24"));
    assert.ok((await nicA.counters).framesSent > 0);
    assert.equal((await a.interfaces).length, 1);
    assert.equal((await a.interfaces)[0], nicA);
    assert.equal(await nicA.lease, null);
    await nicA.configured;
    await a.addRoute({ to: "192.0.2.0/24", via: "10.0.0.2", nic: nicA });
    assert.ok((await a.routes()).some(({ to }) => to === "192.0.2.0/24"));
    assert.ok((await a.neighbors()).some(({ address }) => address === "10.0.0.2"));
    assert.ok((await a.counters()).frames_sent > 0);
    assert.equal(typeof (await a.blocksInUse), "number");
    const hops = [];
    for await (const hop of a.traceroute("10.0.0.2", { probes: 1 })) hops.push(hop);
    assert.deepEqual(
      hops.map(({ reached }) => reached),
      [true],
    );
    const ending = new AbortController();
    const lost = a.traceroute("10.0.0.79", { probes: 1, signal: ending.signal });
    const next = assert.rejects(lost.next(), { code: "ABORT_ERR", cause: "late" });
    setTimeout(() => ending.abort("late"), 20);
    await next;

    const listener = b.listen({ port: 80 });
    const client = a.connect("10.0.0.2:80", { tcp: { congestionControl: "reno" } });
    await client.opened;
    assert.equal((await client.info()).state, "ESTABLISHED");
    assert.equal((await client.tcpSettings()).congestionControl, "reno");
    client.setTcpOptions({ congestionControl: "cubic" });
    assert.equal((await client.tcpSettings()).congestionControl, "cubic");
    assert.equal((await a.connections()).length, 1);
    for await (const event of a.trace) {
      assert.equal(event.type, "state");
      break;
    }
    assert.ok((await a.trace.take()).some(({ type }) => type === "sent"));
    await listener.close();
    await close();
  });

  test(`${kind}: closing the stack settles everything that waits`, async () => {
    const { a, b, close } = await pairOf(kind);
    const listener = a.listen({ port: 80 });
    await listener.listening;
    const server = b.listen({ port: 81 });
    const client = a.connect("10.0.0.2:81");
    await client.opened;
    const pending = a.connect("10.0.0.99:80");
    const udp = await a.bindUdp();
    const code = { code: "ABORT_ERR" };
    const waits = [
      assert.rejects(listener.accept(), code),
      assert.rejects(client.readable.getReader().read(), code),
      assert.rejects(client.closed, code),
      assert.rejects(pending.opened, code),
      assert.rejects(pending.closed, code),
      assert.rejects(udp.receive(), code),
      assert.rejects(a.ping("10.0.0.98"), code),
      assert.rejects(a.traceroute("10.0.0.97").next(), code),
      listener.closed,
      udp.closed,
      a.closed,
    ];
    await new Promise((resolve) => setTimeout(resolve, 10));
    await a.close();
    await Promise.all(waits);
    await assert.rejects(async () => a.connections(), code);
    assert.throws(() => a.connect("10.0.0.2:80"), code);
    await server.close();
    await close().catch(() => {});
  });

  test(`${kind}: wrong arguments are told at once and by name`, async () => {
    const { a, close } = await pairOf(kind);
    assert.throws(() => a.connect("nonsense"), { code: "EINVAL" });
    assert.throws(() => a.connect("10.0.0.2:80", { signal: 1 }), /options\.signal/);
    assert.throws(() => a.listen({ port: -1 }), /options\.port.*-1/);
    await assert.rejects(async () => a.addInterface({ addresses: ["nonsense"] }), /nonsense/);
    await assert.rejects(async () => a.ping("10.0.0.2", { size: -1 }), RangeError);
    await close();
  });
}

test("a worker that ends, or whose script fails, rejects all that waits for it", async () => {
  const mortal = startWorker();
  const a = await createStackWorker(mortal, {});
  const nic = await a.addInterface({ addresses: ["10.0.0.1/24"] });
  plug(nic, (await createStack()).addInterface({ addresses: ["10.0.0.2/24"] }));
  const listener = a.listen({ port: 80 });
  await listener.listening;
  const socket = a.connect("10.0.0.9:80");
  const code = { code: "ABORT_ERR", message: /ended/ };
  const waits = [
    assert.rejects(socket.opened, code),
    assert.rejects(socket.readable.getReader().read(), code),
    assert.rejects(listener.accept(), code),
    assert.rejects(a.ping("10.0.0.9"), code),
    a.closed,
  ];
  await mortal.terminate();
  await Promise.all(waits);
  await assert.rejects(a.routes(), code);

  const broken = startWorker({ throws: true });
  await assert.rejects(createStackWorker(broken), {
    code: "ABORT_ERR",
    message: /a broken script/,
  });
  const refusing = startWorker({ refuses: true });
  await assert.rejects(createStackWorker(refusing), RangeError);
  await assert.rejects(createStackWorker(refusing, { signal: AbortSignal.abort("no") }), {
    code: "ABORT_ERR",
    cause: "no",
  });
  await refusing.terminate();
});

test("options that make no stack reject as they do here", async () => {
  await assert.rejects(createStackWorker(worker, { limits: { connections: -1 } }), {
    name: "RangeError",
    message: /options\.limits\.connections.*-1/,
  });
});
