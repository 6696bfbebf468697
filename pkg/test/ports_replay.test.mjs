// Recordings as ports: what was captured here, and files of other programs' making, in the time of the engine.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  capture,
  createCable,
  createEngine,
  createStack,
  functionPort,
  plug,
  replayPort,
} from "ethertab";
import { connected, ManualClock, settle, twoStacks, writeAll } from "./support.mjs";

const hasEditcap = (() => {
  try {
    execFileSync("editcap", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** A recording of a ping, a second of nothing and a transfer, with the frames that it has. */
async function recorded() {
  const clock = new ManualClock();
  const { engine, a, b, nicA } = await twoStacks({ clock });
  const seen = capture(nicA);
  const ping = a.ping("10.0.0.2");
  await settle();
  await ping;
  await clock.advance(1_000);
  const joining = connected({ a, b });
  await clock.advance(10);
  const { client } = await joining;
  await writeAll(client.writable, new Uint8Array(20_000));
  await clock.advance(200);
  const frames = [];
  seen.stop();
  for await (const { data, time } of seen.frames) frames.push({ data, time });
  const file = await seen.pcapng();
  engine.close();
  return { file, frames };
}

/** A network with an observer, in time that the test moves. */
async function watched() {
  const clock = new ManualClock();
  const engine = await createEngine({ clock });
  const cable = await createCable({ engine });
  const seen = [];
  plug(
    cable.b,
    functionPort({ send: (frame) => seen.push({ at: clock.now(), data: frame.slice() }) }),
  );
  return { clock, engine, end: cable.a, seen };
}

test("a recording comes again, in its own time or faster", async () => {
  const { file, frames } = await recorded();
  const span = frames.at(-1).time - frames[0].time;
  assert.ok(frames.length > 20 && span > 1_000);
  for (const speed of [1, 10, Number.POSITIVE_INFINITY]) {
    const { clock, engine, end, seen } = await watched();
    const port = replayPort(file, { speed });
    await clock.advance(500);
    plug(end, port);
    await clock.advance(span / speed + 1);
    assert.deepEqual(await port.finished, { played: frames.length, skipped: 0, isComplete: true });
    assert.deepEqual(
      seen.map(({ data }) => data),
      frames.map(({ data }) => data),
    );
    for (const [index, { at }] of seen.entries()) {
      const due = 500 + (frames[index].time - frames[0].time) / speed;
      assert.ok(Math.abs(at - due) <= 1, `${at} instead of ${due}`);
    }
    port.close();
    engine.close();
  }
});

test("a recording stops while it is unplugged, and goes on from there", async () => {
  const { file, frames } = await recorded();
  const { clock, end, seen, engine } = await watched();
  const port = replayPort(file);
  plug(end, port);
  await clock.advance(100);
  const first = seen.length;
  assert.ok(first > 0 && first < frames.length);
  port.unplug();
  await clock.advance(60_000);
  assert.equal(seen.length, first);
  assert.equal(clock.timers, 0);
  // Into another engine.
  const other = await watched();
  plug(other.end, port);
  await other.clock.advance(2_000);
  assert.equal(seen.length + other.seen.length, frames.length);
  assert.equal((await port.finished).played, frames.length);
  engine.close();
  other.engine.close();
});

test("a filter chooses, and a close or a signal ends it", async () => {
  const { file, frames } = await recorded();
  const { clock, end, seen, engine } = await watched();
  const told = [];
  const port = replayPort(file, {
    speed: Number.POSITIVE_INFINITY,
    filter: (packet) => {
      told.push(packet);
      return packet.data[12] === 0x08 && packet.data[13] === 0;
    },
  });
  plug(end, port);
  await clock.advance(1);
  const { played, skipped } = await port.finished;
  assert.equal(played + skipped, frames.length);
  assert.equal(seen.length, played);
  assert.ok(skipped >= 2 && played > 20);
  assert.deepEqual(
    told.map(({ index, linkType, interface: on, length }) => [index, linkType, on, length]),
    frames.map(({ data }, index) => [index, 1, 0, data.length]),
  );
  assert.ok(told.every(({ time }, index) => Math.abs(time - frames[index].time) < 0.01));

  port.close();
  const ending = new AbortController();
  const cut = replayPort(file, { signal: ending.signal });
  plug(end, cut);
  await clock.advance(1);
  ending.abort();
  const report = await cut.finished;
  assert.ok(report.played < frames.length);
  assert.equal(report.isComplete, false);
  assert.equal(clock.timers, 0);
  engine.close();
});

test("packets without a link header are played to an interface that wants them so", async () => {
  const engine = await createEngine();
  const [a, b] = [await createStack({ engine }), await createStack({ engine })];
  const options = (last) => ({ medium: "ip", addresses: [`10.8.0.${last}/24`] });
  const nic = a.addInterface(options(1));
  const link = plug(nic, b.addInterface(options(2)));
  const seen = capture(nic);
  await a.ping("10.8.0.2");
  const file = await seen.pcapng();
  link.unplug();
  const heard = capture(nic);
  const port = replayPort(file, { medium: "ip", speed: Number.POSITIVE_INFINITY });
  plug(nic, port);
  const { played, skipped } = await port.finished;
  assert.deepEqual([played >= 2, skipped], [true, 0]);
  await settle();
  // The reply of then, and the stack's answers to the request.
  assert.ok(heard.length >= 2);
  const none = replayPort(file);
  link.unplug();
  port.close();
  plug(nic, none);
  assert.deepEqual(await none.finished, { played: 0, skipped: played, isComplete: true });
  engine.close();
});

test("other programs' files are read: pcap in both resolutions, compressed times, cut packets", {
  skip: !hasEditcap && "editcap is not installed",
}, async () => {
  const { file, frames } = await recorded();
  const folder = await mkdtemp(join(tmpdir(), "ethertab-"));
  const path = join(folder, "in.pcapng");
  await writeFile(path, file);
  for (const [format, more, whole] of [
    ["pcap", [], frames.length],
    ["nsecpcap", [], frames.length],
    ["pcapng", [], frames.length],
    ["pcapng", ["-s", "60"], frames.filter(({ data }) => data.length <= 60).length],
  ]) {
    const out = join(folder, "out");
    execFileSync("editcap", ["-F", format, ...more, path, out]);
    const { clock, end, seen, engine } = await watched();
    const port = replayPort(new Uint8Array(await readFile(out)), { speed: 100 });
    plug(end, port);
    await clock.advance(100);
    assert.deepEqual(await port.finished, {
      played: whole,
      skipped: frames.length - whole,
      isComplete: true,
    });
    const expected = frames.filter(({ data }) => more.length === 0 || data.length <= 60);
    assert.deepEqual(
      seen.map(({ data }) => data),
      expected.map(({ data }) => data),
    );
    engine.close();
  }
  await rm(folder, { recursive: true });
});

/** A block of pcapng, in a byte order. */
function block(little, type, body) {
  const padded = Buffer.concat([Buffer.from(body), Buffer.alloc(-body.length & 3)]);
  const bytes = Buffer.alloc(12 + padded.length);
  const put = (value, at) =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  put(type, 0);
  put(bytes.length, 4);
  padded.copy(bytes, 8);
  put(bytes.length, bytes.length - 4);
  return bytes;
}

/** Numbers of 32 bits, or bytes as they are. */
const words = (little, ...values) =>
  Buffer.concat(
    values.map((value) => {
      if (typeof value !== "number") return Buffer.from(value);
      const bytes = Buffer.alloc(4);
      if (little) bytes.writeUInt32LE(value);
      else bytes.writeUInt32BE(value);
      return bytes;
    }),
  );

const FRAME = Buffer.alloc(60).fill(0xff, 0, 6).fill(2, 6, 12);

/** A section of all kinds of blocks with packets, an unknown one, and an interface whose clock ticks in 1/1024 seconds from the year 2000 on. */
function section(little) {
  const half = (value) => {
    const bytes = Buffer.alloc(2);
    if (little) bytes.writeUInt16LE(value);
    else bytes.writeUInt16BE(value);
    return bytes;
  };
  const offset = Buffer.alloc(8);
  if (little) offset.writeBigInt64LE(946_684_800n);
  else offset.writeBigInt64BE(946_684_800n);
  const option = (code, value) =>
    Buffer.concat([half(code), half(value.length), value, Buffer.alloc(-value.length & 3)]);
  const options = [
    option(9, Buffer.from([0x80 | 10])),
    option(14, offset),
    option(0, Buffer.alloc(0)),
  ];
  return Buffer.concat([
    block(little, 0x0a0d0d0a, words(little, 0x1a2b3c4d, half(1), half(0), 0xffffffff, 0xffffffff)),
    block(little, 1, words(little, half(1), half(0), 0)),
    block(little, 1, words(little, half(1), half(0), 96, ...options)),
    block(little, 6, words(little, 1, 0, 1_024, 60, 60, FRAME)),
    block(little, 0x0bad, Buffer.alloc(17)),
    block(little, 2, words(little, half(1), half(0), 0, 2_048, 60, 60, FRAME)),
    block(little, 3, words(little, 60, FRAME)),
    // Of an interface that there is not, longer than its block, and of no length at all.
    block(little, 6, words(little, 7, 0, 0, 60, 60, FRAME)),
    block(little, 6, words(little, 0, 0, 0, 0xffffffff, 60, FRAME)),
    block(little, 6, words(little, 0)),
    block(little, 3, words(little, 0xffffffff, FRAME)),
  ]);
}

test("both byte orders, sections of both, all blocks, clocks of other rates", async () => {
  const file = Buffer.concat([section(true), section(false)]);
  const { clock, engine, end } = await watched();
  const told = [];
  const port = replayPort(file, { speed: 1e12, filter: (packet) => told.push(packet) > 0 });
  plug(end, port);
  await clock.advance(1);
  assert.deepEqual(await port.finished, { played: 6, skipped: 0, isComplete: true });
  const year2000 = Date.UTC(2000, 0, 1);
  const times = [1_000, 2_000, 2_000].map((since) => year2000 + since);
  assert.deepEqual(
    told.map(({ time, interface: on, length }) => [time, on, length]),
    [...times, ...times].map((time, index) => [time, index % 3 === 2 ? 0 : 1, 60]),
  );
  engine.close();
});

test("a file that is cut or damaged anywhere gives what was before, and never more work than its length", async () => {
  const whole = Buffer.concat([section(true), section(false)]);
  const { clock, engine, end } = await watched();
  const play = async (bytes) => {
    let port;
    try {
      port = replayPort(bytes, { speed: Number.POSITIVE_INFINITY });
    } catch (error) {
      assert.equal(error.name, "TypeError");
      return null;
    }
    plug(end, port);
    await clock.advance(1);
    const report = await port.finished;
    port.close();
    return report;
  };
  for (let length = 0; length < whole.length; length += 5) {
    const report = await play(whole.subarray(0, length));
    if (report !== null) assert.ok(report.played <= 6 && (!report.isComplete || length % 4 === 0));
  }
  let seed = 1;
  for (let round = 0; round < 150; round += 1) {
    const bytes = Buffer.from(whole);
    for (let change = 0; change < 4; change += 1) {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      bytes[seed % bytes.length] = seed >>> 16;
    }
    const report = await play(bytes);
    if (report !== null) assert.ok(report.played + report.skipped <= 12);
  }
  for (const bytes of [
    new Uint8Array(0),
    Buffer.from("GET / HTTP/1.1\r\n\r\n, or so"),
    new Uint8Array(100),
  ]) {
    assert.equal(await play(bytes), null);
  }
  assert.throws(() => replayPort("file"), TypeError);
  assert.throws(() => replayPort(whole, { speed: 0 }), RangeError);
  assert.throws(() => replayPort(whole, { speed: Number.NaN }), RangeError);
  assert.throws(() => replayPort(whole, { medium: "token ring" }), RangeError);
  engine.close();
});
