import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  capture,
  createCable,
  createEngine,
  createStack,
  createSwitch,
  functionPort,
  init,
  plug,
  v86Port,
  webSocketPort,
} from "ethertab";
import { connected, twoStacks } from "./support.mjs";

let network;
let client;
let lan;
let cable;
before(async () => {
  network = await twoStacks();
  ({ client } = await connected(network));
  lan = await createSwitch({ engine: network.engine });
  cable = await createCable({ engine: network.engine });
});
after(() => network.engine.close());

/** What is called, the error's name, and what its message must contain: the argument and the value. */
const cases = [
  [() => createStack({ hostname: 7 }), "TypeError", "options.hostname", "7"],
  [() => createStack({ seed: -1 }), "RangeError", "options.seed", "-1"],
  [() => createStack({ seed: "x" }), "TypeError", "options.seed", '"x"'],
  [() => createStack({ limits: { connections: 0 } }), "RangeError", "limits.connections", "0"],
  [() => createStack({ limits: { pings: 1.5 } }), "RangeError", "limits.pings", "1.5"],
  [() => createStack({ tcp: { sendBuffer: 1 } }), "RangeError", "tcp.sendBuffer", "1"],
  [() => createStack({ tcp: { timeWait: "soon" } }), "RangeError", "tcp.timeWait", '"soon"'],
  [
    () => createStack({ tcp: { congestionControl: "vegas" } }),
    "RangeError",
    "tcp.congestionControl",
    '"vegas"',
  ],
  [() => createStack({ tcp: { sack: 1 } }), "TypeError", "tcp.sack", "1"],
  [() => createStack({ tcp: { nagle: false } }), "TypeError", "options.tcp.nagle", "no setting"],
  [() => createStack({ tcp: { keepAlive: { idle: 0 } } }), "RangeError", "tcp.keepAlive.idle", "0"],
  [
    () => createStack({ tcp: { keepAlive: { delay: 1 } } }),
    "TypeError",
    "tcp.keepAlive.delay",
    "no setting",
  ],
  [() => createStack({ tcp: { keepAlive: 5 } }), "TypeError", "tcp.keepAlive", "5"],
  [() => createStack({ tcp: { userTimeout: -1 } }), "RangeError", "tcp.userTimeout", "-1"],
  [() => createStack({ tcp: { minRto: null } }), "TypeError", "tcp.minRto", "null"],
  [
    () => createStack({ tcp: { maxPacingRate: "fast" } }),
    "RangeError",
    "tcp.maxPacingRate",
    '"fast"',
  ],
  [
    () => createStack({ tcp: { maxSegmentSize: 70_000 } }),
    "RangeError",
    "tcp.maxSegmentSize",
    "70000",
  ],
  [() => createStack({ tcp: 5 }), "TypeError", "options.tcp", "5"],
  [() => createStack({ limits: { trace: -1 } }), "RangeError", "limits.trace", "-1"],
  [() => createStack({ engine: {} }), "TypeError", "engine", "an object"],
  [() => createStack(null), "TypeError", "options", "null"],
  [() => createEngine({ memory: 5 }), "RangeError", "options.memory", "5"],
  [() => createEngine({ memory: 2 ** 31 }), "RangeError", "options.memory", "2147483648"],
  [() => createEngine({ clock: null }), "TypeError", "options.clock", "null"],
  [() => createEngine({ clock: { now() {} } }), "TypeError", "options.clock.setTimer", "undefined"],
  [() => createEngine({ wasm: 5 }), "EngineError", "wasm", "5"],
  [() => createEngine({ wasm: "/nowhere.wasm" }), "EngineError", "nowhere"],
  [() => createEngine({ wasm: new Uint8Array(8) }), "EngineError", "could not be loaded"],
  [() => init(null), "TypeError", "options", "null"],
  [() => createCable({ latency: "fast" }), "RangeError", "options.latency", '"fast"'],
  [() => createCable({ loss: 2 }), "RangeError", "options.loss", "2"],
  [() => createCable({ rate: "10 apples" }), "RangeError", "options.rate", '"10 apples"'],
  [() => createSwitch({ name: {} }), "TypeError", "options.name", "an object"],

  [() => network.a.addInterface({ mac: "zz" }), "RangeError", "options.mac", '"zz"'],
  [() => network.a.addInterface({ mac: "01:00:00:00:00:01" }), "RangeError", "01:00:00:00:00:01"],
  [() => network.a.addInterface({ mtu: 100 }), "RangeError", "options.mtu", "100"],
  [() => network.a.addInterface({ addresses: "10.0.0.1/24" }), "TypeError", "options.addresses"],
  [() => network.a.addInterface({ addresses: null }), "TypeError", "options.addresses", "null"],
  [() => network.a.addInterface({ routes: 5 }), "TypeError", "options.routes", "5"],
  [() => network.a.addInterface({ addresses: [5] }), "TypeError", "options.addresses[0]", "5"],
  [() => network.a.addInterface({ addresses: ["10.0.0.1"] }), "RangeError", '"10.0.0.1"'],
  [() => network.nicA.addAddress("10.0.0.300/24"), "RangeError", '"10.0.0.300/24"'],
  [() => network.nicA.addAddress("224.0.0.1/4"), "RangeError", "224.0.0.1"],
  [() => network.a.addRoute({ to: "default", via: "x" }), "RangeError", "route.via", '"x"'],
  [() => network.a.addRoute({ to: "default", via: "192.0.2.1" }), "RangeError", "192.0.2.1"],
  [() => network.a.addNeighbor(network.nicB, "10.0.0.9", "02:00:00:00:00:01"), "TypeError", "nic"],

  [() => network.a.connect("nonsense"), "SocketError", "address", '"nonsense"'],
  [() => network.a.connect("10.0.0.2:70000"), "SocketError", "address", '"10.0.0.2:70000"'],
  [() => network.a.connect({ hostname: 5, port: 1 }), "TypeError", "address.hostname", "5"],
  [() => network.a.connect({ hostname: "10.0.0.2", port: 0 }), "SocketError", "address.port", "0"],
  [() => network.a.connect({ hostname: "10.0.0.2", port: 65_536 }), "SocketError", "65536"],
  [() => network.a.connect({ hostname: "10.0.0.2", port: "80" }), "TypeError", "port", '"80"'],
  [() => network.a.connect("10.0.0.2:80", { signal: 1 }), "TypeError", "options.signal", "1"],
  [() => network.a.connect("10.0.0.2:80", { connectTimeout: -1 }), "RangeError", "connectTimeout"],
  [() => network.a.connect("10.0.0.2:80", { noDelay: 1 }), "TypeError", "options.noDelay", "1"],
  [() => network.a.connect("10.0.0.2:80", { secureTransport: "ssl" }), "TypeError", '"ssl"'],
  [() => network.a.connect("10.0.0.2:80", { tls: {} }), "TypeError", "secureTransport"],
  [() => network.a.listen({ port: 80, tls: {} }), "TypeError", "options.tls needs cert and key"],
  [() => network.a.listen({}), "TypeError", "options.port", "undefined"],
  [() => network.a.listen({ port: 1e9 }), "RangeError", "options.port", "1000000000"],
  [() => network.a.listen({ port: 1, backlog: 0 }), "RangeError", "options.backlog", "0"],
  [() => network.a.listen({ port: 1, hostname: "x" }), "RangeError", "options.hostname", '"x"'],
  [() => network.a.bindUdp({ port: -1 }), "RangeError", "options.port", "-1"],
  [() => network.a.ping(1), "TypeError", "hostname", "1"],
  [() => network.a.ping("10.0.0.2", { size: 1e6 }), "RangeError", "options.size", "1000000"],
  [
    () => network.a.ping("10.0.0.2", { timeout: Number.NaN }),
    "RangeError",
    "options.timeout",
    "NaN",
  ],

  [() => client.tryRead("x"), "TypeError", "into", '"x"'],
  [() => client.tryRead(new Uint8Array(0)), "RangeError", "into"],
  [() => client.tryWrite([1]), "TypeError", "from", "an array of 1"],
  [() => client.setNoDelay("yes"), "TypeError", "noDelay", '"yes"'],
  [() => client.setTcpOptions({ cork: "yes" }), "TypeError", "options.cork", '"yes"'],
  [() => network.a.setTcpOptions({ retries: 0 }), "RangeError", "options.retries", "0"],
  [() => network.a.connect("10.0.0.2:80", { tcp: { ecn: true } }), "TypeError", "tcp.ecn", "true"],
  [() => network.a.connect("10.0.0.2:80", { fastOpen: 1 }), "TypeError", "fastOpen", "1"],
  [() => network.a.listen({ port: 0, fastOpen: true }), "TypeError", "fastOpen", "true"],
  [() => network.a.listen({ port: 0, tcp: { linger: "no" } }), "RangeError", "tcp.linger", '"no"'],
  [() => client.startTls(), "SocketError", "ERR_INVALID_STATE", "secureTransport"],

  [() => lan.plug({}), "TypeError", "port", "an object"],
  [() => lan.plug(network.nicA), "TypeError", "a:0", "plugged in already"],
  [() => plug(cable.a, cable.a), "TypeError", "itself"],
  [() => plug(functionPort({ send() {} }), functionPort({ send() {} })), "TypeError", "engine"],
  [() => capture(functionPort({ send() {} })), "TypeError", "not plugged in"],
  [() => capture(5), "TypeError", "target", "5"],
  [() => capture(network.nicA, { snapLength: 0 }), "RangeError", "options.snapLength", "0"],
  [() => functionPort({}), "TypeError", "options.send", "undefined"],
  [() => v86Port({}), "TypeError", "emulator", "an object"],
  [() => webSocketPort({}), "TypeError", "target", "an object"],
];

for (const [call, name, ...parts] of cases) {
  const source = String(call).replace(/\s+/g, " ").replace("() => ", "");
  test(`${source} fails with ${name}`, async () => {
    await assert.rejects(
      async () => await call(),
      (error) => {
        assert.equal(error.name, name, error.stack);
        for (const part of parts) assert.ok(error.message.includes(part), error.message);
        return true;
      },
    );
  });
}
