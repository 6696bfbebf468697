import assert from "node:assert/strict";
import { test } from "node:test";
import { get } from "svelte/store";
import {
  type CableSettings,
  createCableLab,
  DEFAULT_SETTINGS,
  impairmentAt,
  LATENCIES,
  LOSSES,
  RATES,
} from "../../src/model/cable_lab.js";
import { TransferSession, throughput } from "../../src/model/transfer_session.js";

const MIB = 1024 * 1024;
const PERFECT: CableSettings = {
  latency: LATENCIES.values.indexOf(0),
  loss: LOSSES.values.indexOf(0),
  rate: RATES.values.length - 1,
};

test("the positions of the sliders mean what their labels say", () => {
  assert.deepEqual(impairmentAt(DEFAULT_SETTINGS), { latency: 10, loss: 0.0005, rate: 1e8 });
  for (const { values, labels } of [LATENCIES, LOSSES, RATES]) {
    assert.equal(values.length, labels.length);
    assert.equal(new Set(labels).size, labels.length);
  }
  assert.equal(LOSSES.labels[LOSSES.values.indexOf(0.0005)], "0.05 %");
  assert.equal(RATES.labels.at(-1), "no limit");
});

test("a transfer arrives whole, and the capture and the connections show it", async () => {
  const lab = await createCableLab(PERFECT);
  const session = new TransferSession((bytes, signal) => lab.send(bytes, signal), 5);
  const done = session.run(2 * MIB);
  assert.equal(get(session.state).kind, "running");
  await done;
  const state = get(session.state);
  assert.equal(state.kind, "done", state.message);
  assert.equal(state.received, 2 * MIB);
  assert.ok(throughput(state) > 0);
  const hosts = lab.connections().map(({ host }) => host);
  assert.ok(hosts.every((host) => host === "left" || host === "right"));

  const file = new DataView(await (await lab.watch.pcapng()).arrayBuffer());
  // The section header block of pcapng.
  assert.equal(file.getUint32(0), 0x0a0d0d0a);
  assert.ok(file.byteLength > 2 * MIB);
  await lab.close();
});

test("a stopped transfer ends at once, and another one can follow", async () => {
  const slow = { ...PERFECT, rate: RATES.values.indexOf(1e6) };
  const lab = await createCableLab(slow);
  const session = new TransferSession((bytes, signal) => lab.send(bytes, signal), 5);
  const stopped = session.run(100 * MIB);
  await new Promise((resolve) => setTimeout(resolve, 50));
  session.stop();
  await stopped;
  assert.equal(get(session.state).kind, "stopped");
  lab.set(PERFECT);
  await session.run(MIB);
  assert.equal(get(session.state).kind, "done", get(session.state).message);
  await lab.close();
});

test("latency is seen by a ping", async () => {
  const lab = await createCableLab({ ...PERFECT, latency: LATENCIES.values.indexOf(20) });
  const rtt = await lab.ping();
  assert.ok(rtt >= 40 && rtt < 200, `${rtt} ms`);
  await lab.close();
});
