// What UDP sockets may be told.

import assert from "node:assert/strict";
import { test } from "node:test";
import { capture, SocketError } from "ethertab";
import { twoStacks } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;
const BYTE = Uint8Array.of(1);

test("settings are told as they are, and count for what is sent from then on", async () => {
  const { engine, a, b } = await twoStacks();
  const server = b.bindUdp({ port: 7 });
  const client = a.bindUdp({ ttl: 5 });
  const defaults = {
    ttl: 5,
    multicastTtl: 1,
    trafficClass: 0,
    broadcast: true,
    dontFragment: false,
    checksum: true,
    sharePort: false,
    multicastLoop: true,
  };
  assert.deepEqual(client.settings(), defaults);
  client.setOptions({ ttl: null, trafficClass: 0xb8 });
  assert.deepEqual(client.settings(), { ...defaults, ttl: null, trafficClass: 0xb8 });
  for (const remoteAddress of ["10.0.0.2", "fd00::2"]) {
    client.send(BYTE, { remoteAddress, remotePort: 7 });
    const { ttl, trafficClass } = await server.receive();
    assert.deepEqual([ttl, trafficClass], [64, 0xb8]);
  }
  assert.throws(() => client.setOptions({ ttl: 256 }), /settings\.ttl must be an integer/);
  assert.throws(() => client.setOptions({ colour: 1 }), /settings\.colour is no setting of UDP/);
  assert.throws(() => a.bindUdp({ checksum: "yes" }), /options\.checksum must be a boolean/);
  await client.close();
  assert.equal(client.settings(), null);
  engine.close();
});

test("a connected socket sends without an address and receives from its peer only", async () => {
  const { engine, a, b } = await twoStacks();
  for (const [own, other] of [
    ["10.0.0.1", "10.0.0.2"],
    ["fd00::1", "fd00::2"],
  ]) {
    const [peer, stranger] = [b.bindUdp(), b.bindUdp()];
    const socket = a.bindUdp();
    assert.throws(() => socket.send(BYTE), /to\.remoteAddress/);
    socket.connect({ address: other, port: peer.address.port });
    assert.deepEqual(socket.remote, { address: other, port: peer.address.port });
    const back = { remoteAddress: own, remotePort: socket.address.port };
    stranger.send(Uint8Array.of(66), back);
    socket.send(BYTE);
    assert.equal((await peer.receive()).remotePort, socket.address.port);
    peer.send(Uint8Array.of(2), back);
    assert.deepEqual((await socket.receive()).data, Uint8Array.of(2));
    assert.equal(socket.tryReceive(), null);
    socket.connect(null);
    assert.equal(socket.remote, null);
    stranger.send(Uint8Array.of(3), back);
    assert.deepEqual((await socket.receive()).data, Uint8Array.of(3));
  }
  const socket = a.bindUdp();
  assert.throws(() => socket.connect({ address: "192.0.2.1", port: 9 }), hasCode("ENETUNREACH"));
  assert.throws(() => socket.connect({ address: "10.0.0.2", port: 0 }), /peer\.port/);
  engine.close();
});

test("checksums, broadcasts and fragments can be done without", async () => {
  const { engine, a, b, nicA, nicB } = await twoStacks();
  const frames = [];
  const seen = capture(nicB);
  const watching = (async () => {
    for await (const { data } of seen.frames) frames.push(data);
  })();
  const server = b.bindUdp({ port: 7 });
  const to = { remoteAddress: "10.0.0.2", remotePort: 7 };
  const plain = a.bindUdp({ checksum: false });
  plain.send(BYTE, to);
  assert.deepEqual((await server.receive()).data, BYTE);
  plain.send(BYTE, { ...to, remoteAddress: "fd00::2" });
  await server.receive();

  const silent = a.bindUdp({ broadcast: false });
  const all = { remoteAddress: "10.0.0.255", remotePort: 7, nic: nicA };
  assert.throws(() => silent.send(BYTE, all), hasCode("EACCES"));
  silent.setOptions({ broadcast: true });
  silent.send(BYTE, all);
  assert.equal((await server.receive()).localAddress, "10.0.0.255");

  const whole = a.bindUdp({ dontFragment: true });
  assert.throws(() => whole.send(new Uint8Array(1_473), to), hasCode("EMSGSIZE"));
  whole.send(new Uint8Array(1_472), to);
  assert.equal((await server.receive()).data.length, 1_472);
  plain.send(new Uint8Array(1_473), to);
  assert.equal((await server.receive()).data.length, 1_473);

  seen.stop();
  await watching;
  const checksums = (family, at) =>
    frames
      .filter(
        (frame) =>
          frame[12] === family[0] && frame[13] === family[1] && frame[at - 26 + 3] !== undefined,
      )
      .filter(
        (frame) => (family[0] === 8 ? frame[23] === 17 : frame[20] === 17) && frame.length < 100,
      )
      .map((frame) => (frame[at] << 8) | frame[at + 1]);
  assert.equal(checksums([0x08, 0x00], 40)[0], 0);
  // RFC 8200 §8.1: over IPv6 there is always one.
  assert.notEqual(checksums([0x86, 0xdd], 60)[0], 0);
  engine.close();
});

test("sockets share a port where all of them want to", async () => {
  const { engine, a, b } = await twoStacks();
  const servers = [1, 2].map(() => b.bindUdp({ port: 7, sharePort: true }));
  assert.throws(() => b.bindUdp({ port: 7 }), hasCode("EADDRINUSE"));
  const clients = Array.from({ length: 32 }, () => a.bindUdp());
  for (const client of clients) client.send(BYTE, { remoteAddress: "10.0.0.2", remotePort: 7 });
  await a.ping("10.0.0.2");
  const counts = servers.map((server) => {
    let count = 0;
    while (server.tryReceive() !== null) count += 1;
    return count;
  });
  assert.equal(counts[0] + counts[1], 32);
  assert.ok(Math.min(...counts) > 0, String(counts));
  engine.close();
});

test("a socket listens to a group from the sources that it wants", async () => {
  const { engine, a, b, nicA, nicB } = await twoStacks();
  const wide = b.bindUdp({ port: 7, sharePort: true });
  const server = b.bindUdp({ port: 7, sharePort: true });
  for (const [group, source, stranger] of [
    ["239.1.2.3", "10.0.0.1", "10.0.0.9"],
    ["ff15::3", "fd00::1", "fd00::9"],
  ]) {
    const client = a.bindUdp();
    const send = async (value) => {
      client.send(Uint8Array.of(value), {
        remoteAddress: group,
        remotePort: 7,
        localAddress: source,
        nic: nicA,
      });
      await a.ping("10.0.0.2");
    };
    await send(1);
    server.joinGroup(group, nicB, { only: [stranger] });
    await send(2);
    server.joinGroup(group, nicB, { except: [stranger] });
    await send(3);
    server.joinGroup(group, nicB);
    await send(4);
    server.leaveGroup(group, nicB);
    await send(5);
    assert.deepEqual((await server.receive()).data, Uint8Array.of(3));
    assert.deepEqual((await server.receive()).data, Uint8Array.of(4));
    assert.equal(server.tryReceive(), null);
    assert.equal(wide.tryReceive(), null);
    assert.throws(() => server.leaveGroup(group, nicB), /was not joined/);
  }
  assert.throws(() => server.joinGroup("239.1.2.3", nicA), /must be an interface of b/);
  assert.throws(() => server.joinGroup("239.1.2.3", nicB, { only: [] }), /sources\.only/);
  engine.close();
});
