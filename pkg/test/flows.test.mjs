// Flows to any address: the stack stands in for everybody.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createStack, plug, SocketError } from "ethertab";
import { ManualClock, readAll, settle, until } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

/** A guest whose router takes the flows. */
async function guestAndRouter(options = {}) {
  const engine = await createEngine(options.clock ? { clock: options.clock } : {});
  const guest = await createStack({ hostname: "guest", engine, seed: 1 });
  const router = await createStack({ hostname: "router", engine, seed: 2 });
  const guestNic = guest.addInterface({
    addresses: ["10.0.0.2/24", "fd00::2/64"],
    gateway: ["10.0.0.1", "fd00::1"],
  });
  const nic = router.addInterface({ addresses: ["10.0.0.1/24", "fd00::1/64"] });
  const link = plug(guestNic, nic);
  return { engine, guest, router, nic, link };
}

test("a flow is accepted in the name of whom it is for, once the application has dialled", async () => {
  const { engine, guest, router, nic } = await guestAndRouter();
  const flows = [];
  let dialled = false;
  router.acceptAny(nic, {
    onflow: async (flow) => {
      flows.push(flow);
      await new Promise((resolve) => setTimeout(resolve, 30));
      dialled = true;
      const socket = await flow.accept();
      await socket.readable.pipeTo(socket.writable);
    },
  });
  for (const address of ["192.0.2.7", "2001:db8::7"]) {
    dialled = false;
    const socket = guest.connect({ hostname: address, port: 443 });
    await socket.opened;
    assert.ok(dialled, "the handshake waits for the decision");
    const [flow] = flows.splice(0);
    assert.deepEqual(flow.local, { address, port: 443 });
    assert.equal(flow.remote.address, address.includes(":") ? "fd00::2" : "10.0.0.2");
    assert.equal(flow.remote.port, socket.local.port);
    assert.equal(flow.nic, nic);
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("echo"));
    await writer.close();
    assert.equal((await readAll(socket.readable)).toString(), "echo");
    assert.throws(() => flow.refuse(), /decided/);
  }
  engine.close();
});

test("a flow is refused, or told to be unreachable, as the application finds", async () => {
  const { engine, guest, router, nic } = await guestAndRouter();
  const verdicts = {
    1: (flow) => flow.refuse(),
    2: (flow) => flow.unreachable(),
    3: (flow) => flow.unreachable("prohibited"),
    4: (flow) => flow.unreachable("port"),
    5: (flow) => flow.unreachable("network"),
  };
  router.acceptAny(nic, { onflow: (flow) => verdicts[flow.local.port](flow) });
  const codes = {
    1: "ECONNREFUSED",
    2: "EHOSTUNREACH",
    3: "EHOSTUNREACH",
    4: "ECONNREFUSED",
    5: "EHOSTUNREACH",
  };
  for (const hostname of ["192.0.2.7", "2001:db8::7"]) {
    for (const [port, code] of Object.entries(codes)) {
      const socket = guest.connect({ hostname, port: Number(port) }, { connectTimeout: "2s" });
      const error = await socket.opened.catch((error) => error);
      assert.ok(error instanceof SocketError, `${hostname} ${port}`);
      // Errors by ICMP are soft while a connection is being opened (RFC 1122 §4.2.3.9): the time limit may be first.
      assert.ok([code, "ETIMEDOUT"].includes(error.code), `${hostname} ${port}: ${error}`);
    }
  }
  engine.close();
});

test("what a handler throws refuses the flow and is reported", async () => {
  const { engine, guest, router, nic } = await guestAndRouter();
  const reported = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => reported.push(error.message));
  try {
    router.acceptAny(nic, {
      onflow: (flow) => {
        if (flow.local.port === 1) throw new Error("thrown");
        return Promise.reject(new Error("rejected"));
      },
    });
    for (const port of [1, 2]) {
      await assert.rejects(guest.connect(`192.0.2.7:${port}`).opened, hasCode("ECONNREFUSED"));
    }
    await until(() => reported.length === 2, "the reports");
    assert.deepEqual(reported.sort(), ["rejected", "thrown"]);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
  engine.close();
});

test("a peer that has given up cannot be accepted, and a handshake that does not end settles", async () => {
  const clock = new ManualClock();
  const { engine, guest, router, nic, link } = await guestAndRouter({ clock });
  const flows = [];
  const taker = router.acceptAny(nic, { onflow: (flow) => void flows.push(flow), timeout: "20s" });
  const ask = async () => {
    const socket = guest.connect("192.0.2.7:80");
    await clock.advance(10);
    assert.equal(flows.length, 1);
    return { socket, flow: flows.pop() };
  };
  // Its SYN again is no other flow.
  const first = await ask();
  await clock.advance(4_000);
  assert.equal(flows.length, 0);
  assert.ok(router.counters().flow_pending > 0);
  first.socket.abort();
  await clock.advance(25_000);
  flows.length = 0;
  await assert.rejects(first.flow.accept(), hasCode("ECONNRESET"));

  const second = await ask();
  link.unplug();
  const accepting = second.flow.accept();
  const outcome = assert.rejects(accepting, hasCode("ETIMEDOUT"));
  await clock.advance(300_000);
  await outcome;
  second.socket.abort();
  taker.close();
  await settle();
  engine.close();
});

test("only so many flows of a source wait, and closing ends all of it", async () => {
  const { engine, guest, router, nic } = await guestAndRouter();
  const flows = [];
  const taker = router.acceptAny(nic, { onflow: (flow) => void flows.push(flow), perSource: 3 });
  assert.throws(() => router.acceptAny(nic, { onflow: () => {} }), /are taken already/);
  const sockets = [1, 2, 3, 4, 5].map((port) => guest.connect(`192.0.2.7:${port}`));
  await until(() => router.counters().flow_table_full >= 2, "flows too many");
  assert.equal(flows.length, 3);
  const accepting = flows[0].accept();
  await (await accepting).close();
  taker.close();
  assert.throws(() => flows[1].refuse(), hasCode("ABORT_ERR"));
  for (const socket of sockets) socket.abort();
  // The stack takes no flows now, and they may be taken again.
  router.acceptAny(nic, { onflow: (flow) => flow.refuse() }).close();
  assert.throws(() => router.acceptAny(nic, {}), /options\.onflow must be a function/);
  assert.throws(() => router.acceptAny(nic, { onflow() {}, perSource: 0 }), /perSource/);
  engine.close();
});

test("a flow of datagrams becomes a socket in the name of whom they are for", async () => {
  const { engine, guest, router, nic } = await guestAndRouter();
  const flows = [];
  const taker = router.acceptAny(nic, {
    onflow: (flow) => flow.refuse(),
    onudpflow: (flow) => void flows.push(flow),
  });
  const client = guest.bindUdp();
  for (const address of ["192.0.2.53", "2001:db8::53"]) {
    const to = { remoteAddress: address, remotePort: 53 };
    client.send(Uint8Array.of(1), to);
    client.send(Uint8Array.of(2), to);
    await until(() => flows.length === 1, "the flow");
    const [flow] = flows.splice(0);
    assert.deepEqual(flow.local, { address, port: 53 });
    assert.equal(flow.remote.port, client.address.port);
    assert.equal(flow.nic, nic);
    const socket = flow.accept();
    assert.throws(() => flow.refuse(), /decided/);
    assert.deepEqual([socket.address, socket.remote], [flow.local, flow.remote]);
    for (const byte of [1, 2]) assert.deepEqual((await socket.receive()).data, Uint8Array.of(byte));
    socket.send(Uint8Array.of(3));
    const answer = await client.receive();
    assert.deepEqual([answer.remoteAddress, answer.remotePort], [address, 53]);
    assert.deepEqual(answer.data, Uint8Array.of(3));
    // What comes for the socket later does not ask again, until it is closed.
    client.send(Uint8Array.of(4), to);
    assert.deepEqual((await socket.receive()).data, Uint8Array.of(4));
    assert.equal(flows.length, 0);
    await socket.close();
    client.send(Uint8Array.of(5), to);
    await until(() => flows.length === 1, "the flow again");
    flows.pop().refuse();
  }
  // An error that the guest reports comes to the socket, and says of whom.
  client.send(Uint8Array.of(6), { remoteAddress: "192.0.2.53", remotePort: 53 });
  await until(() => flows.length === 1, "the flow");
  const socket = flows.pop().accept();
  const errors = [];
  socket.onerror = (error, target) => errors.push([error.code, target.address]);
  const { remote } = socket;
  await client.close();
  socket.send(Uint8Array.of(7));
  await until(() => errors.length > 0, "the error");
  assert.deepEqual(errors, [["ECONNREFUSED", remote.address]]);
  taker.close();
  engine.close();
});

test("a flow of datagrams that leads nowhere is told to be unreachable, and too many wait in vain", async () => {
  const { engine, guest, router, nic } = await guestAndRouter();
  const verdicts = {
    1: (flow) => flow.refuse(),
    2: (flow) => flow.unreachable(),
    3: (flow) => flow.unreachable("prohibited"),
    4: () => {},
  };
  const taker = router.acceptAny(nic, {
    onflow: (flow) => flow.refuse(),
    onudpflow: (flow) => verdicts[Math.min(flow.local.port, 4)](flow),
    perSource: 3,
  });
  const client = guest.bindUdp();
  const errors = [];
  client.onerror = (error, target) => errors.push([error.code, target.address]);
  for (const remoteAddress of ["192.0.2.53", "2001:db8::53"]) {
    for (const [remotePort, code] of [
      [1, "ECONNREFUSED"],
      [2, "EHOSTUNREACH"],
      [3, "EHOSTUNREACH"],
    ]) {
      client.send(Uint8Array.of(3), { remoteAddress, remotePort });
      await until(() => errors.length > 0, "the error");
      assert.deepEqual(errors.pop(), [code, remoteAddress]);
    }
  }
  const before = router.counters().flow_table_full;
  for (const remotePort of [10, 11, 12, 13]) {
    client.send(Uint8Array.of(4), { remoteAddress: "192.0.2.53", remotePort });
  }
  await until(() => router.counters().flow_table_full === before + 1, "one too many");
  taker.close();
  assert.throws(() => router.acceptAny(nic, { onflow() {}, onudpflow: 1 }), /onudpflow/);
  engine.close();
});
