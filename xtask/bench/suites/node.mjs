// `createNet` over a stack's loopback interface beside `node:net` over the operating system's: the same program, in turns. docs/BENCHMARKS.md says
// what each figure means.

import { once } from "node:events";
import nodeNet from "node:net";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { figure, takeTurns } from "../lib/measure.mjs";
import { Pattern } from "../lib/pattern.mjs";

const HOST = "127.0.0.1";
const CHUNK_BYTES = 65_536;
const MESSAGE_BYTES = 64;

/** Both modules, and how to do away with ours. */
async function modules(dist) {
  const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
  const [{ createEngine, createStack }, { createNet }] = await Promise.all([
    load("index.js"),
    load("node/index.js"),
  ]);
  const engine = await createEngine();
  const stack = await createStack({ engine });
  stack.addInterface({ medium: "loopback" });
  return { nets: { ethertab: createNet(stack), node: nodeNet }, close: () => engine.close() };
}

/** A server that listens, and a function that opens a connection to it: both ends. */
async function scene(net) {
  const server = net.createServer({ noDelay: true }).listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address();
  const open = async () => {
    const client = net.connect({ port, host: HOST, noDelay: true });
    const [[peer]] = await Promise.all([once(server, "connection"), once(client, "connect")]);
    return { client, peer };
  };
  return { open, close: () => server.close() };
}

/** Moves millions of bytes from the client to its peer, as fast as it may write. */
function mover({ client, peer }) {
  const pattern = new Pattern(CHUNK_BYTES);
  let sent = 0;
  let received = 0;
  let goal = 0;
  let finished = null;
  const write = () => {
    while (sent < goal) {
      const chunk = pattern.at(sent, Math.min(CHUNK_BYTES, goal - sent));
      sent += chunk.length;
      if (!client.write(chunk)) return;
    }
  };
  client.on("drain", write);
  peer.on("data", (bytes) => {
    if (!pattern.matches(received, bytes)) finished.reject(new Error(`wrong after ${received}`));
    received += bytes.length;
    if (received === goal) finished.resolve();
  });
  return (megabytes) =>
    new Promise((resolve, reject) => {
      finished = { resolve, reject };
      goal += megabytes * 1e6;
      write();
    });
}

/** Sends a message to the peer and back, one at a time. */
function pinger({ client, peer }) {
  const message = Buffer.alloc(MESSAGE_BYTES, "ping");
  let remaining = 0;
  let bytes = 0;
  let finished = null;
  peer.on("data", (chunk) => peer.write(chunk));
  client.on("data", (chunk) => {
    bytes += chunk.length;
    if (bytes < MESSAGE_BYTES) return;
    bytes = 0;
    remaining -= 1;
    if (remaining > 0) client.write(message);
    else finished();
  });
  return (rounds) =>
    new Promise((resolve) => {
      finished = resolve;
      remaining = rounds;
      client.write(message);
    });
}

/** Opens connections, one after the other; the client ends, and both are closed before the next. */
function opener({ open }) {
  return async (count) => {
    for (let index = 0; index < count; index++) {
      const { client, peer } = await open();
      const closed = Promise.all([once(client, "close"), once(peer, "close")]);
      client.end();
      client.resume();
      peer.resume();
      await closed;
    }
  };
}

/** Runs one kind of work with both modules: figures of ours, and what they are of Node's. */
async function compared({ dist, repetitions }, { name, unit, label, ...amounts }, workOf) {
  const { nets, close } = await modules(dist);
  const scenes = {};
  const contenders = {};
  for (const [which, net] of Object.entries(nets)) {
    scenes[which] = await scene(net);
    contenders[which] = { work: await workOf(scenes[which]), ...amounts };
  }
  const { rates } = await takeTurns(label, contenders, { repetitions });
  for (const each of Object.values(scenes)) each.close();
  close();
  const ratios = rates.ethertab.map((rate, index) => rate / rates.node[index]);
  return [
    figure(`js.node.${name}`, unit, rates.ethertab),
    figure(`js.node.${name}_of_net`, unit, rates.node),
    figure(`js.node.${name}_vs_net`, "", ratios),
  ];
}

/** A connection that stays, and its work. */
const onConnection = (work) => async (each) => {
  const ends = await each.open();
  const { close } = each;
  each.close = () => {
    ends.client.destroy();
    ends.peer.destroy();
    close();
  };
  return work(ends);
};

const BULK = { name: "bulk_mb_s", unit: "MB/s", label: "node: bulk, MB/s", start: 1 };
const PINGPONG = {
  name: "pingpong_per_s",
  unit: "1/s",
  label: "node: round trips a second",
  start: 100,
};
/** Each connection leaves one in TIME-WAIT, and the operating system has some 28,000 ports for them. */
const CONNECT = {
  name: "connect_per_s",
  unit: "1/s",
  label: "node: connections a second",
  amount: 1000,
};

/** What `run.mjs` runs. */
export const benchmarks = [
  {
    prefix: "js.node.bulk",
    run: (options) => compared(options, BULK, onConnection(mover)),
  },
  {
    prefix: "js.node.pingpong",
    run: (options) => compared(options, PINGPONG, onConnection(pinger)),
  },
  {
    prefix: "js.node.connect",
    run: (options) => compared(options, CONNECT, async (each) => opener(each)),
  },
];
