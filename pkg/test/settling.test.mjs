/**
 * A table: each thing that can be waited for, and each thing that can happen to it. What is waited for settles, and what it rejects with
 * says why; what may go on waiting, since the event is none of its business, is named, and settles when the stack is closed.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  createAuthority,
  createDirectSockets,
  createEngine,
  createStack,
  EngineError,
  plug,
  SocketError,
} from "ethertab";
import { createStackWorker, exposeStack } from "ethertab/worker";
import { ManualClock, pattern, settle } from "./support.mjs";

const unhandled = [];
const note = (error) => unhandled.push(error);
let authority;
before(async () => {
  process.on("unhandledRejection", note);
  authority = await createAuthority();
});
after(() => process.off("unhandledRejection", note));

/** Longer than everything that a stack does before it gives up. */
const LONG = 40 * 60_000;

/** Two hosts with small buffers; a connection of `client` to `server`, and a clock that only the test moves. */
async function network() {
  const clock = new ManualClock();
  const engine = await createEngine({ clock });
  const options = {
    engine,
    tcp: { sendBuffer: 8_192, receiveBuffer: 8_192, retries: 6 },
    limits: { trace: 1_000 },
    dns: { servers: ["10.0.0.53"] },
  };
  const a = await createStack({ hostname: "a", seed: 1, ...options });
  const b = await createStack({ hostname: "b", seed: 2, ...options });
  const nicA = a.addInterface({ addresses: ["10.0.0.1/24"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24"] });
  const link = plug(nicA, nicB);
  const listener = b.listen({ port: 80, allowHalfOpen: true });
  // What is read from files takes time of its own.
  await a.resolve("10.0.0.1");
  return { clock, engine, a, b, nicA, link, listener };
}

/** The same, with `a` in the place of another thread. */
async function remoteNetwork() {
  const net = await network();
  let ask;
  exposeStack(net.a, { on: (_, listener) => (ask = listener) });
  const worker = {
    postMessage(message, [port]) {
      worker.port = port;
      ask(message);
    },
  };
  const a = await createStackWorker(worker);
  return { ...net, a, worker };
}

async function open(net, options = {}) {
  const client = net.a.connect("10.0.0.2:80", options);
  const accepting = net.listener.accept();
  await net.clock.advance(1);
  await client.opened;
  return { client, server: await accepting };
}

/** Writes until a write waits. */
function filled(socket) {
  const writer = socket.writable.getWriter();
  return { writer, writing: writer.write(pattern(4_000_000)) };
}

/**
 * What can be waited for. `begin` gives the promises by name, and for the events of the table's other side what they need:
 * `abort` ends what a signal ends, `close` what is closed here, `peer` is the other end of the connection.
 */
const OPERATIONS = {
  "connect to nobody": (net) => {
    const controller = new AbortController();
    const socket = net.a.connect("10.0.0.99:80", { signal: controller.signal });
    return {
      waits: {
        opened: socket.opened,
        closed: socket.closed,
        read: socket.readable.getReader().read(),
        write: socket.writable.getWriter().write(pattern(10)),
      },
      controller,
      close: () => socket.close(),
      ends: { remoteAddress: "10.0.0.99:80" },
    };
  },
  "connect by name": (net) => {
    const controller = new AbortController();
    const socket = net.a.connect("shop.test:80", { signal: controller.signal });
    return {
      waits: {
        opened: socket.opened,
        closed: socket.closed,
        read: socket.readable.getReader().read(),
      },
      controller,
      close: () => socket.close(),
      ends: { remoteAddress: "shop.test:80" },
    };
  },
  "read and closed": async (net) => {
    const controller = new AbortController();
    const { client, server } = await open(net, { signal: controller.signal, allowHalfOpen: true });
    const reader = client.readable.getReader();
    const writer = client.writable.getWriter();
    return {
      waits: {
        closed: client.closed,
        read: reader.read(),
        second: reader.read(),
        "reader.closed": reader.closed,
        "writer.closed": writer.closed,
      },
      controller,
      close: () => client.close(),
      peer: server,
      ends: { remoteAddress: "10.0.0.2:80", localAddress: /^10\.0\.0\.1:\d+$/ },
      patient: ["nothing", "peer closes", "interface closed", "unplugged"],
    };
  },
  "BYOB read": async (net) => {
    const controller = new AbortController();
    const { client, server } = await open(net, { signal: controller.signal });
    const reader = client.readable.getReader({ mode: "byob" });
    return {
      waits: { read: reader.read(new Uint16Array(8)), "reader.closed": reader.closed },
      controller,
      close: () => client.close(),
      peer: server,
      ends: { remoteAddress: "10.0.0.2:80", localAddress: /^10\.0\.0\.1:\d+$/ },
      patient: ["nothing", "interface closed", "unplugged"],
    };
  },
  "write and closed": async (net) => {
    const controller = new AbortController();
    const { client, server } = await open(net, { signal: controller.signal });
    const { writer, writing } = filled(client);
    return {
      waits: {
        closed: client.closed,
        write: writing,
        next: writer.write(pattern(1)),
        ready: writer.ready,
        "writer.closed": writer.closed,
        "writer.close": writer.close(),
      },
      controller,
      close: () => client.close(),
      peer: server,
      ends: { remoteAddress: "10.0.0.2:80", localAddress: /^10\.0\.0\.1:\d+$/ },
      // A peer that reads nothing answers each probe of its window.
      patient: ["nothing", "peer closes"],
    };
  },
  "abort of a writable": async (net) => {
    const { client } = await open(net);
    const { writer, writing } = filled(client);
    const error = new Error("no more");
    return {
      waits: { write: writing, abort: writer.abort(error), closed: client.closed },
      isFine: (reason) => reason === error,
    };
  },
  "cancel of a readable": async (net) => {
    const { client, server } = await open(net);
    const cancelling = client.readable.cancel(new Error("enough"));
    return {
      waits: { cancel: cancelling, closed: client.closed },
      close: () => client.close(),
      peer: server,
      patient: ["nothing", "interface closed", "unplugged"],
    };
  },
  pipes: async (net) => {
    const { client, server } = await open(net);
    const second = await open(net);
    const source = new ReadableStream({ pull: (controller) => controller.enqueue(pattern(5_000)) });
    return {
      waits: {
        out: source.pipeTo(client.writable),
        through: client.readable.pipeTo(second.client.writable),
      },
      close: () => Promise.all([client.close(), second.client.close()]),
      peer: server,
      patient: ["nothing", "peer closes"],
    };
  },
  "accept and iteration": async (net) => {
    const controller = new AbortController();
    const listener = net.a.listen({ port: 81 });
    await listener.listening;
    const iterator = listener[Symbol.asyncIterator]();
    return {
      waits: {
        accept: listener.accept({ signal: controller.signal }),
        next: iterator.next(),
        second: iterator.next(),
        closed: listener.closed,
      },
      controller,
      close: () => listener.close(),
      patient: ["nothing", "interface closed", "unplugged", "aborted"],
      ends: { localAddress: "[::]:81" },
    };
  },
  "return while next waits": async (net) => {
    const listener = net.a.listen({ port: 81 });
    const udp = await net.a.bindUdp({ port: 81 });
    await listener.listening;
    const waits = {};
    for (const [name, of] of Object.entries({ listener, udp, trace: net.a.trace })) {
      const iterator = of[Symbol.asyncIterator]();
      net.a.trace.take();
      waits[`${name}.next`] = iterator.next();
      waits[`${name}.return`] = iterator.return();
    }
    return { waits };
  },
  TLS: async (net) => {
    // Another thread's sockets have none.
    if (net.worker !== undefined) return { waits: {} };
    const controller = new AbortController();
    const tls = { ca: authority.cert };
    const options = { tls, signal: controller.signal };
    const on = net.a.connect("10.0.0.2:80", { ...options, secureTransport: "on" });
    const peer = await net.listener.accept();
    const later = net.a.connect("10.0.0.2:80", { ...options, secureTransport: "starttls" });
    await later.opened;
    const upgraded = later.startTls();
    return {
      waits: {
        opened: on.opened,
        closed: on.closed,
        read: on.readable.getReader().read(),
        write: on.writable.getWriter().write(pattern(10)),
        "startTls: opened": upgraded.opened,
        "startTls: closed": upgraded.closed,
        "startTls: the first is closed": later.closed,
      },
      controller,
      peer,
      close: () => Promise.all([on.close(), upgraded.close()]),
      ends: { remoteAddress: "10.0.0.2:80", localAddress: /^10\.0\.0\.1:\d+$/ },
    };
  },
  "configuration and services": async (net) => {
    const controller = new AbortController();
    const { signal } = controller;
    const nic = await net.a.addInterface({ dhcp: true });
    const waits = { configured: nic.configured };
    if (net.worker === undefined) {
      const mdns = await net.a.mdns(net.nicA);
      waits.lookup = mdns.lookup("shop.local", { signal });
      waits.next = mdns.browse("_http._tcp", { signal }).next();
    }
    return {
      waits,
      controller,
      close: () => nic.close(),
      patient: ["nothing", "aborted", "closed here", "interface closed", "unplugged"],
    };
  },
  datagrams: async (net) => {
    const controller = new AbortController();
    const [udp, streamed, iterated] = await Promise.all([
      net.a.bindUdp({ port: 53 }),
      net.a.bindUdp({ port: 54 }),
      net.a.bindUdp({ port: 55 }),
    ]);
    const idle = await net.a.bindUdp({ port: 56 });
    const reader = streamed.readable.getReader();
    const sockets = [udp, streamed, iterated, idle];
    return {
      waits: {
        receive: udp.receive({ signal: controller.signal }),
        closed: udp.closed,
        read: reader.read(),
        "reader.closed": reader.closed,
        "idle reader.closed": idle.readable.getReader().closed,
        next: iterated[Symbol.asyncIterator]().next(),
      },
      controller,
      close: () => Promise.all(sockets.map((socket) => socket.close())),
      patient: ["nothing", "interface closed", "unplugged", "aborted"],
      ends: { localAddress: /^\[::\]:5[3-6]$/ },
    };
  },
  "ping, names and routes": (net) => {
    const controller = new AbortController();
    const { signal } = controller;
    return {
      waits: {
        ping: net.a.ping("10.0.0.99", { signal }),
        resolve: net.a.resolve("shop.test", { signal }),
        records: net.a.resolveRecords("shop.test", "MX", { signal }),
        ...Object.fromEntries(
          ["udp", "icmp", "tcp"].map((method) => [
            method,
            net.a.traceroute("10.0.0.99", { signal, method, maxHops: 2 }).next(),
          ]),
        ),
      },
      controller,
      close: () => {},
    };
  },
  "the stack": (net) => {
    net.a.trace.take();
    return {
      waits: { closed: net.a.closed, trace: net.a.trace[Symbol.asyncIterator]().next() },
      patient: "all",
    };
  },
  "Direct Sockets: TCPSocket": async (net) => {
    const { TCPSocket } = createDirectSockets(net.a);
    const accepting = net.listener.accept();
    const [nobody, socket, idle] = [
      new TCPSocket("10.0.0.99", 80),
      new TCPSocket("10.0.0.2", 80),
      new TCPSocket("10.0.0.2", 80),
    ];
    await net.clock.advance(1);
    const server = await accepting;
    const { readable, writable } = await socket.opened;
    const reader = readable.getReader();
    const writer = writable.getWriter();
    return {
      waits: {
        "opening: opened": nobody.opened,
        "opening: closed": nobody.closed,
        closed: socket.closed,
        read: reader.read(),
        "reader.closed": reader.closed,
        write: writer.write(pattern(4_000_000)),
        "writer.closed": writer.closed,
        "idle: closed": idle.closed,
      },
      peer: server,
      close: async () => {
        const { readable, writable } = await idle.opened;
        await Promise.all([readable.cancel(), writable.abort()]);
        await Promise.all([reader.cancel(), writer.abort()]);
      },
      patient: [
        "nothing",
        "peer closes",
        "peer resets",
        "interface closed",
        "unplugged",
        "closed here",
      ],
      isFine: isNetworkError,
    };
  },
  "Direct Sockets: TCPServerSocket": async (net) => {
    const { TCPServerSocket } = createDirectSockets(net.a);
    const [busy, idle] = [
      new TCPServerSocket("::", { localPort: 90 }),
      new TCPServerSocket("::", { localPort: 91 }),
    ];
    const reader = (await busy.opened).readable.getReader();
    const idleReader = (await idle.opened).readable.getReader();
    return {
      waits: {
        read: reader.read(),
        "reader.closed": reader.closed,
        closed: busy.closed,
        "idle: closed": idle.closed,
        "idle: reader.closed": idleReader.closed,
      },
      close: () => Promise.all([reader.cancel(), idleReader.cancel()]),
      patient: ["nothing", "interface closed", "unplugged"],
      isFine: isNetworkError,
    };
  },
  "Direct Sockets: UDPSocket": async (net) => {
    const { UDPSocket } = createDirectSockets(net.a);
    const [busy, idle] = [
      new UDPSocket({ localAddress: "::", localPort: 90 }),
      new UDPSocket({ remoteAddress: "10.0.0.2", remotePort: 9 }),
    ];
    const reader = (await busy.opened).readable.getReader();
    const idleReader = (await idle.opened).readable.getReader();
    return {
      waits: {
        read: reader.read(),
        "reader.closed": reader.closed,
        "writer.closed": (await busy.opened).writable.getWriter().closed,
        closed: busy.closed,
        "idle: closed": idle.closed,
        "idle: reader.closed": idleReader.closed,
        "idle: writer.closed": (await idle.opened).writable.getWriter().closed,
      },
      close: () => Promise.all([reader.cancel(), idleReader.cancel()]),
      patient: ["nothing", "closed here", "interface closed", "unplugged"],
      isFine: isNetworkError,
    };
  },
};

function isNetworkError(error) {
  return (
    error instanceof DOMException &&
    error.name === "NetworkError" &&
    (error.cause instanceof SocketError || error.cause instanceof EngineError)
  );
}

const trap = ({ engine }) =>
  assert.throws(
    () =>
      engine.call(() => {
        throw new WebAssembly.RuntimeError("unreachable");
      }),
    EngineError,
  );

/** What can happen, and what it needs of an operation. Those that end the stack end everything in it. */
const EVENTS = {
  nothing: {},
  aborted: {
    needs: "controller",
    happen: ({ controller }) => controller.abort(new Error("enough")),
  },
  "peer resets": { needs: "peer", happen: ({ peer }) => peer.abort() },
  "peer closes": { needs: "peer", happen: ({ peer }) => peer.shutdown() },
  "closed here": { needs: "close", happen: ({ close }) => close() },
  "interface closed": { happen: ({ net }) => net.nicA.close() },
  unplugged: { happen: ({ net }) => net.link.unplug() },
  "stack closed": { isEnd: true, happen: ({ net }) => net.a.close() },
  "engine closed": { isEnd: true, happen: ({ net }) => net.engine.close() },
  trap: { isEnd: true, happen: ({ net }) => trap(net) },
};
const REMOTE_EVENTS = {
  ...EVENTS,
  "worker gone": { isEnd: true, happen: ({ net }) => net.worker.port.close() },
};

/** How each promise has settled; those that have not are not there. */
function watch(waits, outcomes) {
  for (const [name, promise] of Object.entries(waits)) {
    promise.then(
      (value) => {
        outcomes[name] = { value };
      },
      (error) => {
        outcomes[name] = { error };
      },
    );
  }
}

/** What is wrong with an error, or null. */
function wrongOf(error, { ends = {}, isFine = () => false, controller }, event) {
  if (error === undefined || isFine(error)) return null;
  if (error instanceof EngineError) {
    return error.cause instanceof WebAssembly.RuntimeError ? null : "an EngineError without cause";
  }
  if (!(error instanceof SocketError)) return `rejects with ${error?.stack ?? error}`;
  if (!/^[A-Z_]+$/.test(error.code)) return `has the code ${error.code}`;
  for (const [end, expected] of Object.entries(ends)) {
    const told = error[end];
    if (told === expected || (expected instanceof RegExp && expected.test(told))) continue;
    return `has ${told} as ${end}: ${error.message}`;
  }
  const isWithout =
    event === "aborted" && error.cause?.message !== controller.signal.reason.message;
  return isWithout ? `has ${error.cause} as cause: ${error.message}` : null;
}

/** Lets one thing happen to one operation; what is wrong then, in words. */
async function problemsOf(make, begin, event, { needs, happen = () => {}, isEnd = false }) {
  const net = await make();
  const operation = await begin(net);
  const outcomes = {};
  watch(operation.waits, outcomes);
  const problems = [];
  if (needs === undefined || operation[needs] !== undefined) {
    const look = (when, mayWait) => {
      for (const name of Object.keys(operation.waits)) {
        if (name in outcomes) {
          const wrong = wrongOf(outcomes[name].error, operation, when);
          if (wrong !== null) problems.push(`${name}: ${when}: ${wrong}`);
        } else if (!mayWait) problems.push(`${name}: ${when}: waits for ever`);
      }
    };
    await net.clock.advance(1);
    // What a call of the application's own returns settles, too.
    operation.waits[event] = (async () => happen({ ...operation, net }))();
    watch({ [event]: operation.waits[event] }, outcomes);
    await net.clock.advance(LONG);
    const { patient = [] } = operation;
    look(event, !isEnd && (patient === "all" || patient.includes(event)));
    if (!isEnd) {
      await net.a.close();
      await net.clock.advance(LONG);
      look(`stack closed after ${event}`, false);
    }
  }
  net.engine.close();
  await settle();
  for (const error of unhandled.splice(0)) problems.push(`unhandled: ${event}: ${error?.stack}`);
  return problems;
}

for (const [kind, make, events] of [
  ["here", network, EVENTS],
  ["worker", remoteNetwork, REMOTE_EVENTS],
]) {
  for (const [name, begin] of Object.entries(OPERATIONS)) {
    test(`${kind}: ${name}`, async () => {
      const problems = [];
      for (const [event, how] of Object.entries(events)) {
        problems.push(...(await problemsOf(make, begin, event, how)));
      }
      assert.equal(problems.join("\n"), "");
    });
  }
}
