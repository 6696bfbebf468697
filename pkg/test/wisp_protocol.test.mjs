// The protocol of `wispEgress` against a server that does as the test says: what it sends, and what anything that comes does to it.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomBytes, verify } from "node:crypto";
import { after, test } from "node:test";
import { wispEgress } from "ethertab/gateway";
import { WispClient } from "../dist/gateway/egress/wisp_client.js";
import { parsePacket } from "../dist/gateway/egress/wisp_packets.js";
import { PACKET_COST, WispStream } from "../dist/gateway/egress/wisp_stream.js";
import { randomFor } from "../dist/testing/random.js";
import { ManualClock, pattern, readAll, settle, until } from "./support.mjs";
import { guestOf, packet, scriptedServer, WebSocket } from "./wisp_support.mjs";

const UDP = [1];
const CONFIRMATION = [5];

const cleanups = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

/** A guest behind a server that greets as it is told. */
async function scene({ greet, ...options } = {}) {
  const server = await scriptedServer(greet);
  const egress = wispEgress(server.url, { webSocket: WebSocket, ...options });
  const inside = await guestOf(egress);
  cleanups.push(async () => {
    await inside.close();
    server.close();
  });
  if (greet === undefined) await until(() => egress.state === "open", "the handshake");
  return { server, egress, peer: server.peers[0], ...inside };
}

/** Version 2 with extensions. */
const greetWith =
  (extensions, credit = 128) =>
  (peer) => {
    peer.send(packet.info(2, 1, extensions));
    peer.send(packet.continue(0, credit));
  };

/** A guest's connection, and the server's number of its stream. */
async function openStream({ guest, peer }) {
  const socket = guest.connect({ hostname: "host.test", port: 80 });
  const { stream } = await peer.next("connect");
  await socket.opened;
  return { socket, stream };
}

const confirmed = async (greet, options) => {
  const all = await scene({ greet, ...options });
  await until(() => all.egress.state === "open");
  return { ...all, peer: all.server.peers.at(-1) };
};

test("CONNECT names the host that the guest has looked up, or the address", async () => {
  const { guest, peer } = await scene();
  guest.connect({ hostname: "host.test", port: 443 });
  guest.connect({ hostname: "192.0.2.7", port: 22 });
  guest.connect({ hostname: "2001:db8::7", port: 65_535 });
  guest.bindUdp().send(new Uint8Array(1), { remoteAddress: "192.0.2.8", remotePort: 53 });
  const seen = [];
  for (let count = 0; count < 4; count += 1) {
    const { transport, hostname, port } = await peer.next("connect");
    seen.push(`${transport} ${hostname} ${port}`);
  }
  assert.deepEqual(seen.sort(), [
    "tcp 192.0.2.7 22",
    "tcp 2001:db8::7 65535",
    "tcp host.test 443",
    "udp 192.0.2.8 53",
  ]);
});

test("no more packets are sent than the server has room for", async () => {
  const { egress, guest, peer } = await confirmed((one) => one.send(packet.continue(0, 3)));
  const { socket, stream } = await openStream({ guest, peer });
  const data = pattern(1_000_000);
  const writing = socket.writable.getWriter().write(data);
  const payloads = [];
  const take = async (count) => {
    for (let index = 0; index < count; index += 1) payloads.push((await peer.next("data")).payload);
    await settle();
    assert.equal(peer.received.length, 0, "there is no packet beyond the credit");
  };
  await take(3);
  peer.send(packet.continue(stream, 0));
  await take(0);
  for (const credit of [1, 5, 2]) {
    peer.send(packet.continue(stream, credit));
    await take(credit);
  }
  // What is not sent waits in the guest: nothing was read of it.
  const sent = payloads.reduce((sum, { length }) => sum + length, 0);
  assert.equal(egress.counters().bytesSent, sent);
  peer.send(packet.continue(stream, 0xffff_ffff));
  for (let bytes = sent; bytes < data.length; ) {
    const { payload } = await peer.next("data");
    bytes += payload.length;
    payloads.push(payload);
  }
  await writing;
  assert.deepEqual(Buffer.concat(payloads), Buffer.from(data));
});

test("datagrams need no credit", async () => {
  const { guest, peer } = await confirmed((one) => one.send(packet.continue(0, 0)));
  const socket = guest.bindUdp();
  const to = { remoteAddress: "192.0.2.8", remotePort: 53 };
  for (let count = 0; count < 5; count += 1) socket.send(Uint8Array.of(count), to);
  const { stream } = await peer.next("connect");
  for (let count = 0; count < 5; count += 1) {
    assert.deepEqual([...(await peer.next("data")).payload], [count]);
  }
  peer.send(packet.data(stream, []));
  peer.send(packet.data(stream, [7]));
  assert.equal((await socket.receive()).data.length, 0);
  assert.deepEqual([...(await socket.receive()).data], [7]);
});

test("with open confirmation the guest's SYN is answered when the server has connected", async () => {
  const { guest, peer } = await confirmed(greetWith([UDP, CONFIRMATION]));
  const info = await peer.next("info");
  assert.equal(info.version, "2.1");
  assert.deepEqual([...info.extensions.keys()].sort(), [1, 5]);
  const socket = guest.connect({ hostname: "host.test", port: 80 });
  let isOpen = false;
  socket.opened.then(() => {
    isOpen = true;
  });
  const { stream } = await peer.next("connect");
  await settle();
  assert.equal(isOpen, false);
  peer.send(packet.continue(stream, 10));
  await socket.opened;
  const other = guest.bindUdp();
  other.send(Uint8Array.of(1), { remoteAddress: "192.0.2.8", remotePort: 53 });
  await peer.next("data");
});

test("with open confirmation a failure is what the guest sees", async () => {
  const { guest, peer } = await confirmed(greetWith([CONFIRMATION]));
  const outcomes = [
    [0x44, "ECONNREFUSED"],
    [0x42, "EHOSTUNREACH"],
    [0x48, "EHOSTUNREACH"],
    [0x41, "EHOSTUNREACH"],
    [0x49, "EHOSTUNREACH"],
    [0x03, "ECONNREFUSED"],
    [0x01, "ECONNREFUSED"],
    [0xee, "ECONNREFUSED"],
  ];
  for (const [reason, code] of outcomes) {
    const socket = guest.connect({ hostname: "host.test", port: 80 });
    const { stream } = await peer.next("connect");
    peer.send(packet.close(stream, reason));
    await assert.rejects(socket.opened, { code }, `reason ${reason.toString(16)}`);
  }
});

test("a connection that is not opened in time is closed, and the guest left waiting as by a silent host", async () => {
  const clock = new ManualClock();
  const { guest, peer, egress } = await confirmed(greetWith([CONFIRMATION]), { clock });
  const socket = guest.connect({ hostname: "host.test", port: 80 });
  const { stream } = await peer.next("connect");
  await clock.advance(19_999);
  assert.equal(egress.counters().streams, 1);
  await clock.advance(2);
  assert.equal(egress.counters().streams, 0);
  assert.equal((await peer.next("close")).stream, stream);
  socket.abort();
});

test("what ends an open connection ends the guest's as it should", async () => {
  const { guest, peer } = await scene();
  const ends = [
    { reason: 0x02, data: "all", code: null },
    { reason: 0x02, data: "", code: null },
    { reason: 0x01, data: "all", code: null },
    { reason: 0x01, data: "", code: "ECONNRESET" },
    { reason: 0x03, data: "all", code: "ECONNRESET" },
    { reason: 0x47, data: "", code: "ECONNRESET" },
  ];
  for (const { reason, data, code } of ends) {
    const { socket, stream } = await openStream({ guest, peer });
    if (data !== "") peer.send(packet.data(stream, data));
    peer.send(packet.close(stream, reason));
    if (code === null) {
      assert.equal((await readAll(socket.readable)).toString(), data);
      await socket.closed;
    } else {
      await assert.rejects(socket.closed, { code });
    }
  }
});

test("a guest that has ended its half is given time for the answer", async () => {
  const clock = new ManualClock();
  const { guest, peer, egress } = await confirmed((one) => one.send(packet.continue(0, 128)), {
    clock,
  });
  for (const isAnswered of [true, false]) {
    const socket = guest.connect({ hostname: "host.test", port: 80 }, { allowHalfOpen: true });
    const { stream } = await peer.next("connect");
    await socket.opened;
    const writer = socket.writable.getWriter();
    await writer.write(Buffer.from("question"));
    await writer.close();
    assert.equal((await peer.next("data")).payload.toString(), "question");
    const answer = readAll(socket.readable);
    await until(() => clock.timers > 0);
    await clock.advance(29_000);
    if (isAnswered) {
      peer.send(packet.data(stream, "answer"));
      await until(() => egress.counters().bytesReceived === 6);
      await clock.advance(29_000);
      peer.send(packet.close(stream, 0x02));
    } else {
      await clock.advance(2_000);
      assert.deepEqual(await peer.next("close"), { type: "close", stream, reason: 0x02 });
    }
    assert.equal((await answer).toString(), isAnswered ? "answer" : "");
    await socket.closed;
  }
});

test("what has come is not cut off for a guest that has ended its half and reads slowly", async () => {
  const clock = new ManualClock();
  const { guest, peer, egress } = await scene({ clock });
  const { socket, stream } = await openStream({ guest, peer });
  socket.shutdown();
  await settle();
  const data = pattern(900_000);
  for (let at = 0; at < data.length; at += 30_000) {
    peer.send(packet.data(stream, data.subarray(at, at + 30_000)));
  }
  await until(() => egress.counters().bytesReceived === data.length);
  await clock.advance(31_000);
  peer.send(packet.close(stream, 0x02));
  await until(() => egress.counters().streams === 0);
  await clock.advance(31_000);
  assert.deepEqual(await readAll(socket.readable), Buffer.from(data));
});

test("a download that exceeds its buffer is reset and counted; others go on", async () => {
  /** As those of browsers: it cannot be held back. */
  class Unpausable extends WebSocket {
    pause = undefined;
    resume = undefined;
  }
  const { guest, peer, egress } = await scene({ webSocket: Unpausable, maxBuffer: 300_000 });
  const { socket: lazy, stream } = await openStream({ guest, peer });
  const { socket: other, stream: fast } = await openStream({ guest, peer });
  const chunk = pattern(60_000);
  // The guest's receive buffer takes its part.
  while (egress.counters().overflows === 0) {
    peer.send(packet.data(stream, chunk));
    await settle();
  }
  assert.equal((await peer.next("close")).reason, 0x81);
  await assert.rejects(lazy.closed, { code: "ECONNRESET" });
  peer.send(packet.data(fast, "still here"));
  peer.send(packet.close(fast, 0x02));
  assert.equal((await readAll(other.readable)).toString(), "still here");
  assert.equal(egress.counters().overflows, 1);
});

test("all buffers together have a bound: the fullest goes", async () => {
  class Unpausable extends WebSocket {
    pause = undefined;
    resume = undefined;
  }
  const { guest, peer, egress } = await scene({
    webSocket: Unpausable,
    maxBuffer: 10_000_000,
    maxTotalBuffer: 400_000,
  });
  const streams = [];
  for (let count = 0; count < 3; count += 1) streams.push(await openStream({ guest, peer }));
  const [first, second, third] = streams;
  while (egress.counters().overflows === 0) {
    peer.send(packet.data(second.stream, pattern(30_000)));
    peer.send(packet.data(first.stream, pattern(10_000)));
    await settle();
  }
  assert.equal((await peer.next("close")).stream, second.stream);
  await assert.rejects(second.socket.closed, { code: "ECONNRESET" });
  for (const { socket } of [first, third]) socket.abort();
});

test("what waits of connections that the server has closed counts as well", async () => {
  class Unpausable extends WebSocket {
    pause = undefined;
    resume = undefined;
  }
  const { guest, peer, egress } = await scene({
    webSocket: Unpausable,
    maxBuffer: 10_000_000,
    maxTotalBuffer: 1_000_000,
  });
  const finished = [];
  while (egress.counters().overflows === 0) {
    assert.ok(finished.length < 40, "all together have a bound");
    const { socket, stream } = await openStream({ guest, peer });
    for (let sent = 0; sent < 30; sent += 1) peer.send(packet.data(stream, pattern(30_000)));
    peer.send(packet.close(stream, 0x02));
    await until(() => egress.counters().streams === 0);
    finished.push(socket);
  }
  const ends = await Promise.allSettled(finished.map((socket) => readAll(socket.readable)));
  assert.equal(ends.filter(({ status }) => status === "rejected").length, 1);
  assert.equal(ends.at(-1).status, "fulfilled", "the fullest goes, and not who still receives");
});

test("where the WebSocket can pause, a slow guest holds the server back; one that never reads is reset", async () => {
  const clock = new ManualClock();
  const { guest, peer, egress } = await scene({ clock });
  const { socket, stream } = await openStream({ guest, peer });
  const chunk = pattern(64 * 1024);
  const total = 24 * 1024 * 1024;
  for (let sent = 0; sent < total; sent += chunk.length) peer.send(packet.data(stream, chunk));
  peer.send(packet.close(stream, 0x02));
  await until(() => egress.counters().bytesReceived > 0);
  await settle();
  assert.ok(egress.counters().bytesReceived < total / 2, "most of it is not taken");
  let bytes = 0;
  for await (const piece of socket.readable) bytes += piece.byteLength;
  assert.equal(bytes, total);
  const { socket: lazy, stream: stuck } = await openStream({ guest, peer });
  for (let sent = 0; sent < total; sent += chunk.length) peer.send(packet.data(stuck, chunk));
  await until(() => egress.counters().bytesReceived > total);
  await settle();
  await clock.advance(5_000);
  await assert.rejects(lazy.closed, { code: "ECONNRESET" });
  assert.equal(egress.counters().overflows, 1);
});

test("whatever a server sends is bounded and counted, and what is right goes on", async () => {
  const { guest, peer, egress } = await scene();
  const { socket, stream } = await openStream({ guest, peer });
  const malformed = [
    Buffer.alloc(0),
    Buffer.from([2, 1, 0]),
    "text",
    packet.of(9, stream, Buffer.alloc(3)),
    packet.of(1, stream, Buffer.from([1, 80, 0, 104])),
    packet.of(3, stream, Buffer.alloc(3)),
    packet.of(3, stream, Buffer.alloc(5)),
    packet.of(4, stream, Buffer.alloc(2)),
    packet.of(5, 0, Buffer.from([2])),
    packet.of(5, 0, Buffer.from([2, 1, 1, 0xff, 0xff, 0xff, 0xff])),
    packet.of(5, stream, Buffer.from([2, 1])),
    packet.data(0, "nobody's"),
    packet.continue(0, 1),
    packet.info(2, 1, []),
  ];
  for (const bytes of malformed) peer.send(bytes);
  const strays = [packet.data(4_000_000_000, "x"), packet.continue(77, 1), packet.close(78, 2)];
  for (const bytes of strays) peer.send(bytes);
  for (let count = 0; count < 2_000; count += 1) {
    peer.send(packet.of(count % 7, count * 7919, randomBytes(count % 40)));
  }
  peer.send(packet.data(stream, "right"));
  peer.send(packet.close(stream, 0x02));
  assert.equal((await readAll(socket.readable)).toString(), "right");
  const { malformed: count, strays: stray, streams } = egress.counters();
  assert.ok(count >= malformed.length && stray >= strays.length, `${count}, ${stray}`);
  assert.equal(streams, 0);
  assert.equal(egress.state, "open");
});

test("a greeting has as many extensions as there are numbers for them", () => {
  const withCount = (count) =>
    parsePacket(
      packet.info(
        2,
        1,
        Array.from({ length: count }, (_, id) => [id & 255]),
      ),
    );
  assert.equal(withCount(256).extensions.length, 256);
  assert.equal(withCount(257), null);
});

test("packets are read in their order however many wait, and their bytes are counted", () => {
  let freed = 0;
  const host = { consumed: (_, bytes) => (freed += bytes), isFull: false, close() {}, send() {} };
  const events = { opened() {}, readable() {}, writable() {}, ended() {} };
  const stream = new WispStream(host, 1, { transport: "tcp", hostname: "h", port: 1 }, events);
  let sent = 0;
  let read = 0;
  const receive = (count) => {
    for (; count > 0; count -= 1, sent += 1) stream.receive(Buffer.from(`<${sent}>`));
  };
  const consume = (count) => {
    for (; count > 0; count -= 1, read += 1) {
      // In two parts, as a guest that has little room takes it.
      assert.equal(String(stream.peek()), `<${read}>`);
      stream.consume(1);
      assert.equal(String(stream.peek()), `${read}>`);
      stream.consume(stream.peek().length);
    }
  };
  for (const [more, fewer] of [
    [1, 1],
    [63, 10],
    [500, 64],
    [1_000, 1_400],
    [3, 0],
    [0, 92],
  ]) {
    receive(more);
    consume(fewer);
  }
  assert.deepEqual([sent, read, stream.peek(), stream.queued], [1_567, 1_567, null, 0]);
  assert.equal(
    freed,
    Array.from({ length: sent }, (_, at) => `<${at}>`).join("").length + sent * PACKET_COST,
  );
  receive(200);
  consume(100);
  stream.close();
  assert.deepEqual([stream.peek(), stream.queued], [null, 0]);
});

/** A client whose server is the test, all in one turn; `streams` are what it has opened, with what their users were told. */
function fuzzed(random, maxBuffer, maxTotalBuffer) {
  let link = null;
  let now = null;
  const clock = new ManualClock();
  const client = new WispClient({
    opener(_, events) {
      now = { ...events, isOpened: false };
      link = { isFull: false, canPause: true, send() {}, pause() {}, resume() {}, close() {} };
      return link;
    },
    version: 2,
    credentials: { password: null, key: null },
    clock,
    backoff: { next: () => 10 },
    maxStreams: 32,
    maxBuffer,
    maxTotalBuffer,
    openTimeout: 20_000,
    changed() {},
  });
  const streams = [];
  const below = (limit) => Math.floor(random.number() * limit);
  const open = () => {
    const told = { opened: 0, ended: [], stream: null };
    const check = () => assert.ok(told.ended.length === 0, "nothing is told after the end");
    told.stream = client.open(
      { transport: below(4) === 0 ? "udp" : "tcp", hostname: "h.test", port: 1 + below(65_535) },
      {
        opened() {
          check();
          told.opened += 1;
        },
        readable: check,
        writable: check,
        ended: (end) => told.ended.push(end),
      },
    );
    if (told.stream !== null) streams.push(told);
  };
  return { client, clock, streams, below, open, events: () => now };
}

test("random servers: whatever comes in whichever state, bounds hold and ends are told once", async () => {
  const [maxBuffer, maxTotalBuffer] = [8_000, 30_000];
  const seen = {};
  for (let seed = 0; seed < 40; seed += 1) {
    const scene = fuzzed(randomFor(BigInt(seed), "wisp"), maxBuffer, maxTotalBuffer);
    const { client, clock, streams, below, open, events } = scene;
    const bytes = (most) => Buffer.from(Array.from({ length: below(most) }, () => below(256)));
    const someStream = () =>
      [0, below(2 ** 32), 1 + below(99)][below(200)] ?? streams.at(-1 - below(12))?.stream.id ?? 1;
    const server = [
      () => packet.data(someStream(), Buffer.alloc(below(3_000))),
      () => packet.data(someStream(), Buffer.alloc(below(3_000))),
      () => packet.continue(someStream(), below(3) === 0 ? below(2 ** 32) : below(3)),
      () =>
        packet.close(someStream(), [1, 2, 3, 0x41, 0x42, 0x43, 0x44, 0x48, 0x81, 0xff][below(10)]),
      () => packet.of(below(7), someStream(), bytes(12)),
      () =>
        packet.info(below(4), below(4), [
          [below(7), bytes(9)],
          [below(7), bytes(9)],
        ]),
      () => bytes(20),
      () => null,
    ];
    const steps = [
      () => events().received(packet.continue(0, 1 + below(200))),
      () => events().received(packet.info(2, 1, below(2) ? [[1], [5]] : [])),
      open,
      () => {
        if (!events().isOpened) events().opened();
        events().isOpened = true;
      },
      () => {
        const { stream } = streams[below(streams.length)] ?? {};
        if (stream?.canSend) stream.send(stream.packet(below(100)));
        if (stream?.peek()) stream.consume(1 + below(stream.peek().byteLength));
      },
      () => below(20) === 0 && streams[below(streams.length)]?.stream.close(),
      () => below(60) === 0 && events().ended("cut"),
      () => below(8) === 0 && clock.advance(below(4_000)),
      () => events().drained(),
    ];
    client.start();
    for (let step = 0; step < 1_500; step += 1) {
      const isServers = below(3) > 0;
      if (isServers) events().received(server[below(server.length)]());
      else await steps[below(steps.length)]();
      const where = `seed ${seed}, step ${step}`;
      let total = 0;
      for (const { opened, ended, stream } of streams) {
        total += stream.queued;
        assert.ok(stream.queued >= 0 && stream.queued <= maxBuffer, `${where}: ${stream.queued}`);
        assert.ok(opened <= 1 && (ended.length <= 1 || ended.join() === "finished,reset"), where);
        assert.equal(stream.peek() === null, stream.queued === 0, where);
      }
      assert.ok(total <= maxTotalBuffer, `${where}: ${total} bytes`);
      assert.ok(client.counters().streams <= 32, where);
      if (client.state === "failed" || client.state === "closed") break;
    }
    client.shutdown();
    const { opened, overflows, malformed, strays, connects, ...counters } = client.counters();
    assert.equal(counters.streams, 0);
    for (const [name, count] of Object.entries({
      opened,
      overflows,
      malformed,
      strays,
      connects,
    })) {
      seen[name] = (seen[name] ?? 0) + count;
    }
    for (const { ended, stream } of streams) {
      assert.ok(ended.length > 0 || stream.queued === 0, `seed ${seed}: each stream has its end`);
    }
  }
  // What is tried is what is meant to be.
  for (const [name, count] of Object.entries(seen)) assert.ok(count >= 40, `${name}: ${count}`);
});

test("streams are bounded", async () => {
  const { guest, egress } = await scene({ maxStreams: 2 });
  for (let count = 0; count < 2; count += 1) {
    await guest.connect({ hostname: "host.test", port: 80 }).opened;
  }
  const third = guest.connect({ hostname: "host.test", port: 80 });
  await assert.rejects(third.opened, { code: "EHOSTUNREACH" });
  assert.equal(egress.counters().refused, 1);
});

test("a password is given to servers that ask for one", async () => {
  const { peer, egress } = await confirmed(greetWith([[2, Buffer.from([1])]]), {
    password: { username: "Zoë", password: "pässword" },
  });
  const metadata = (await peer.next("info")).extensions.get(2);
  const username = Buffer.from("Zoë");
  assert.equal(metadata[0], username.length);
  assert.equal(metadata.readUInt16LE(1), Buffer.from("pässword").length);
  assert.equal(metadata.subarray(3).toString(), "Zoëpässword");
  assert.equal(egress.version, 2);
});

test("a key signs the server's challenge", async () => {
  const challenge = randomBytes(64);
  const greet = greetWith([[3, Buffer.concat([Buffer.from([1, 1]), challenge])]]);
  const key = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const { peer } = await confirmed(greet, { key });
  const metadata = (await peer.next("info")).extensions.get(3);
  const raw = Buffer.from(await crypto.subtle.exportKey("raw", key.publicKey));
  assert.equal(metadata[0], 1);
  assert.deepEqual(metadata.subarray(1, 65), createHash("sha512").update(raw).digest());
  const { x } = await crypto.subtle.exportKey("jwk", key.publicKey);
  const publicKey = { key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" };
  assert.ok(verify(null, challenge, publicKey, metadata.subarray(65)));
});

test("a server that asks for credentials which were not given is not asked again", async () => {
  const greets = {
    password: greetWith([[2, Buffer.from([1])]]),
    "password of the first draft": greetWith([[2]]),
    key: greetWith([[3, Buffer.concat([Buffer.from([1, 1]), randomBytes(64)])]]),
  };
  for (const [what, greet] of Object.entries(greets)) {
    const { egress, server, guest, failures } = await scene({ greet });
    await until(() => egress.state === "failed", what);
    assert.match(egress.error.message, /the server asks for options\.(password|key)/);
    await until(() => server.peers[0].received.length > 0);
    assert.equal((await server.peers[0].next("close")).reason, 0x04);
    for (let count = 0; count < 2; count += 1) {
      const socket = guest.connect({ hostname: "host.test", port: 80 });
      await assert.rejects(socket.opened, { code: "EHOSTUNREACH" });
    }
    assert.equal(failures.length, 1, "the gateway is told once");
    assert.match(failures[0].message, /^wisp: the server asks for/);
    assert.equal(server.peers.length, 1);
  }
  // One that leaves it open is.
  const { egress } = await confirmed(greetWith([[2, Buffer.from([0])]]));
  assert.equal(egress.state, "open");
});

test("a server that rejects the credentials is not asked again", async () => {
  for (const reason of [0xc0, 0xc1, 0xc2, 0x04]) {
    const { egress, server } = await scene({
      greet: (peer) => peer.send(packet.close(0, reason)),
    });
    await until(() => egress.state === "failed");
    assert.match(egress.error.message, /closed the connection since/);
    assert.equal(server.peers.length, 1);
  }
});

test("UDP is told to be unreachable where the server has none", async () => {
  const { guest, peer } = await confirmed(greetWith([]));
  const socket = guest.bindUdp();
  const errors = [];
  socket.onerror = (error) => errors.push(error.code);
  socket.send(new Uint8Array(1), { remoteAddress: "192.0.2.8", remotePort: 53 });
  await until(() => errors.length > 0);
  assert.equal(peer.received.filter(({ type }) => type === "connect").length, 0);
});

test("a server that does not know the sub-protocol is asked without", async () => {
  const seen = [];
  /** Fails as browsers do if the server chooses no sub-protocol. */
  class Strict extends WebSocket {
    constructor(url, protocols) {
      seen.push(protocols);
      super(protocols.length > 0 ? "ws://127.0.0.1:1/" : url, protocols);
    }
  }
  const { egress, guest, server } = await scene({ webSocket: Strict });
  assert.deepEqual(seen, [["wisp-v2"], []]);
  assert.equal(egress.version, 1);
  const socket = guest.connect({ hostname: "host.test", port: 80 });
  await server.peers[0].next("connect");
  await socket.opened;
});

test("version 1 only: no sub-protocol, and no answer to INFO", async () => {
  const { egress, peer } = await confirmed(greetWith([UDP, CONFIRMATION]), { version: 1 });
  assert.equal(peer.protocol, null);
  assert.equal(egress.version, 1);
  await settle();
  assert.equal(peer.received.length, 0);
});

test("connecting again waits longer each time, and a guest's connection waits with it", async () => {
  const clock = new ManualClock();
  const attempts = [];
  let isUp = false;
  class Counted extends WebSocket {
    constructor(url, protocols) {
      if (protocols.length > 0) attempts.push(clock.now());
      super(isUp ? url : "ws://127.0.0.1:1/", protocols);
    }
  }
  const { egress, guest } = await scene({
    greet: (peer) => peer.send(packet.continue(0, 1)),
    webSocket: Counted,
    clock,
    reconnect: { minDelay: 1_000, maxDelay: 4_000, random: () => 1 },
  });
  for (const wait of [1_000, 2_000, 4_000]) {
    await until(() => egress.state === "waiting");
    const count = attempts.length;
    await clock.advance(wait - 1);
    assert.equal(attempts.length, count);
    const early = guest.connect({ hostname: "host.test", port: 80 });
    await settle();
    early.abort();
    await clock.advance(1);
    assert.equal(attempts.length, count + 1);
  }
  assert.match(egress.error.message, /closed/);
  await until(() => egress.state === "waiting");
  isUp = true;
  const socket = guest.connect({ hostname: "host.test", port: 80 });
  await settle();
  assert.equal(egress.counters().connects, 0);
  await clock.advance(4_000);
  await socket.opened;
  assert.deepEqual(attempts, [0, 1_000, 3_000, 7_000, 11_000]);
});

test("a guest that waits for a server for too long is told that the network is unreachable", async () => {
  const clock = new ManualClock();
  const { guest, egress } = await scene({ greet: () => {}, clock, openTimeout: "2s" });
  const socket = guest.connect({ hostname: "host.test", port: 80 });
  await until(() => egress.counters().streams === 1);
  await clock.advance(2_000);
  await assert.rejects(socket.opened, { code: "EHOSTUNREACH" });
  // A handshake has a limit of its own.
  assert.equal(egress.state, "connecting");
  await clock.advance(8_000);
  assert.equal(egress.state, "waiting");
  assert.match(egress.error.message, /no Wisp handshake/);
});

test("without reconnecting, the end of the WebSocket is the end", async () => {
  const states = [];
  const { egress, peer } = await scene({
    reconnect: false,
    onstate: ({ state }) => states.push(state),
  });
  peer.socket.close(1001, "maintenance");
  await until(() => egress.state === "failed");
  assert.match(egress.error.message, /code 1001: maintenance/);
  assert.deepEqual(states, ["open", "failed"]);
  egress.close();
  egress.close();
  assert.deepEqual(states, ["open", "failed", "closed"]);
});

test("close ends everything", async () => {
  const clock = new ManualClock();
  const { guest, peer, egress } = await scene({ clock });
  const { socket } = await openStream({ guest, peer });
  const over = new Promise((resolve) => peer.socket.once("close", resolve));
  egress.close();
  await assert.rejects(socket.closed, { code: "ECONNRESET" });
  await over;
  assert.equal(clock.timers, 0);
  assert.equal(egress.state, "closed");
});

test("misuse names the option", () => {
  const bad = [
    [["not a url"], /url must be one of a WebSocket/],
    [["ftp://example.com/"], /url must begin with ws: or wss:/],
    [[7], /url must be a string/],
    [["ws://h/", { version: 3 }], /options\.version must be 1 or 2, got 3/],
    [["ws://h/", { webSocket: "ws" }], /options\.webSocket must be a class/],
    [["ws://h/", { webSocket: WebSocket, maxStreams: 0 }], /options\.maxStreams/],
    [["ws://h/", { webSocket: WebSocket, openTimeout: "soon" }], /options\.openTimeout/],
    [["ws://h/", { webSocket: WebSocket, password: "x" }], /options\.password must be an object/],
    [
      ["ws://h/", { webSocket: WebSocket, password: { username: "u".repeat(256), password: "" } }],
      /options\.password\.username must have at most 255 bytes/,
    ],
    [
      ["ws://h/", { webSocket: WebSocket, key: generateKeyPairSync("ed25519") }],
      /options\.key must be a pair of Ed25519 keys/,
    ],
    [["ws://h/", { webSocket: WebSocket, reconnect: { minDelay: -1 } }], /options\.reconnect/],
  ];
  for (const [parameters, message] of bad) assert.throws(() => wispEgress(...parameters), message);
});
