import assert from "node:assert/strict";
import { test } from "node:test";
import { createStack, functionPort, plug, SocketError } from "ethertab";
import { ManualClock, pattern, settle, twoStacks, until } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

test("datagrams go both ways, and tell where they come from", async () => {
  const { engine, a, b, nicB } = await twoStacks();
  const server = b.bindUdp({ port: 53 });
  const client = a.bindUdp();
  assert.deepEqual(server.address, { address: "::", port: 53 });
  for (const [from, to] of [
    ["10.0.0.1", "10.0.0.2"],
    ["fd00::1", "fd00::2"],
  ]) {
    client.send(pattern(1_000), { remoteAddress: to, remotePort: 53 });
    const { data, mac: _, ...meta } = await server.receive();
    assert.deepEqual(data, pattern(1_000));
    assert.deepEqual(meta, {
      remoteAddress: from,
      remotePort: client.address.port,
      localAddress: to,
      nic: nicB,
      ttl: 64,
      trafficClass: 0,
    });
    server.send(Uint8Array.of(42), meta);
    assert.deepEqual((await client.receive()).data, Uint8Array.of(42));
  }
  engine.close();
});

test("datagrams as an async iterable and as a stream; closing ends both", async () => {
  const { engine, a, b } = await twoStacks();
  const client = a.bindUdp();
  const to = (remotePort) => ({ remoteAddress: "10.0.0.2", remotePort });
  const seen = [];
  const iterated = b.bindUdp({ port: 1 });
  const iterating = (async () => {
    for await (const { data } of iterated) seen.push(data[0]);
  })();
  const streamed = b.bindUdp({ port: 2 });
  const streaming = (async () => {
    for await (const { data } of streamed.readable) seen.push(data[0]);
  })();
  for (let value = 0; value < 4; value += 1) client.send(Uint8Array.of(value), to(1 + (value % 2)));
  await until(() => seen.length === 4, "four datagrams");
  assert.deepEqual(seen.sort(), [0, 1, 2, 3]);
  await Promise.all([iterated.close(), streamed.close(), iterating, streaming]);
  await iterated.close();
  engine.close();
});

test("a closed port, a datagram too long, a port in use, a signal, a queue that nobody reads", async () => {
  const { engine, a, b } = await twoStacks();
  const client = a.bindUdp({ port: 7 });
  const refused = new Promise((resolve) => {
    client.onerror = (error, target) => resolve({ error, target });
  });
  client.send(pattern(1), { remoteAddress: "10.0.0.2", remotePort: 9 });
  const { error, target } = await refused;
  assert.ok(hasCode("ECONNREFUSED")(error), error.stack);
  assert.deepEqual(target, { address: "10.0.0.2", port: 9 });

  assert.throws(
    () => client.send(pattern(70_000), { remoteAddress: "10.0.0.2", remotePort: 9 }),
    hasCode("EMSGSIZE"),
  );
  assert.throws(() => a.bindUdp({ port: 7 }), hasCode("EADDRINUSE"));
  const controller = new AbortController();
  const waiting = assert.rejects(
    client.receive({ signal: controller.signal }),
    hasCode("ABORT_ERR"),
  );
  controller.abort();
  await waiting;

  const deaf = b.bindUdp({ port: 10 });
  for (let round = 0; round < 200; round += 1) {
    try {
      client.send(pattern(1_000), { remoteAddress: "10.0.0.2", remotePort: 10 });
    } catch (full) {
      assert.ok(hasCode("ENOBUFS")(full), full.stack);
    }
    await settle();
  }
  assert.ok(b.blocksInUse < 100, `${b.blocksInUse} blocks`);
  await deaf.close();
  assert.equal(b.blocksInUse, 0);
  engine.close();
});

test("broadcast with a chosen destination MAC, as a DHCP server sends it", async () => {
  const { engine, a, b, nicA, nicB } = await twoStacks();
  const server = a.bindUdp({ port: 67 });
  const client = b.bindUdp({ port: 68 });
  server.send(pattern(300), {
    remoteAddress: "255.255.255.255",
    remotePort: 68,
    nic: nicA,
    mac: nicB.mac,
  });
  const { data, localAddress, nic } = await client.receive();
  assert.equal(data.byteLength, 300);
  assert.equal(localAddress, "255.255.255.255");
  assert.equal(nic, nicB);
  engine.close();
});

test("ping answers, over both families, and names what failed", async () => {
  const { engine, a } = await twoStacks({ impairment: { latency: 3 } });
  for (const address of ["10.0.0.2", "fd00::2"]) {
    const { rtt, ...reply } = await a.ping(address, { size: 100 });
    assert.ok(rtt >= 6 && rtt < 1_000, `${rtt} ms`);
    assert.deepEqual(reply, { address, ttl: 64, size: 100 });
  }
  const controller = new AbortController();
  const aborted = assert.rejects(
    a.ping("10.0.0.99", { signal: controller.signal }),
    hasCode("ABORT_ERR"),
  );
  controller.abort();
  await aborted;
  engine.close();
});

test("ping takes a name, and the signal ends its lookup, too", async () => {
  const { engine, a } = await twoStacks();
  a.addInterface({ medium: "loopback" });
  assert.match((await a.ping("localhost")).address, /^(127\.0\.0\.1|::1)$/);
  await assert.rejects(a.ping("nobody.example"), hasCode("ENOTFOUND"));
  const asking = await createStack({ engine, dns: ["10.0.0.2"] });
  plug(asking.addInterface({ addresses: ["10.0.0.3/24"] }), functionPort({ send() {} }));
  const controller = new AbortController();
  const aborted = assert.rejects(
    asking.ping("somebody.example", { signal: controller.signal }),
    hasCode("ABORT_ERR"),
  );
  controller.abort();
  await aborted;
  engine.close();
});

test("without a loopback interface nothing reaches the host itself, and errors say so", async () => {
  const { engine, a } = await twoStacks();
  const isClear = (error) =>
    hasCode("ENETUNREACH")(error) && /without a loopback interface/.test(error.message);
  const udp = a.bindUdp();
  for (const address of ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"]) {
    const socket = a.connect({ hostname: address, port: 80 });
    const closed = assert.rejects(socket.closed, isClear);
    await assert.rejects(socket.opened, isClear);
    await closed;
    await assert.rejects(a.ping(address), isClear);
    const to = { remoteAddress: address, remotePort: 9 };
    assert.throws(() => udp.send(new Uint8Array(1), to), isClear);
  }
  engine.close();
});

test("ping of a dead address times out, in virtual time", async () => {
  const clock = new ManualClock();
  const { engine, a } = await twoStacks({ clock });
  const lost = assert.rejects(
    a.ping("10.0.0.99", { timeout: "2s" }),
    (error) => hasCode("ETIMEDOUT")(error) || hasCode("EHOSTUNREACH")(error),
  );
  await clock.advance(10_000);
  await lost;
  assert.equal(engine.blocksInUse, 0);
  engine.close();
});
