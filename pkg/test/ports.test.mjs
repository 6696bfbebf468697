import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import {
  capture,
  createCable,
  createStack,
  createSwitch,
  functionPort,
  plug,
  v86Port,
  webSocketPort,
} from "ethertab";
import { WebSocket, WebSocketServer } from "ws";
import { connected, pattern, readAll, settle, twoStacks, until, writeAll } from "./support.mjs";

/** A relay that passes every message on to all others. */
async function hub() {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => {
    socket.on("message", (message, isBinary) => {
      for (const other of server.clients) {
        if (other !== socket && other.readyState === other.OPEN)
          other.send(message, { binary: isBinary });
      }
    });
  });
  await once(server, "listening");
  return { server, url: `ws://127.0.0.1:${server.address().port}` };
}

// P3: with text, and messages that are empty, no frame or longer than any, among the frames.
test("two stacks meet over a WebSocket hub; frames wait while it connects", async () => {
  const { server, url } = await hub();
  const a = await createStack({ hostname: "a" });
  const b = await createStack({ hostname: "b" });
  const nicA = a.addInterface({ addresses: ["10.0.0.1/24"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24"] });
  const portB = webSocketPort(new WebSocket(url));
  plug(nicB, portB);
  await portB.opened;
  const portA = webSocketPort(new WebSocket(url));
  plug(nicA, portA);
  // Sent before the socket is open.
  await a.ping("10.0.0.2");
  const { client, server: peer } = await connected({ a, b });
  const bytes = pattern(5 * 1024 * 1024);
  const [received] = await Promise.all([readAll(peer.readable), writeAll(client.writable, bytes)]);
  assert.equal(Buffer.compare(received, bytes), 0);

  // What is no frame is counted and does no harm.
  const [relayed] = server.clients;
  for (const message of ["text", new Uint8Array(0), new Uint8Array(13), new Uint8Array(70_000)]) {
    relayed.send(message);
  }
  await until(() => portA.counters.invalid + portB.counters.invalid === 4, "four invalid messages");
  await a.ping("10.0.0.2");

  portA.close();
  assert.equal((await portA.closed).code, 1005);
  await assert.rejects(a.ping("10.0.0.2", { timeout: 50 }));
  // A relay that goes away unplugs the port, which can be replaced.
  server.close();
  for (const socket of server.clients) socket.terminate();
  await portB.closed;
  plug(nicA, nicB);
  await a.ping("10.0.0.2");
  await Promise.all([a.close(), b.close()]);
});

test("a relay that cannot be reached rejects opened and resolves closed", async () => {
  const { server, url } = await hub();
  await new Promise((resolve) => server.close(resolve));
  const port = webSocketPort(new WebSocket(url));
  const stack = await createStack();
  plug(stack.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  await assert.rejects(port.opened, { name: "SocketError", code: "ECONNREFUSED" });
  assert.equal((await port.closed).code, 1006);
  await stack.close();
});

test("function ports carry frames between stacks, and count what they lose", async () => {
  const a = await createStack({ hostname: "a" });
  const b = await createStack({ hostname: "b" });
  let left;
  const lost = [];
  const right = functionPort({ send: (frame) => left.receive(frame) });
  left = functionPort({ send: (frame) => right.receive(frame), closed: () => lost.push("closed") });
  assert.equal(left.receive(new Uint8Array(60)), false);
  plug(a.addInterface({ addresses: ["10.0.0.1/24"] }), left);
  plug(b.addInterface({ addresses: ["10.0.0.2/24"] }), right);
  const { client, server } = await connected({ a, b });
  const bytes = pattern(1_000_000);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  assert.equal(left.receive(new Uint8Array(13)), false);
  const { dropped, invalid, framesReceived } = left.counters;
  assert.deepEqual({ dropped, invalid }, { dropped: 1, invalid: 1 });
  assert.ok(framesReceived > 600);
  left.close();
  left.close();
  assert.deepEqual(lost, ["closed"]);
  await Promise.all([a.close(), b.close()]);
});

test("a cable joins what is plugged into its ends, in either order, and comes apart", async () => {
  const { engine, a, nicA, nicB, link } = await twoStacks();
  link.unplug();
  const cable = await createCable({ engine, latency: 5 });
  const lan = await createSwitch({ engine });
  lan.plug(cable.b);
  plug(cable.a, nicA);
  lan.plug(nicB);
  const { rtt } = await a.ping("10.0.0.2");
  assert.ok(rtt >= 10, `${rtt} ms`);
  cable.set({ loss: 1 });
  await assert.rejects(a.ping("10.0.0.2", { timeout: 50 }));
  cable.set({ loss: 0, latency: 0 });
  await a.ping("10.0.0.2");
  lan.unplug(cable.b);
  await assert.rejects(a.ping("10.0.0.2", { timeout: 50 }));
  assert.deepEqual(lan.ports, [nicB]);
  lan.plug(cable.b);
  await a.ping("10.0.0.2");
  cable.close();
  cable.close();
  lan.unplug(nicB);
  plug(nicA, nicB);
  await a.ping("10.0.0.2");
  assert.throws(() => lan.plug(cable.a), /closed/);
  engine.close();
});

test("closing a nic takes it off the network", async () => {
  const { engine, a, b, nicA, nicB } = await twoStacks();
  await a.ping("10.0.0.2");
  nicB.close();
  nicB.close();
  assert.deepEqual(b.interfaces, []);
  assert.deepEqual(nicB.addresses, []);
  await assert.rejects(a.ping("10.0.0.2", { timeout: 50 }));
  plug(nicA, b.addInterface({ addresses: ["10.0.0.2/24"] }));
  // The new interface announces itself, and with that its MAC address.
  await settle();
  await a.ping("10.0.0.2");
  engine.close();
});

/**
 * A v86 with an NE2000 as the guest's driver leaves it: a ring of 52 pages, of which the guest takes up to nine frames in a
 * slice, when it was told.
 */
class FakeNe2k {
  name = "ne2k";
  cr = 2;
  isr = 0;
  imr = 0x3f;
  rxcr = 4 | 8;
  pstart = 0x4c;
  pstop = 0x80;
  curpg = 0x4d;
  boundary = 0x4c;
  ring = [];
  lost = 0;

  receive(frame) {
    const pages = 1 + ((Math.max(60, frame.byteLength) + 4) >> 8);
    const size = this.pstop - this.pstart;
    const free = (this.boundary - this.curpg + size) % size;
    const isMulticast = (frame[0] & 1) === 1 && frame[0] !== 0xff;
    if (free <= pages || (isMulticast && (this.rxcr & 16) === 0)) {
      this.lost += 1;
      return;
    }
    this.ring.push({ frame: frame.slice(), pages });
    this.curpg = this.pstart + ((this.curpg - this.pstart + pages) % size);
    this.do_interrupt(1);
  }

  do_interrupt(bits) {
    this.isr |= bits;
  }

  slice(deliver) {
    if ((this.isr & 1) === 0) return;
    for (const { frame, pages } of this.ring.splice(0, 9)) {
      const size = this.pstop - this.pstart;
      this.boundary = this.pstart + ((this.boundary - this.pstart + pages) % size);
      deliver(frame);
    }
    this.isr = 0;
  }
}

class FakeMachine {
  next_tick() {}
}

/** An emulator whose guest is another stack of this package behind the card. */
function fakeV86(card) {
  const listeners = new Map();
  const machine = new FakeMachine();
  machine.cpu = { flags: [0x200], devices: { net: card } };
  return {
    v86: machine,
    listeners,
    add_listener: (event, listener) => listeners.set(event, listener),
    remove_listener: (event) => listeners.delete(event),
    bus: { send: (_event, frame) => card.receive(frame) },
  };
}

test("a v86 guest with an NE2000 loses no frame of a bulk transfer", async () => {
  const card = new FakeNe2k();
  const emulator = fakeV86(card);
  const guest = await createStack({ hostname: "guest" });
  const page = await createStack({ hostname: "page" });
  const wire = functionPort({ send: (frame) => emulator.listeners.get("net0-send")?.(frame) });
  plug(guest.addInterface({ addresses: ["10.0.0.2/24", "fd00::2/64"] }), wire);
  const port = v86Port(emulator);
  plug(page.addInterface({ addresses: ["10.0.0.1/24", "fd00::1/64"] }), port);
  const ticking = setInterval(() => {
    card.slice((frame) => wire.receive(frame));
    emulator.v86.next_tick(0);
  }, 0);
  // Neighbour discovery is multicast, which the card drops when it is told to accept it.
  await page.ping("fd00::2");
  assert.equal(card.rxcr, 4 | 8);
  const { client, server } = await connected({ a: page, b: guest });
  const bytes = pattern(1_000_000);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  assert.equal(card.lost, 0);
  assert.equal(page.counters().tcp_timeouts, 0);

  assert.ok(Object.hasOwn(emulator.v86, "next_tick"));
  port.close();
  assert.equal(emulator.listeners.size, 0);
  assert.equal(Object.hasOwn(emulator.v86, "next_tick"), false);
  clearInterval(ticking);
  await Promise.all([guest.close(), page.close()]);
});

test("a v86 guest that takes no interrupts is not asked to, unless it was asked before", async () => {
  const card = new FakeNe2k();
  const emulator = fakeV86(card);
  const { cpu } = emulator.v86;
  const lan = await createSwitch();
  const wire = functionPort({ send() {} });
  const port = v86Port(emulator);
  lan.plug(wire);
  lan.plug(port);
  const frame = new Uint8Array(60).fill(0xff, 0, 6).fill(2, 6);
  cpu.flags[0] = 0;
  wire.receive(frame);
  await settle();
  emulator.v86.next_tick(0);
  assert.equal(card.ring.length, 0);
  cpu.flags[0] = 0x200;
  emulator.v86.next_tick(0);
  assert.equal(card.ring.length, 1);
  cpu.flags[0] = 0;
  wire.receive(frame);
  await settle();
  assert.equal(card.ring.length, 2);
  assert.equal(port.counters.dropped, 0);
  port.close();
  lan.close();
});

test("frames for a guest that is not up yet are dropped and counted", async () => {
  const card = new FakeNe2k();
  const emulator = fakeV86(card);
  const machine = emulator.v86;
  emulator.v86 = undefined;
  const page = await createStack({ hostname: "page" });
  const port = v86Port(emulator);
  plug(page.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  await assert.rejects(page.ping("10.0.0.2", { timeout: 20 }));
  const before = port.counters.dropped;
  assert.ok(before > 0);
  emulator.v86 = machine;
  card.cr = 1;
  await assert.rejects(page.ping("10.0.0.3", { timeout: 20 }));
  assert.ok(port.counters.dropped > before);
  assert.equal(card.lost, 0);
  await page.close();
});

test("a capture of a plugged-in outside port sees its frames", async () => {
  const stack = await createStack({ hostname: "page" });
  const port = functionPort({ send() {}, name: "vm" });
  plug(stack.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  const seen = capture(port);
  await assert.rejects(stack.ping("10.0.0.9", { timeout: 20 }));
  const frame = await first(seen.frames);
  assert.equal(frame.port, "vm");
  assert.equal(frame.direction, "in");
  seen.close();
  await stack.close();
});

async function first(frames) {
  for await (const frame of frames) return frame;
}
