// TCP's settings: of stacks, listeners and connections, and what they do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { capture } from "ethertab";
import { connected, ManualClock, pattern, twoStacks, until } from "./support.mjs";

/** Each setting with a value that is not its default, as it is told when it is given. */
const OTHERS = {
  congestionControl: "bbr",
  slowStartExit: "hystart",
  unusedWindow: "decays",
  ecn: "accurate",
  accEcnOption: "needed",
  synCookies: "always",
  mtuProbing: "always",
  manner: "freebsd",
  noDelay: true,
  cork: true,
  bufferTuning: false,
  pathMtuDiscovery: false,
  timestamps: false,
  sack: false,
  dsack: false,
  windowScaling: false,
  tailLossProbe: false,
  frto: false,
  ecnFallback: false,
  alternativeBackoff: true,
  rfc1337: true,
  exactResets: false,
  challengeSyns: false,
  trimToWindow: false,
  shrinkWindow: true,
  thinLinearTimeouts: true,
  keepAlive: { idle: 60_000, interval: 1_000, probes: 3 },
  sendBuffer: 100_000,
  initialSendBuffer: 50_000,
  receiveBuffer: 200_000,
  initialReceiveBuffer: 70_000,
  windowClamp: 60_000,
  notSentLowat: 16_384,
  receiveLowat: 5_000,
  maxSegmentSize: 1_000,
  hopLimit: 9,
  trafficClass: 0xb8,
  delayedAck: 10,
  initialRto: 3_000,
  minRto: 1_000,
  maxRto: 60_000,
  timeWait: 5_000,
  finWait2: 7_000,
  userTimeout: 30_000,
  linger: 0,
  challengeInterval: 100,
  deferAccept: 3_000,
  synRetries: 2,
  linearSynTimeouts: 4,
  synAckRetries: 3,
  retries: 4,
  orphanRetries: 5,
  initialWindow: 3,
  reordering: 6,
  maxReordering: 100,
  growthLimit: 2,
  compressedAcks: 0,
  maxPacingRate: 8_000_000,
};

test("each setting is told as it was given, and the others stay", async () => {
  const { engine, a } = await twoStacks();
  const defaults = a.tcpSettings();
  assert.deepEqual(Object.keys(defaults), Object.keys(OTHERS));
  for (const [name, value] of Object.entries(OTHERS)) {
    a.setTcpOptions({ [name]: value });
    assert.deepEqual(a.tcpSettings(), { ...defaults, [name]: value });
    a.setTcpOptions({ [name]: defaults[name] });
    assert.deepEqual(a.tcpSettings(), defaults, name);
  }
  a.setTcpOptions(OTHERS);
  assert.deepEqual(a.tcpSettings(), OTHERS);
  a.setTcpOptions({ keepAlive: true, minRto: "300ms", maxPacingRate: "80mbit", linger: undefined });
  const { keepAlive, minRto, maxPacingRate, linger } = a.tcpSettings();
  assert.deepEqual(keepAlive, OTHERS.keepAlive);
  assert.deepEqual([minRto, maxPacingRate, linger], [300, 80_000_000, 0]);
  engine.close();
});

test("a stack's settings are those of its sockets, which have their own where they are given", async () => {
  const network = await twoStacks({ tcp: { congestionControl: "reno", minRto: "300ms" } });
  const { engine, a } = network;
  const { client, server } = await connected(network, {
    connect: { tcp: { congestionControl: "bbr", noDelay: true } },
    listen: { tcp: { minRto: "1s" }, noDelay: true },
  });
  assert.equal(a.tcpSettings().congestionControl, "reno");
  const { congestionControl, noDelay, minRto } = client.tcpSettings();
  assert.deepEqual([congestionControl, noDelay, minRto], ["bbr", true, 300]);
  assert.equal(server.tcpSettings().congestionControl, "reno");
  assert.deepEqual([server.tcpSettings().noDelay, server.tcpSettings().minRto], [true, 1_000]);
  assert.equal(client.info().congestionControl, "bbr");
  assert.equal(server.info().congestionControl, "reno");
  client.abort();
  assert.equal(client.tcpSettings(), null);
  client.setTcpOptions({ cork: true });
  await assert.rejects(client.closed);
  engine.close();
});

test("a listener's settings change for connections to come", async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 7 });
  listener.setTcpOptions({ congestionControl: "reno", trafficClass: 8 });
  assert.equal(listener.tcpSettings().congestionControl, "reno");
  const client = a.connect("10.0.0.2:7");
  const server = await listener.accept();
  assert.equal(server.info().congestionControl, "reno");
  assert.equal(b.tcpSettings().congestionControl, "cubic");
  await listener.close();
  assert.equal(listener.tcpSettings(), null);
  listener.setTcpOptions({ noDelay: true });
  await client.opened;
  engine.close();
});

test("what the SYNs agree on is what both sides want", async () => {
  const tcp = { timestamps: false, sack: false, windowScaling: false, maxSegmentSize: 600 };
  const plain = await twoStacks();
  const { client } = await connected(plain, { connect: { tcp } });
  const { timestamps, sack, sndWscale, rcvWscale, mss, receiveWindow } = client.info();
  assert.deepEqual(
    { timestamps, sack, sndWscale, rcvWscale, mss },
    {
      timestamps: false,
      sack: false,
      sndWscale: null,
      rcvWscale: null,
      mss: 600,
    },
  );
  assert.ok(receiveWindow <= 65_535);
  plain.engine.close();
  const accurate = await twoStacks({ tcp: { ecn: "accurate" } });
  const pair = await connected(accurate);
  assert.deepEqual([pair.client.info().ecn, pair.server.info().ecn], ["accurate", "accurate"]);
  accurate.engine.close();
});

test("settings of an open connection take effect: cork, congestion control, keep-alive", async () => {
  const clock = new ManualClock();
  const network = await twoStacks({ clock });
  const opening = connected(network);
  await clock.advance(10);
  const { client, server } = await opening;
  client.setTcpOptions({ cork: true });
  client.tryWrite(pattern(100));
  await clock.advance(50);
  assert.equal(server.readableBytes, 0);
  client.setTcpOptions({ cork: false, congestionControl: "bbr" });
  await clock.advance(50);
  assert.equal(server.readableBytes, 100);
  assert.equal(client.info().congestionControl, "bbr");
  assert.equal(client.info().timers.keepAlive, null);
  client.setTcpOptions({ keepAlive: { idle: "10s", interval: "1s", probes: 3 } });
  assert.equal(client.info().timers.keepAlive, 10_000);
  network.link.unplug();
  const ended = assert.rejects(client.closed, { code: "ETIMEDOUT" });
  await clock.advance(14_000);
  await ended;
  network.engine.close();
});

test("userTimeout ends a connection whose peer is silent", async () => {
  const clock = new ManualClock();
  const network = await twoStacks({ clock });
  const opening = connected(network, { connect: { tcp: { userTimeout: "3s" } } });
  await clock.advance(10);
  const { client } = await opening;
  network.link.unplug();
  client.tryWrite(pattern(10));
  const ended = assert.rejects(client.closed, { code: "ETIMEDOUT" });
  await clock.advance(6_000);
  await ended;
  network.engine.close();
});

test("linger: 0 makes close a reset", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network, { connect: { tcp: { linger: 0 } } });
  client.tryWrite(pattern(10));
  const reset = assert.rejects(server.closed, { code: "ECONNRESET" });
  await client.close();
  await reset;
  network.engine.close();
});

test("fastOpen: from the second connection on, the SYN carries the first write", async () => {
  const { engine, a, b, nicB } = await twoStacks();
  const listener = b.listen({ port: 7, fastOpen: 10 });
  const talk = async () => {
    const client = a.connect("10.0.0.2:7", { fastOpen: true });
    client.tryWrite(pattern(50));
    const server = await listener.accept();
    await until(() => server.readableBytes === 50, "the request");
    await client.opened;
    await until(() => client.info().unacked === 0, "the acknowledgement");
    return client.info().synData;
  };
  assert.equal(await talk(), false);
  const frames = capture(nicB);
  assert.equal(await talk(), true);
  for await (const { summary } of frames.frames) {
    assert.match(summary, /TCP SYN .* len=50 /);
    break;
  }
  engine.close();
});
