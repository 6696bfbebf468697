/**
 * Three ways out of an engine: a worker thread by its message port, another host by QEMU's stream over a TCP socket, and a recording that is
 * played to a fourth. A hook counts what passes, and drops what it does not like.
 *
 *     node examples/ports/main.mjs
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { Worker } from "node:worker_threads";
import {
  capture,
  createEngine,
  createStack,
  createSwitch,
  messagePort,
  plug,
  qemuPort,
  replayPort,
} from "ethertab";

const lan = await createSwitch({ name: "lan" });
const here = await createStack({ hostname: "here" });
lan.plug(here.addInterface({ addresses: ["10.0.0.1/24"] }));

// A host in a worker: its stack is plugged into what it has for messages, and the switch into the worker.
const worker = new Worker(new URL("worker.mjs", import.meta.url));
await once(worker, "message");
const toWorker = messagePort(worker, { name: "worker" });
lan.plug(toWorker);

// A host behind a socket, as QEMU with `-netdev stream` would be.
const there = await createStack({ hostname: "there", engine: await createEngine() });
const server = net.createServer((socket) => {
  plug(there.addInterface({ addresses: ["10.0.0.3/24"] }), qemuPort(socket));
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const toSocket = qemuPort({ port: server.address().port }, { reconnect: true });
lan.plug(toSocket);
await toSocket.opened;

const seen = capture(toSocket);
for (const address of ["10.0.0.2", "10.0.0.3"]) {
  const { rtt } = await here.ping(address);
  console.log(`${address} answers in ${rtt.toFixed(2)} ms`);
}

// No IPv4 to the worker any more.
toWorker.hook = (frame) => !(frame[12] === 0x08 && frame[13] === 0x00);
await assert.rejects(here.ping("10.0.0.2", { timeout: 100 }), { code: "ETIMEDOUT" });
console.log(`the hook has dropped ${toWorker.counters.filtered} frame(s)`);

// What was recorded comes again, for a port that listens.
seen.stop();
const recording = replayPort(await seen.pcapng(), { speed: Number.POSITIVE_INFINITY });
const listener = await createStack({ hostname: "listener" });
plug(listener.addInterface({ addresses: ["10.0.0.9/24"] }), recording);
const { played } = await recording.finished;
console.log(`${played} frames came again`);
assert.equal(played, seen.length);

await Promise.all([toSocket[Symbol.asyncDispose](), worker.terminate()]);
await toWorker.closed;
server.close();
await Promise.all([here.close(), there.close(), listener.close()]);
