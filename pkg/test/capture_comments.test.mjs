// What a stack's trace says of its packets is in its captures.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { capture, createCable, createEngine, createStack, createSwitch, plug } from "ethertab";
import { connected, ManualClock, readAll, settle, twoStacks, writeAll } from "./support.mjs";

const hasTshark = (() => {
  try {
    execFileSync("tshark", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

const isData = (frame) => frame.length > 200;

/** Lets no frame with data pass whose number, from 0, is among these. */
function loses(...numbers) {
  let number = -1;
  return (frame, direction) => {
    if (direction !== "out" || !isData(frame)) return true;
    number += 1;
    return !numbers.includes(number);
  };
}

/** Two stacks in time that the test moves, the first with a trace; `count` bytes go from it, and what the cable's end loses is lost. */
async function transfer(count, { trace = 10_000, hook = null } = {}) {
  const clock = new ManualClock();
  const engine = await createEngine({ clock });
  const a = await createStack({ engine, seed: 1, limits: { trace } });
  const b = await createStack({ engine, seed: 2 });
  const nicA = a.addInterface({ addresses: ["10.0.0.1/24"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24"] });
  const cable = await createCable({ engine, latency: 10 });
  plug(cable.a, nicA);
  plug(cable.b, nicB);
  const seen = capture(nicA, { trace: a.trace });
  const joining = connected({ a, b });
  await clock.advance(100);
  const { client, server } = await joining;
  // Here, so that the capture has the frames that are lost.
  cable.a.hook =
    hook === null ? null : (frame, direction) => hook(frame, direction === "in" ? "out" : "in");
  const done = Promise.all([
    readAll(server.readable),
    writeAll(client.writable, new Uint8Array(count)),
  ]);
  await clock.advance(20_000);
  assert.equal((await done)[0].length, count);
  return { engine, a, seen, clock };
}

async function framesOf(seen) {
  seen.stop();
  const frames = [];
  for await (const frame of seen.frames) frames.push(frame);
  return frames;
}

const seqOf = ({ data }) => Buffer.from(data).readUInt32BE(38);

test("a segment that was lost is commented where it is sent again, and the ACK that told of it", async () => {
  const { engine, seen } = await transfer(60_000, { hook: loses(5) });
  const frames = await framesOf(seen);
  const sent = frames.filter(({ direction, data }) => direction === "out" && isData(data));
  const lost = seqOf(sent[5]);
  const commented = frames.filter(({ comment }) => comment !== null);
  const again = commented.filter(({ comment }) => comment === "fast retransmit");
  assert.deepEqual(again.map(seqOf), [lost]);
  const told = commented.filter(({ comment }) => comment.includes("believed lost: 1"));
  assert.equal(told.length, 1);
  assert.equal(told[0].direction, "in");
  assert.match(told[0].comment, /recovery: \w+ to recovery/);
  assert.equal(told[0].time, again[0].time);
  assert.equal(frames[0].comment, null);
  engine.close();
});

test("the last segment's loss brings a TLP, and a silence retransmission timeouts", async () => {
  const tail = await transfer(3 * 1_448, { hook: loses(2) });
  const probes = (await framesOf(tail.seen)).filter(({ comment }) => comment === "TLP");
  assert.equal(probes.length, 1);
  tail.engine.close();

  const silent = await transfer(1_000, { hook: loses(0, 1, 2, 3) });
  const comments = (await framesOf(silent.seen)).map(({ comment }) => comment);
  assert.ok(
    comments.filter((comment) => comment === "retransmission timeout").length >= 2,
    `${comments}`,
  );
  silent.engine.close();
});

test("the trace's events still come to who asks, as many as it keeps", async () => {
  const { engine, a, seen } = await transfer(60_000, { hook: loses(5) });
  const events = a.trace.take();
  assert.ok(events.some(({ type, reason }) => type === "sent" && reason === "fastRetransmit"));
  assert.equal(a.trace.dropped, 0);
  assert.deepEqual(a.trace.take(), []);
  seen.stop();
  engine.close();

  const short = await transfer(600_000, { trace: 100 });
  assert.equal(short.a.trace.take().length, 100);
  assert.ok(short.a.trace.dropped > 200, `${short.a.trace.dropped} dropped`);
  const trace = short.a.trace;
  await short.a.close();
  assert.ok(trace.dropped > 200, `${trace.dropped} dropped in the end`);
  short.engine.close();
});

test("comments are in captures of switches, VLANs and interfaces without Ethernet, of both families", async () => {
  for (const [options, address] of [
    [{}, "10.0.0.2"],
    [{}, "fd00::2"],
    [{ medium: "ip" }, "10.0.0.2"],
    [{ medium: "ip" }, "fd00::2"],
    [{ vlan: 5 }, "10.0.0.2"],
    [{ vlan: 5 }, "fd00::2"],
  ]) {
    const clock = new ManualClock();
    const engine = await createEngine({ clock });
    const stacks = [];
    const nics = [];
    for (const last of [1, 2]) {
      const stack = await createStack({ engine, seed: last, limits: { trace: 1_000 } });
      const { vlan, ...more } = options;
      const addresses = [`10.0.0.${last}/24`, `fd00::${last}/64`];
      const nic = stack.addInterface(vlan === undefined ? { ...more, addresses } : {});
      if (vlan !== undefined) stack.addInterface({ vlan: { on: nic, id: vlan }, addresses });
      stacks.push(stack);
      nics.push(nic);
    }
    const [a, b] = stacks;
    let seen;
    if (options.medium === "ip") {
      plug(nics[0], nics[1]);
      seen = capture(nics[0], { trace: a.trace });
    } else {
      const lan = await createSwitch({ engine });
      for (const nic of nics) lan.plug(nic);
      seen = capture(lan, { trace: a.trace });
    }
    await clock.advance(2_000);
    const listener = b.listen({ port: 7 });
    await listener.listening;
    const socket = a.connect({ hostname: address, port: 7 });
    await clock.advance(50);
    await socket.opened;
    // Nothing comes back any more.
    nics[1].hook = () => false;
    const writer = socket.writable.getWriter();
    writer.write(new Uint8Array(500)).catch(() => {});
    await clock.advance(2_000);
    const comments = (await framesOf(seen))
      .map(({ comment }) => comment)
      .filter((comment) => comment !== null);
    assert.ok(
      comments.includes("TLP") && comments.includes("retransmission timeout"),
      `${JSON.stringify(options)} ${address}: ${comments}`,
    );
    writer.abort().catch(() => {});
    engine.close();
    await settle();
  }
});

test("tshark reads the comments, and calls the same segments retransmissions", {
  skip: !hasTshark && "tshark is not installed",
}, async () => {
  const { engine, seen } = await transfer(200_000, { hook: loses(5, 40, 41) });
  const folder = await mkdtemp(join(tmpdir(), "ethertab-"));
  const path = join(folder, "seen.pcapng");
  await writeFile(path, await seen.pcapng());
  const fields = ["-e", "frame.number", "-e", "frame.comment", "-e", "tcp.analysis.retransmission"];
  const lines = execFileSync(
    "tshark",
    ["-r", path, "-T", "fields", "-E", "separator=|", ...fields],
    {
      encoding: "utf8",
    },
  )
    .trim()
    .split("\n")
    .map((line) => line.split("|"));
  const frames = await framesOf(seen);
  assert.deepEqual(
    lines.map(([, comment]) => comment),
    frames.map(({ comment }) => comment ?? ""),
  );
  const again = (wanted) => lines.filter(wanted).map(([number]) => number);
  assert.ok(again(([, comment]) => comment === "fast retransmit").length >= 3);
  assert.deepEqual(
    again(([, comment]) => /fast retransmit|timeout/.test(comment)),
    again(([, , retransmission]) => retransmission !== ""),
  );
  await rm(folder, { recursive: true });
  engine.close();
});

test("a capture with comments wants a trace", async () => {
  const { engine, a, nicA } = await twoStacks();
  assert.throws(() => capture(nicA, { trace: a.trace }), {
    name: "TypeError",
    message: /no trace/,
  });
  assert.throws(() => capture(nicA, { trace: {} }), {
    name: "TypeError",
    message: /options\.trace/,
  });
  engine.close();
});
