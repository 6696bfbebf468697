import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { capture, createEngine, createStack, functionPort, plug } from "ethertab";
import {
  connected,
  pattern,
  readAll,
  twoOnSwitch,
  twoStacks,
  until,
  writeAll,
} from "./support.mjs";

function hasTshark() {
  try {
    execFileSync("tshark", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const LINKTYPE_ETHERNET = 1;
const LINKTYPE_RAW = 101;

/** The link type of a pcapng file's first interface, whose block follows the section's and begins with it. */
function linkTypeOf(file) {
  const view = new DataView(file.buffer, file.byteOffset);
  const block = view.getUint32(4, true);
  assert.equal(view.getUint32(block, true), 1);
  return view.getUint16(block + 8, true);
}

test("a capture follows live, and tells each frame in a line", async () => {
  const network = await twoStacks();
  const seen = capture(network.nicA);
  const lines = [];
  const following = (async () => {
    for await (const frame of seen.frames) lines.push(frame);
  })();
  await network.a.ping("10.0.0.2", { size: 10 });
  await until(() => lines.some(({ summary }) => /reply/i.test(summary)), "an echo reply");
  const { client, server } = await connected(network);
  await Promise.all([writeAll(client.writable, pattern(5_000)), readAll(server.readable)]);
  seen.stop();
  seen.stop();
  await following;
  assert.equal(lines.length, seen.length);
  assert.deepEqual(
    lines.map(({ index }) => index),
    lines.map((_, index) => index),
  );
  assert.ok(lines.every(({ port }) => port === "a:0"));
  assert.ok(lines.every(({ data, length }) => data.byteLength === length));
  assert.ok(lines.every(({ time }) => Math.abs(Date.now() - time) < 60_000));
  assert.ok(lines.some(({ summary, direction }) => direction === "out" && /ARP/.test(summary)));
  assert.ok(lines.some(({ summary }) => /TCP.*SYN/.test(summary)));
  network.engine.close();
});

test("a capture keeps the newest frames within its memory", async () => {
  const network = await twoStacks();
  const seen = capture(network.nicA, { memory: 200_000, snapLength: 100 });
  const { client, server } = await connected(network);
  await Promise.all([writeAll(client.writable, pattern(5_000_000)), readAll(server.readable)]);
  assert.ok(seen.dropped > 0);
  assert.ok(seen.length * 54 <= 200_000 && seen.length > 500, `${seen.length} frames`);
  for await (const frame of seen.frames) {
    assert.equal(frame.index, seen.dropped);
    assert.ok(frame.data.byteLength <= 100);
    break;
  }
  seen.close();
  await assert.rejects(seen.pcapng(), TypeError);
  network.engine.close();
});

test("a switch's capture opens in tshark without a warning", {
  skip: !hasTshark() && "tshark is not installed",
}, async () => {
  const network = await twoOnSwitch();
  const seen = capture(network.lan);
  await network.a.ping("10.0.0.2");
  const { client, server } = await connected(network);
  await Promise.all([writeAll(client.writable, pattern(100_000)), readAll(server.readable)]);
  await Promise.all([client.closed, server.closed]);
  const folder = mkdtempSync(join(tmpdir(), "ethertab-"));
  try {
    const file = join(folder, "capture.pcapng");
    writeFileSync(file, await seen.pcapng());
    const count = (filter) =>
      execFileSync("tshark", ["-r", file, "-Y", filter], { encoding: "utf8" }).split("\n").length -
      1;
    assert.equal(count("frame"), seen.length);
    assert.ok(count("arp") >= 2);
    assert.ok(count("icmp") >= 4);
    assert.ok(count("tcp.flags.fin == 1") >= 2);
    const wrong = execFileSync(
      "tshark",
      [
        "-r",
        file,
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        "tcp.check_checksum:TRUE",
        "-Y",
        "_ws.malformed || _ws.expert.severity >= 6291456",
      ],
      { encoding: "utf8" },
    );
    // Each frame passes two ports of the switch, which tshark takes for retransmissions; nothing else may be wrong.
    const others = wrong
      .split("\n")
      .filter((line) => line !== "" && !/Retransmission|Dup ACK|Out-Of-Order/.test(line));
    assert.deepEqual(others, []);
  } finally {
    rmSync(folder, { recursive: true });
  }
  network.engine.close();
});

test("a nic's capture has nothing to warn of", {
  skip: !hasTshark() && "tshark is not installed",
}, async () => {
  const network = await twoStacks();
  const seen = capture(network.nicA);
  await network.a.ping("fd00::2");
  const { client, server } = await connected(network);
  await Promise.all([writeAll(client.writable, pattern(200_000)), readAll(server.readable)]);
  await Promise.all([client.closed, server.closed]);
  const folder = mkdtempSync(join(tmpdir(), "ethertab-"));
  try {
    const file = join(folder, "capture.pcapng");
    writeFileSync(file, await seen.pcapng());
    const shown = execFileSync(
      "tshark",
      [
        "-r",
        file,
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        "tcp.check_checksum:TRUE",
        "-Y",
        "_ws.malformed || _ws.expert.severity >= 6291456",
      ],
      { encoding: "utf8" },
    );
    assert.equal(shown, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
  network.engine.close();
});

test("a capture of a switch that was stopped sees no more", async () => {
  const network = await twoOnSwitch();
  const seen = capture(network.lan);
  await network.a.ping("10.0.0.2");
  seen.stop();
  const { length } = seen;
  assert.ok(length > 0);
  await network.a.ping("10.0.0.2");
  assert.equal(seen.length, length);
  network.engine.close();
});

test("a capture of an interface without Ethernet holds IP packets", async () => {
  const engine = await createEngine();
  const stacks = [await createStack({ engine }), await createStack({ engine })];
  const [near, far] = stacks.map((stack, index) =>
    stack.addInterface({ medium: "ip", addresses: [`10.8.0.${index + 1}/24`] }),
  );
  plug(near, far);
  const seen = capture(near);
  await stacks[0].ping("10.8.0.2");
  const frames = [];
  seen.stop();
  for await (const frame of seen.frames) frames.push(frame);
  const echo = frames.find(({ summary }) => /echo request/.test(summary));
  assert.match(echo.summary, /^10\.8\.0\.1 > 10\.8\.0\.2 /);
  assert.equal(echo.data[0], 0x45);
  const file = await seen.pcapng();
  assert.equal(linkTypeOf(file), LINKTYPE_RAW);
  // So does a port from outside that such an interface is plugged into, and no other.
  for (const [medium, type] of [
    ["ip", LINKTYPE_RAW],
    ["ethernet", LINKTYPE_ETHERNET],
  ]) {
    const port = functionPort({ send() {} });
    plug(stacks[0].addInterface({ medium }), port);
    assert.equal(linkTypeOf(await capture(port).pcapng()), type);
  }
  if (hasTshark()) {
    const folder = mkdtempSync(join(tmpdir(), "ethertab-"));
    const path = join(folder, "capture.pcapng");
    writeFileSync(path, file);
    const filter = ["-r", path, "-Y", "icmp && !_ws.malformed"];
    const read = execFileSync("tshark", filter, { encoding: "utf8" });
    rmSync(folder, { recursive: true });
    assert.equal(read.trim().split("\n").length, 2);
  }
  engine.close();
});
