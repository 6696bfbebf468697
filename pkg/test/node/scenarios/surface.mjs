// What the modules and their classes have: names, kinds, and how many arguments functions take. What begins with an underscore, and symbols of Node's
// own, are how Node is made inside.

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { scenario, turns, when } from "../runner.mjs";

const isPublic = (name) => typeof name === "string" && !name.startsWith("_");
/** Of the look-alikes' classes, what the rest of them needs of each other. */
const INTERNAL = /^onHandle/;

/** All that an object has, by itself or from its classes. */
function namesOf(object) {
  const names = new Set();
  for (let at = object; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    if (at === Function.prototype) break;
    for (const name of Reflect.ownKeys(at)) {
      if (isPublic(name) && !INTERNAL.test(name)) names.add(name);
    }
  }
  return [...names].sort();
}

/** Node's inherit by functions, ours are classes: what functions have by being called so does not count. */
const BY_NATURE = ["prototype", "length", "name", "arguments", "caller", "super_"];

scenario("what net has", async (run) => {
  const note = run.lane("net");
  const { client: net } = run;
  for (const name of Object.keys(net).sort()) {
    if (name !== "default" && isPublic(name)) note(name, typeof net[name]);
  }
  for (const type of ["Socket", "Server", "BlockList", "SocketAddress"]) {
    note(type, namesOf(net[type].prototype));
    note(
      "static",
      namesOf(net[type]).filter((name) => !BY_NATURE.includes(name)),
    );
  }
  note("a socket", namesOf(new net.Socket()));
  note("a server", namesOf(net.createServer()));
});

scenario("what sockets and servers have once they are used", async (run) => {
  const note = run.lane("names");
  const { client, peer, server } = await run.pair();
  note("server", namesOf(server));
  note("client", namesOf(client));
  note("peer", namesOf(peer));
  client.setTimeout(1_000);
  server.maxConnections = 5;
  client.destroy();
  await when(peer, "close");
  note("server", namesOf(server));
  note("client", namesOf(client));
  note("peer", namesOf(peer));
});

scenario("what dgram has", async (run) => {
  const note = run.lane("dgram");
  const { clientUdp: dgram } = run;
  for (const name of Object.keys(dgram).sort()) {
    if (name !== "default" && isPublic(name)) note(name, typeof dgram[name]);
  }
  note("Socket", namesOf(dgram.Socket.prototype));
  const socket = await run.bind(dgram);
  note("a socket", namesOf(socket));
});

/** Notes what is told by channels while `work` runs, each in a lane of its own. */
async function told(run, channels, work) {
  const listeners = channels.map((channel) => {
    const note = run.lane(channel);
    return [channel, (message) => note("told", Object.keys(message), message)];
  });
  for (const [channel, listener] of listeners) subscribe(channel, listener);
  try {
    await work();
  } finally {
    for (const [channel, listener] of listeners) unsubscribe(channel, listener);
  }
}

scenario("diagnostics channels tell of sockets and servers", async (run) => {
  const channels = [
    "net.client.socket",
    "net.server.socket",
    "tracing:net.server.listen:asyncStart",
    "tracing:net.server.listen:asyncEnd",
    "tracing:net.server.listen:error",
    "udp.socket",
  ];
  await told(run, channels, async () => {
    const { server } = await run.pair();
    const other = run.track(run.server.createServer());
    const failed = when(other, "error");
    other.listen(server.address().port, run.address);
    await failed;
    const client = run.connect(server);
    await when(client, "connect");
    run.track(run.clientUdp.createSocket("udp4"));
    await turns();
  });
});
