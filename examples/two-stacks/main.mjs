// Two hosts joined by a bad cable: a ping, an echo over TCP whose bytes are checked, and a capture for Wireshark.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capture, createStack, plug } from "ethertab";

const a = await createStack({ hostname: "a" });
const b = await createStack({ hostname: "b" });
const nic = a.addInterface({ addresses: ["10.0.0.1/24"] });
const cable = plug(nic, b.addInterface({ addresses: ["10.0.0.2/24"] }), { latency: "10ms" });
const frames = capture(nic);

// The first ping also asks for b's MAC address (ARP), which takes a round trip of its own.
for (let number = 1; number <= 3; number += 1) {
  const { rtt, ttl } = await a.ping("10.0.0.2");
  console.log(`ping ${number}: ${rtt.toFixed(1)} ms, ttl ${ttl}`);
}

// From now on every fiftieth frame is lost, in both directions. TCP sends again what is missing.
cable.set({ loss: 0.02 });

const listener = b.listen({ port: 7 });
await listener.listening;
const echo = listener.accept().then((socket) => socket.readable.pipeTo(socket.writable));

const sent = crypto.getRandomValues(new Uint8Array(65_536));
const socket = a.connect({ hostname: "10.0.0.2", port: 7 }, { allowHalfOpen: true });
const writer = socket.writable.getWriter();
const writing = writer.write(sent).then(() => writer.close());

const received = [];
let shown = false;
for await (const chunk of socket.readable) {
  if (!shown) console.log("connections of a:", a.connections());
  shown = true;
  received.push(chunk);
}
await Promise.all([writing, echo]);
assert.deepEqual(Buffer.concat(received), Buffer.from(sent));
const again = a.counters().tcp_retransmits + b.counters().tcp_retransmits;
console.log(`${sent.length} bytes came back unharmed; ${again} segments were sent again`);

const file = join(tmpdir(), "two-stacks.pcapng");
await writeFile(file, await frames.pcapng());
console.log(`${frames.length} frames: wireshark ${file}`);

await a.close();
await b.close();
