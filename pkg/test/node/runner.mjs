/**
 * Runs scenarios against `node:net` on the operating system's loopback and against `createNet`: over one stack's loopback interface and
 * over two stacks joined by a cable. What each records is compared with what `node:net` recorded in the same run; no expectation is
 * written down.
 *
 * A record has lanes, one for each party: the order within a lane counts, and between lanes only what the network orders, which is nothing.
 */

import assert from "node:assert/strict";
import * as nodeDgram from "node:dgram";
import * as nodeNet from "node:net";
import { after, before, test } from "node:test";
import { createEngine, createStack, plug } from "ethertab";
import { createDgram, createNet } from "ethertab/node";

const LIMIT = 5_000;

/** The networks that scenarios run on. */
async function networks() {
  const engine = await createEngine();
  const alone = await createStack({ hostname: "alone", engine, seed: 1 });
  alone.addInterface({ medium: "loopback" });
  const a = await createStack({ hostname: "a", engine, seed: 2 });
  const b = await createStack({ hostname: "b", engine, seed: 3 });
  plug(
    a.addInterface({ addresses: ["10.0.0.1/24", "fd00::1/64"] }),
    b.addInterface({ addresses: ["10.0.0.2/24", "fd00::2/64"] }),
  );
  for (const stack of [a, b]) stack.addInterface({ medium: "loopback" });
  const aloneNet = createNet(alone);
  const aloneUdp = createDgram(alone);
  const nodeUdp = { clientUdp: nodeDgram, serverUdp: nodeDgram };
  const local = { address: "127.0.0.1", address6: "::1", own: "127.0.0.1", own6: "::1" };
  return {
    engine,
    reference: { client: nodeNet, server: nodeNet, ...nodeUdp, ...local },
    ours: [
      {
        name: "loopback",
        client: aloneNet,
        server: aloneNet,
        clientUdp: aloneUdp,
        serverUdp: aloneUdp,
        ...local,
      },
      {
        name: "cable",
        client: createNet(a),
        server: createNet(b),
        clientUdp: createDgram(a),
        serverUdp: createDgram(b),
        address: "10.0.0.2",
        address6: "fd00::2",
        own: "10.0.0.1",
        own6: "fd00::1",
      },
    ],
  };
}

const scenarios = [];

/** Declares a scenario: a function of a {@link Run}, which is over when its promise settles. */
export function scenario(name, run, { skip = [] } = {}) {
  scenarios.push({ name, run, skip });
}

/** What a scenario has to do with. */
class Run {
  lanes = {};
  #ports = new Map();
  #things = [];

  constructor(network) {
    Object.assign(this, network);
  }

  /** A function that notes in the lane of this name. */
  lane(name) {
    const lane = [];
    this.lanes[name] = lane;
    return (event, ...values) => {
      const last = lane.at(-1);
      const shown = values.map(show);
      // How a stream of bytes is cut is the network's choice.
      if (event === "data" && last?.[0] === "data") last[1] += shown[0];
      else lane.push([event, ...shown]);
    };
  }

  /** Gives a number that differs between runs a name. */
  port(number, name) {
    if (typeof number === "number" && number > 0) this.#ports.set(number, name);
    return number;
  }

  /** To be cleared away at the end. */
  track(thing) {
    this.#things.push(thing);
    return thing;
  }

  clear() {
    for (const thing of this.#things.reverse()) {
      try {
        if (typeof thing.destroy === "function") thing.destroy();
        else thing.close();
      } catch {
        // A scenario may have closed it.
      }
    }
  }

  /** A server that listens. */
  async listen(options, onConnection, where = { host: this.address }) {
    const server = this.track(this.server.createServer(options, onConnection));
    await new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port: 0, ...where }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    this.port(server.address().port, "SERVER");
    return server;
  }

  /** A socket that connects to a server. */
  connect(server, options = {}) {
    const { port } = server.address();
    return this.track(this.client.connect({ port, host: this.address, ...options }));
  }

  /** Both ends of a connection. */
  async pair(serverOptions = {}, clientOptions = {}) {
    let accepted;
    const connection = new Promise((resolve) => {
      accepted = resolve;
    });
    const server = await this.listen(serverOptions, (socket) => accepted(this.track(socket)));
    const client = this.connect(server, clientOptions);
    await when(client, "connect");
    this.port(client.localPort, "CLIENT");
    return { server, client, peer: await connection };
  }

  /** A UDP socket that is bound. */
  async bind(dgram, options = "udp4", where = {}) {
    const socket = this.track(dgram.createSocket(options));
    await new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port: 0, ...where }, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    return socket;
  }

  /** A port where nobody listens. */
  async unusedPort() {
    const server = await this.listen({});
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  record() {
    let text = JSON.stringify(this.lanes);
    for (const [number, name] of this.#ports) {
      text = text.replace(new RegExp(`\\b${number}\\b`, "g"), name);
    }
    text = text.replaceAll(/\b10\.0\.0\.[12]\b/g, "127.0.0.1").replaceAll(/\bfd00::[12]\b/g, "::1");
    return JSON.parse(text.replaceAll(/([:,[])(SERVER|CLIENT|OTHER)(?=[,}\]])/g, '$1"$2"'));
  }
}

/** The next time that an event comes. */
export function when(emitter, event) {
  return new Promise((resolve) => emitter.once(event, (...values) => resolve(values)));
}

/** Lets everything that waits in the event loop have its turn. */
export async function turns(count = 10) {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const EVENTS = [
  "lookup",
  "connectionAttempt",
  "connectionAttemptFailed",
  "connectionAttemptTimeout",
  "connect",
  "ready",
  "end",
  "timeout",
  "drain",
  "prefinish",
  "finish",
  "error",
  "close",
];

/** Notes a socket's events; `data` only if it is asked for, since that makes the socket flow. */
export function watch(note, socket, { data = true } = {}) {
  for (const event of EVENTS) socket.on(event, (...values) => note(event, ...values));
  if (data) socket.on("data", (chunk) => note("data", chunk.toString("latin1")));
  return socket;
}

/** What can be asked of a socket at any time. */
export function state(socket) {
  const { connecting, pending, destroyed, readyState, readable, writable } = socket;
  const { readableEnded, writableEnded, writableFinished, bytesRead, bytesWritten } = socket;
  const { allowHalfOpen, timeout, bufferSize, closed, errored } = socket;
  return {
    ...{ connecting, pending, destroyed, readyState, readable, writable },
    ...{ readableEnded, writableEnded, writableFinished, bytesRead, bytesWritten },
    ...{ allowHalfOpen, timeout, bufferSize, closed, errored: show(errored) },
    writableLength: socket.writableLength,
    handle: socket._handle !== null,
  };
}

/** The addresses of both ends. */
export function ends(socket) {
  const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket;
  return { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily };
}

/** What is thrown, or what is returned. */
export function attempt(run) {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

function show(value) {
  if (value instanceof Error) {
    const { name, message, code, errno, syscall, address, port, hostname } = value;
    const { localAddress, localPort, errors, cause } = value;
    return {
      ...{ name, message, code, errno, syscall, address, port, hostname, localAddress, localPort },
      kind: value.constructor.name,
      text: String(value),
      firstLine: value.stack?.split("\n")[0],
      errors: errors?.map(show),
      cause: cause === undefined ? undefined : show(cause),
    };
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (typeof value === "bigint" || typeof value === "symbol" || typeof value === "undefined") {
    return String(value);
  }
  if (typeof value === "function") return `function ${value.name}`;
  if (value !== null && typeof value === "object") {
    if (typeof value.emit === "function") return `an emitter ${value.constructor.name}`;
    if (Array.isArray(value)) return value.map(show);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, show(item)]));
  }
  return value;
}

async function recorded(scenario, network) {
  const run = new Run(network);
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => {
      const lanes = JSON.stringify(run.lanes);
      reject(new Error(`not over after ${LIMIT} ms; recorded so far: ${lanes}`));
    }, LIMIT);
  });
  try {
    await Promise.race([scenario.run(run), limit]);
  } finally {
    clearTimeout(timer);
    run.clear();
  }
  return run.record();
}

/** Makes a test of each scenario that was declared. */
export function runAll() {
  let all;
  before(async () => {
    all = await networks();
  });
  after(() => all.engine.close());
  for (const declared of scenarios) {
    test(declared.name, async (t) => {
      const expected = await recorded(declared, all.reference);
      assert.notDeepEqual(Object.values(expected).flat(), [], "a scenario must record something");
      for (const network of all.ours) {
        if (declared.skip.includes(network.name)) continue;
        await t.test(network.name, async () => {
          assert.deepEqual(await recorded(declared, network), expected);
        });
      }
    });
  }
}
