// One transfer over the same bad cable with two congestion controls, watched by the trace: how many segments were lost, what repaired
// them, and how the congestion window was. Then the figures of the connection, as `ss -ti` has them.

import assert from "node:assert/strict";
import { createStack, plug } from "ethertab";

const BYTES = 2_000_000;

/** What happens, counted. */
async function summary(trace) {
  const counts = { sent: 0, fastRetransmit: 0, timeout: 0, tailLossProbe: 0, lost: 0, undone: 0 };
  let largest = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for await (const event of trace) {
    if (event.type === "sent") {
      counts.sent += 1;
      if (event.reason in counts) counts[event.reason] += 1;
    } else if (event.type === "lost") {
      counts.lost += event.segments;
    } else if (event.type === "undone") {
      counts.undone += 1;
    } else if (event.type === "window") {
      largest = Math.max(largest, event.cwnd);
      smallest = Math.min(smallest, event.cwnd);
    }
  }
  return { ...counts, smallestWindow: smallest, largestWindow: largest };
}

async function run(congestionControl) {
  // The receiver goes the default way: what the sender wants is the sender's business.
  const sender = await createStack({ tcp: { congestionControl }, limits: { trace: 16_384 } });
  const receiver = await createStack();
  plug(
    sender.addInterface({ addresses: ["10.0.0.1/24"] }),
    receiver.addInterface({ addresses: ["10.0.0.2/24"] }),
    { latency: "10ms", loss: 0.01, rate: "50mbit" },
  );
  const counting = summary(sender.trace);

  const listener = receiver.listen({ port: 9 });
  const socket = sender.connect("10.0.0.2:9", { tcp: { userTimeout: "20s" } });
  const begin = performance.now();
  const peer = await listener.accept();
  const writer = socket.writable.getWriter();
  const writing = writer.write(new Uint8Array(BYTES));
  let received = 0;
  let figures = null;
  for await (const chunk of peer.readable) {
    received += chunk.length;
    if (received > BYTES / 2) figures ??= socket.info();
    if (received === BYTES) break;
  }
  await writing;
  const seconds = (performance.now() - begin) / 1_000;
  assert.equal(received, BYTES);

  // The trace ends with its stack.
  const { dropped } = sender.trace;
  socket.closed.catch(() => {});
  peer.closed.catch(() => {});
  await Promise.all([sender.close(), receiver.close()]);
  const rate = (BYTES * 8) / seconds / 1e6;
  console.log(`${congestionControl}: ${seconds.toFixed(2)} s, ${rate.toFixed(1)} Mbit/s`);
  console.log(await counting, dropped > 0 ? `and ${dropped} events were dropped` : "");
  return figures;
}

await run("cubic");
const figures = await run("bbr");
assert.equal(figures.congestionControl, "bbr");
console.log("halfway through, the last connection was:", figures);
