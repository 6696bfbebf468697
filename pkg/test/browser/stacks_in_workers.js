/** A stack in a worker of the page, told by a list of lines that begin with "ok" or "failed". */

import { createStack, plug, SocketError } from "/dist/index.js";
import { createStackWorker } from "/dist/worker/index.js";

const startWorker = () => new Worker("/stack_worker.js", { type: "module" });

async function network() {
  const worker = startWorker();
  const a = await createStackWorker(worker, { hostname: "a" });
  const b = await createStack({ hostname: "b" });
  const nic = await a.addInterface({ addresses: ["10.0.0.1/24"] });
  plug(nic, b.addInterface({ addresses: ["10.0.0.2/24"] }));
  return { worker, a, b };
}

async function transfer() {
  const { worker, a, b } = await network();
  const listener = a.listen({ port: 80 });
  await listener.listening;
  const client = b.connect("10.0.0.1:80");
  const server = await listener.accept();
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31) ^ (index >> 8));
  const echo = server.readable.pipeTo(server.writable);
  const writer = client.writable.getWriter();
  const writing = writer.write(bytes).then(() => writer.close());
  const received = new Uint8Array(await new Response(client.readable).arrayBuffer());
  await Promise.all([writing, echo, server.closed]);
  await Promise.all([a.close(), b.close()]);
  worker.terminate();
  return received.length === bytes.length && received.every((byte, at) => byte === bytes[at])
    ? null
    : "the bytes differ";
}

async function errors() {
  const { worker, a, b } = await network();
  const refused = await a.connect("10.0.0.2:81").opened.catch((error) => error);
  const controller = new AbortController();
  const pinging = a.ping("10.0.0.9", { signal: controller.signal }).catch((error) => error);
  controller.abort();
  const aborted = await pinging;
  await Promise.all([a.close(), b.close()]);
  worker.terminate();
  if (!(refused instanceof SocketError) || refused.code !== "ECONNREFUSED") return `${refused}`;
  return aborted.cause instanceof DOMException && aborted.cause.name === "AbortError"
    ? null
    : `the cause is ${aborted.cause}`;
}

async function death() {
  const { worker, a } = await network();
  const pinging = a.ping("10.0.0.9", { timeout: "60s" }).catch(({ code }) => code);
  const socket = a.connect("10.0.0.9:80");
  const opening = socket.opened.catch(({ code }) => code);
  worker.terminate();
  const codes = await Promise.all([pinging, opening, a.closed.then(() => "closed")]);
  return codes.join() === "ABORT_ERR,ABORT_ERR,closed" ? null : codes.join();
}

/** Runs all; each line is about one of them. */
export async function runAll() {
  const lines = [];
  for (const scenario of [transfer, errors, death]) {
    const problem = await scenario().catch((error) => error.stack ?? String(error));
    lines.push(problem === null ? `ok ${scenario.name}` : `failed ${scenario.name}: ${problem}`);
  }
  return lines;
}
