import assert from "node:assert/strict";
import { test } from "node:test";
import type { Socket } from "ethertab";
import { get } from "svelte/store";
import type { Transfer, TransferProgress } from "../../src/model/transfer.js";
import { TransferSession } from "../../src/model/transfer_session.js";

/** A transfer that is as far as the test says. */
function fakeTransfer(total: number) {
  const now: TransferProgress = { received: 0, total, elapsed: 0 };
  let end: (progress: TransferProgress) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const done = new Promise<TransferProgress>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  const socket = { info: () => ({ cwnd: 14_600 }) } as Socket;
  const transfer: Transfer = { progress: () => ({ ...now }), socket, done };
  return { transfer, now, end: () => end({ ...now, received: total }), fail };
}

test("samples are rates between two moments, not since the start", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { transfer, now, end } = fakeTransfer(3_000_000);
  const session = new TransferSession(() => transfer, 250);
  const done = session.run(3_000_000);
  for (const [received, elapsed] of [
    [1_000_000, 250],
    [1_500_000, 500],
  ] as const) {
    Object.assign(now, { received, elapsed });
    t.mock.timers.tick(250);
  }
  assert.deepEqual(get(session.state).samples, [
    { time: 250, rate: 32_000_000, cwnd: 14_600 },
    { time: 500, rate: 16_000_000, cwnd: 14_600 },
  ]);
  end();
  await done;
  assert.equal(get(session.state).kind, "done");
  assert.equal(get(session.state).received, 3_000_000);
  t.mock.timers.tick(1000);
  assert.equal(get(session.state).samples.length, 2, "no samples after the end");
});

test("the number of samples stays bounded in a long transfer", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { transfer, now, end } = fakeTransfer(1);
  const session = new TransferSession(() => transfer, 10);
  const done = session.run(1);
  for (let step = 1; step <= 3000; step += 1) {
    now.elapsed = step * 10;
    t.mock.timers.tick(10);
  }
  const { samples } = get(session.state);
  assert.ok(samples.length >= 200 && samples.length <= 400, `${samples.length} samples`);
  end();
  await done;
});

test("a failure is told, and a second run while one runs is none", async () => {
  const { transfer, fail } = fakeTransfer(10);
  let started = 0;
  const session = new TransferSession(() => {
    started += 1;
    return transfer;
  });
  const done = session.run(10);
  await session.run(10);
  assert.equal(started, 1);
  fail(new Error("connection timed out"));
  await done;
  assert.equal(get(session.state).kind, "failed");
  assert.equal(get(session.state).message, "connection timed out");
});
