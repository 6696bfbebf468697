/** What the package must do in a page and in a worker, told by a list of lines that begin with "ok" or "failed". */

import {
  capture,
  createCable,
  createEngine,
  createStack,
  createSwitch,
  plug,
} from "/dist/index.js";

async function transfer(one, two) {
  const a = await createStack({ hostname: "a", ...one });
  const b = await createStack({ hostname: "b", ...two });
  const nicA = a.addInterface({ addresses: ["10.0.0.1/24"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24"] });
  const link = plug(nicA, nicB);
  const seen = capture(nicA, { memory: 1_000_000 });
  const listener = b.listen({ port: 80 });
  const client = a.connect("10.0.0.2:80");
  const server = await listener.accept();
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31) ^ (index >> 8));
  const writing = (async () => {
    const writer = client.writable.getWriter();
    await writer.write(bytes);
    await writer.close();
  })();
  const received = new Uint8Array(await new Response(server.readable).arrayBuffer());
  await writing;
  const isSame =
    received.length === bytes.length && received.every((byte, at) => byte === bytes[at]);
  const magic = new DataView((await seen.pcapng()).buffer).getUint32(0);
  const refused = await a.connect("10.0.0.2:81").opened.catch(({ code }) => code);
  const { rtt } = await a.ping("10.0.0.2");
  link.unplug();
  await Promise.all([a.close(), b.close()]);
  if (!isSame) return "the bytes differ";
  if (magic !== 0x0a0d0d0a) return `the capture begins with ${magic}`;
  if (refused !== "ECONNREFUSED") return `a closed port gives ${refused}`;
  return rtt < 1_000 ? null : `a ping took ${rtt} ms`;
}

/** The network works while timers, and in a page animation frames, go on. */
async function staysResponsive() {
  const a = await createStack();
  const b = await createStack();
  plug(
    a.addInterface({ addresses: ["10.0.0.1/24"] }),
    b.addInterface({ addresses: ["10.0.0.2/24"] }),
  );
  const listener = b.listen({ port: 80 });
  const client = a.connect("10.0.0.2:80");
  const server = await listener.accept();
  const chunk = new Uint8Array(65_536);
  client.onready = () => {
    while (client.tryWrite(chunk) > 0);
  };
  const into = new Uint8Array(65_536);
  let moved = 0;
  server.onready = () => {
    for (let count = server.tryRead(into); count > 0; count = server.tryRead(into)) moved += count;
  };
  client.onready();
  let worst = 0;
  for (let round = 0; round < 20; round += 1) {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 0));
    worst = Math.max(worst, performance.now() - start);
  }
  client.onready = null;
  server.onready = null;
  client.abort();
  await Promise.all([a.close(), b.close()]);
  if (moved < 1_000_000) return `only ${moved} bytes moved`;
  return worst < 250 ? null : `a timer of 0 ms took ${worst} ms`;
}

async function overSwitchAndCable() {
  const a = await createStack();
  const lan = await createSwitch();
  const cable = await createCable({ latency: 2 });
  const b = await createStack();
  lan.plug(a.addInterface({ addresses: ["fd00::1/64"] }));
  lan.plug(cable.a);
  plug(cable.b, b.addInterface({ addresses: ["fd00::2/64"] }));
  const { rtt } = await a.ping("fd00::2");
  await Promise.all([a.close(), b.close()]);
  lan.close();
  return rtt >= 4 ? null : `the cable of 2 ms gave a round trip of ${rtt} ms`;
}

const scenarios = {
  "two stacks in the realm's engine": () => transfer({}, {}),
  "two stacks in two engines": async () => {
    const [one, two] = await Promise.all([createEngine(), createEngine()]);
    const failure = await transfer({ engine: one }, { engine: two });
    one.close();
    two.close();
    return failure;
  },
  "a switch and a cable": overSwitchAndCable,
  "timers run beside a busy network": staysResponsive,
};

/** Runs all scenarios. */
export async function runAll() {
  const lines = [];
  for (const [name, run] of Object.entries(scenarios)) {
    const failure = await run().catch((error) => error.stack ?? String(error));
    lines.push(failure === null ? `ok: ${name}` : `failed: ${name}: ${failure}`);
  }
  return lines;
}
