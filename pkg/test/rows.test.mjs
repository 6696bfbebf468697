// What crosses from the module as rows of fields: the objects have exactly the fields of the types, each in its place.

import assert from "node:assert/strict";
import { test } from "node:test";
import { capture, plug } from "ethertab";
import { fieldsOf, recordOf, recordsOf, valuesOf } from "../dist/records.js";
import { RowReader } from "../dist/rows.js";
import { connected, twoOnSwitch, twoStacks, until } from "./support.mjs";

/** Checks an object's fields, all of them and in this order, each against a value, a type's name or a function. */
function assertFields(object, expected) {
  assert.deepEqual(Object.keys(object), Object.keys(expected));
  for (const [name, wanted] of Object.entries(expected)) {
    const value = object[name];
    if (typeof wanted === "function") assert.ok(wanted(value), `${name}: ${value}`);
    else if (wanted === Number || wanted === "number") assert.equal(typeof value, "number", name);
    else assert.deepEqual(value, wanted, name);
  }
}

/** The figures that stay while nothing happens. */
function steady({ id, state, mss, cwnd, timestamps, sndWscale, advmss }) {
  return { id, state, mss, cwnd, timestamps, sndWscale, advmss };
}

const positive = (value) => typeof value === "number" && value > 0;

test("a connection tells every field of ConnectionInfo", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  client.tryWrite(new Uint8Array(3_000));
  await until(() => server.readableBytes === 3_000, "the arrival");
  await until(() => client.info().bytesInFlight === 0, "the acknowledgement");
  const local = client.local;
  const remote = client.remote;
  assertFields(client.info(), {
    id: "number",
    state: "ESTABLISHED",
    local,
    remote,
    congestionControl: "cubic",
    congestionState: "open",
    cwnd: (cwnd) => cwnd >= 14_480,
    ssthresh: Number.POSITIVE_INFINITY,
    srtt: (value) => value >= 0,
    rttvar: (value) => value >= 0,
    minRtt: (value) => value >= 0,
    rto: (value) => value >= 200,
    backoff: 0,
    probes: 0,
    totalRto: 0,
    totalRtoRecoveries: 0,
    totalRtoTime: 0,
    bytesInFlight: 0,
    unacked: 0,
    sacked: 0,
    lost: 0,
    retrans: 0,
    retransmits: 0,
    reordering: 3,
    reordSeen: 0,
    dsackDups: 0,
    rcvOoopack: 0,
    delivered: positive,
    sendQueue: 0,
    receiveQueue: 0,
    sendBuffer: 262_144,
    receiveBuffer: 262_144,
    sendWindow: positive,
    receiveWindow: positive,
    rcvRtt: (value) => value === null || value >= 0,
    rcvSpace: (value) => value >= 0,
    mss: 1448,
    rcvMss: positive,
    advmss: 1460,
    pmtu: 1500,
    timestamps: true,
    sack: true,
    sndWscale: 7,
    rcvWscale: 7,
    ecn: "off",
    ecnSeen: false,
    synData: false,
    receivedCe: 0,
    receivedE1Bytes: 0,
    receivedE0Bytes: 0,
    receivedCeBytes: 0,
    deliveredCe: 0,
    deliveredE1Bytes: 0,
    deliveredE0Bytes: 0,
    deliveredCeBytes: 0,
    ato: (value) => value >= 0 && value <= 40,
    lastDataSent: (value) => value >= 0 && value < 5_000,
    lastDataReceived: (value) => value >= 0 && value < 5_000,
    lastReceived: (value) => value >= 0 && value < 5_000,
    pacingRate: (value) => value === null || value > 0,
    deliveryRate: (value) => value >= 0,
    deliveryRateAppLimited: (value) => typeof value === "boolean",
    bandwidth: null,
    bytesSent: 3_000,
    bytesAcked: 3_001,
    bytesRetrans: 0,
    bytesReceived: 0,
    segsOut: 5,
    dataSegsOut: 3,
    segsIn: positive,
    dataSegsIn: 0,
    busyTime: (value) => value >= 0 && value < 5_000,
    rwndLimited: 0,
    sndbufLimited: 0,
    timers: (timers) => Object.values(timers).every((delay) => delay === null || delay >= 0),
  });
  const [other] = network.b.connections();
  assertFields(
    { ...other },
    {
      ...Object.fromEntries(Object.keys(client.info()).map((name) => [name, () => true])),
      ...steady(server.info()),
      local: remote,
      remote: local,
      receiveQueue: 3_000,
      bytesSent: 0,
      bytesReceived: 3_000,
    },
  );
  assert.equal(network.a.connections().length, 1);
  network.engine.close();
});

test("a connection that was never answered has no round-trip time", async () => {
  const { engine, a, link } = await twoStacks();
  link.unplug();
  const lost = a.connect("10.0.0.2:80");
  const { state, srtt, rttvar } = lost.info();
  assert.deepEqual({ state, srtt, rttvar }, { state: "SYN-SENT", srtt: null, rttvar: null });
  lost.abort();
  await assert.rejects(lost.opened);
  await assert.rejects(lost.closed);
  engine.close();
});

test("neighbours, datagrams, pings and frames tell every field", async () => {
  const network = await twoStacks();
  const { a, b, nicA, nicB } = network;
  const captured = capture(nicB);
  assertFields(await a.ping("10.0.0.2", { size: 10 }), {
    address: "10.0.0.2",
    rtt: positive,
    ttl: 64,
    size: 10,
  });
  a.addNeighbor(nicA, "10.0.0.9", "02:00:00:00:00:09");
  const neighbors = new Map(a.neighbors().map((neighbor) => [neighbor.address, neighbor]));
  assertFields(neighbors.get("10.0.0.2"), {
    address: "10.0.0.2",
    mac: nicB.mac,
    state: "reachable",
    nic: "a:0",
  });
  assertFields(neighbors.get("10.0.0.9"), {
    address: "10.0.0.9",
    mac: "02:00:00:00:00:09",
    state: "permanent",
    nic: "a:0",
  });
  const to = b.bindUdp({ port: 7 });
  const from = a.bindUdp({ port: 8 });
  from.send(Uint8Array.of(1, 2, 3), { remoteAddress: "fd00::2", remotePort: 7 });
  assertFields(await to.receive(), {
    data: Uint8Array.of(1, 2, 3),
    remoteAddress: "fd00::1",
    remotePort: 8,
    localAddress: "fd00::2",
    nic: nicB,
    mac: (mac) => mac === null || mac === nicA.mac,
    ttl: 64,
    trafficClass: 0,
  });
  const failed = new Promise((resolve) => {
    from.onerror = (error, target) => resolve({ code: error.code, target });
  });
  from.send(new Uint8Array(1), { remoteAddress: "10.0.0.2", remotePort: 9 });
  assert.deepEqual(await failed, {
    code: "ECONNREFUSED",
    target: { address: "10.0.0.2", port: 9 },
  });
  for await (const frame of captured.frames) {
    if (!frame.summary.includes("UDP")) continue;
    assertFields(frame, {
      index: positive,
      time: positive,
      port: "b:0",
      direction: "in",
      length: 14 + 40 + 8 + 3,
      data: (data) => data.byteLength === 14 + 40 + 8 + 3,
      summary: (summary) => summary.includes("fd00::1"),
      comment: null,
    });
    break;
  }
  network.engine.close();
});

test("counters have their names", async () => {
  const { engine, a, nicA, nicB, lan } = await twoOnSwitch();
  await a.ping("10.0.0.2");
  assertFields(lan.counters(), {
    forwarded: positive,
    flooded: positive,
    filtered: 0,
    malformed: 0,
    stormDropped: 0,
    loopDropped: 0,
    spoofed: 0,
    rogue: 0,
  });
  const { framesSent, bytesSent, dropped } = nicB.counters;
  assertFields(nicA.counters, {
    framesReceived: framesSent - dropped,
    bytesReceived: (bytes) => bytes >= 98 + 42 && bytes <= bytesSent,
    framesSent: positive,
    bytesSent: (bytes) => bytes >= 98 + 42,
    dropped: "number",
    filtered: 0,
    invalid: 0,
  });
  const counters = a.counters();
  assert.equal(counters.frames_received, nicA.counters.framesReceived);
  assert.equal(counters.bytes_sent, nicA.counters.bytesSent);
  assert.equal(counters.tcp_checksum, 0);
  assert.ok(Object.values(counters).every((count) => Number.isInteger(count) && count >= 0));
  engine.close();
});

test("an interface that is opened and closed 1,000 times leaves nothing behind", async () => {
  const { engine, a, nicA, nicB } = await twoStacks({ limits: { interfaces: 2, routes: 4 } });
  nicA.close();
  const ports = new Set();
  let memory = 0;
  for (let round = 0; round < 1_000; round += 1) {
    const nic = a.addInterface({ addresses: ["10.0.0.3/24"], gateway: "10.0.0.2", name: "extra" });
    ports.add(nic.attach());
    nic.close();
    if (round === 10) memory = engine.memoryBytes;
  }
  assert.equal(ports.size, 1);
  assert.equal(engine.memoryBytes, memory);
  assert.equal(a.interfaces.length, 0);
  plug(a.addInterface({ addresses: ["10.0.0.3/24"] }), nicB);
  await a.ping("10.0.0.2");
  engine.close();
});

test("numbers are shown as their names say", () => {
  const [address, prefix, mac] = fieldsOf("a.address@ prefix/ mac#");
  const [flags, word] = fieldsOf("flags&flags state=states");
  const [text, domain, why] = fieldsOf("text$ domain% why!");
  const loopback = [0, 0, 0, 1];
  assert.deepEqual(recordOf([address], loopback), { a: { address: "::1" } });
  assert.deepEqual(recordOf([prefix], [...loopback, 64]), { prefix: "::1/64" });
  assert.deepEqual(recordOf([mac], [0x0200_0000_00ff]), { mac: "02:00:00:00:00:ff" });
  const memory = new TextEncoder().encode("EINVAL{} is wrong\x03www\x08exa mple\x00");
  const at = (address, length) => memory.subarray(address, address + length);
  assert.deepEqual(recordOf([text], [0, 6], 0, at), { text: "EINVAL" });
  assert.deepEqual(recordOf([domain], [17, 14], 0, at), { domain: "www.example" });
  const about = (kind, ...value) => {
    const numbers = [0, 6, 6, 11, kind, ...value, ...new Array(5 - value.length).fill(Number.NaN)];
    return recordOf([why], numbers, 0, at).why;
  };
  assert.deepEqual(about(1, 7), { code: "EINVAL", text: "7 is wrong" });
  assert.equal(about(2, ...loopback).text, "::1 is wrong");
  assert.equal(about(3, ...loopback, 80).text, "[::1]:80 is wrong");
  assert.equal(about(4, ...loopback, 128).text, "::1/128 is wrong");
  assert.equal(about(5, 255).text, "00:00:00:00:00:ff is wrong");
  assert.equal(about(6, 0, 6).text, "EINVAL is wrong");
  assert.equal(about(0).text, " is wrong");
  assert.throws(() => recordOf([text], [0, 6]), { name: "EngineError" });
  assert.deepEqual(recordOf([flags], [0x12]), { flags: ["SYN", "ACK"] });
  assert.deepEqual(recordOf([word], [3]), { state: "ESTABLISHED" });
  assert.deepEqual(recordOf([word], [99]), { state: "unknown" });
  assert.deepEqual(recordOf([flags, word], [Number.NaN, Number.NaN]), { flags: null, state: null });
  assert.throws(() => recordsOf([flags, word], [1, 2, 3]), { name: "EngineError" });
});

test("a row that is cut short and an option that the module does not know are errors", () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  new Uint8Array(memory.buffer).set(new TextEncoder().encode("one two"), 100);
  const reader = new RowReader(memory);
  assert.deepEqual(reader.objects([100, 7]), []);
  assert.deepEqual(reader.objects([100, 7, 1, undefined, "3", 0]), [
    { one: 1, two: null },
    { one: "3", two: 0 },
  ]);
  assert.throws(() => reader.objects([100, 7, 1, 2, 3]), { name: "EngineError" });
  const fields = fieldsOf("a b c");
  assert.deepEqual([...valuesOf(fields, { c: 3, a: 0 })], [0, Number.NaN, 3]);
  assert.throws(() => valuesOf(fields, { d: 1 }), { name: "EngineError", message: /\bd\b/ });
});
