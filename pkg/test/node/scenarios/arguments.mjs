// What is said of wrong arguments, and what the modules hold.

import { attempt, scenario } from "../runner.mjs";

/** Each of some calls, and what it throws. */
function throwing(name, calls) {
  scenario(name, async (run) => {
    const note = run.lane("thrown");
    for (const [label, call] of Object.entries(calls)) {
      const outcome = attempt(() => call(run.client, run));
      note(label, outcome instanceof Error ? outcome : "nothing");
      if (typeof outcome?.destroy === "function") outcome.on("error", () => {}).destroy();
    }
  });
}

throwing("ports that are none", {
  text: (net) => net.connect({ port: "x" }),
  empty: (net) => net.connect({ port: "" }),
  high: (net) => net.connect({ port: 65_536 }),
  low: (net) => net.connect({ port: -1 }),
  fraction: (net) => net.connect({ port: 1.5 }),
  object: (net) => net.connect({ port: {} }),
  boolean: (net) => net.connect({ port: true }),
  none: (net) => net.connect({}),
  nothing: (net) => net.connect(),
  null: (net) => net.connect({ port: null }),
});

throwing("wrong options of connect", {
  localAddress: (net) => net.connect({ port: 80, localAddress: "nowhere" }),
  localPort: (net) => net.connect({ port: 80, host: "127.0.0.1", localPort: "80" }),
  autoSelectFamily: (net) => net.connect({ port: 80, autoSelectFamily: "yes" }),
  attemptTimeout: (net) => net.connect({ port: 80, autoSelectFamilyAttemptTimeout: "soon" }),
  attemptTimeoutLow: (net) => net.connect({ port: 80, autoSelectFamilyAttemptTimeout: -10 }),
  attemptTimeoutFraction: (net) => net.connect({ port: 80, autoSelectFamilyAttemptTimeout: 1.5 }),
  lookup: (net) => net.connect({ port: 80, host: "name.test", lookup: "dns" }),
});

throwing("wrong options of sockets", {
  objectMode: (net) => new net.Socket({ objectMode: true }),
  readableObjectMode: (net) => new net.Socket({ readableObjectMode: true }),
  writableObjectMode: (net) => new net.Socket({ writableObjectMode: true }),
  keepAliveInitialDelay: (net) => new net.Socket({ keepAliveInitialDelay: "soon" }),
});

throwing("wrong times", {
  text: (net) => new net.Socket().setTimeout("1000"),
  negative: (net) => new net.Socket().setTimeout(-1),
  infinite: (net) => new net.Socket().setTimeout(Number.POSITIVE_INFINITY),
  nan: (net) => new net.Socket().setTimeout(Number.NaN),
  none: (net) => new net.Socket().setTimeout(),
  callback: (net) => new net.Socket().setTimeout(100, "callback"),
});

throwing("wrong options of servers", {
  options: (net) => net.createServer("options"),
  number: (net) => net.createServer(80),
  highWaterMark: (net) => net.createServer({ highWaterMark: "big" }),
  keepAliveInitialDelay: (net) => net.createServer({ keepAliveInitialDelay: "soon" }),
});

throwing("wrong arguments of listen", {
  high: (net) => net.createServer().listen(65_536),
  text: (net) => net.createServer().listen({ port: "x" }),
  empty: (net) => net.createServer().listen({}),
  boolean: (net) => net.createServer().listen({ port: true }),
  host: (net) => net.createServer().listen({ host: "127.0.0.1" }),
  signal: (net) => net.createServer().listen({ port: 0, signal: "abort" }),
  path: (net) => net.createServer().listen({ path: true }),
});

throwing("wrong chunks", {
  number: (net) => new net.Socket().write(1),
  null: (net) => new net.Socket().write(null),
  object: (net) => new net.Socket().write({}),
  encoding: (net) => new net.Socket().write("x", "nonsense"),
});

scenario("what the module holds", async (run) => {
  const note = run.lane("module");
  const { client: net } = run;
  const names = Object.keys(net)
    .filter((name) => name !== "default")
    .sort();
  note("names", names);
  for (const address of ["10.0.0.1", "::1", "fe80::1%eth0", "nonsense", ""]) {
    note(address, net.isIP(address), net.isIPv4(address), net.isIPv6(address));
  }
  const list = new net.BlockList();
  list.addSubnet("10.0.0.0", 8);
  note("blocked", list.check("10.1.2.3"), list.check("11.1.2.3"));
  note("address", new net.SocketAddress({ address: "10.0.0.1", port: 80 }).toJSON());
});

scenario("classes and how they are made", async (run) => {
  const note = run.lane("classes");
  const { client: net } = run;
  const socket = net.Socket();
  note("socket", socket instanceof net.Socket, socket.constructor === net.Socket);
  note("names", net.Socket.name, net.Server.name, net.Stream === net.Socket);
  const server = net.Server();
  note("server", server instanceof net.Server, server.constructor === net.Server);
  class Mine extends net.Socket {}
  const mine = new Mine({ allowHalfOpen: true });
  note("mine", mine instanceof net.Socket, mine.constructor === Mine, mine.allowHalfOpen);
  note("same", net.connect === net.createConnection, typeof net.createServer);
});
