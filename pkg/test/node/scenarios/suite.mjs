// What Node's own tests of `net` look at, and the other scenarios do not.

import { AsyncLocalStorage } from "node:async_hooks";
import { getEventListeners } from "node:events";
import { BlockList } from "node:net";
import { attempt, ends, scenario, state, turns, watch, when } from "../runner.mjs";

/** Sockets take block lists from version 22 of Node on. */
const hasBlockLists = "isBlockList" in BlockList;

scenario("after close nothing is known of the peer, and settings do nothing", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  peer.destroy();
  client.resume();
  await when(client, "close");
  note("ends", ends(client), client.address());
  for (const name of [
    "setNoDelay",
    "setKeepAlive",
    "setTimeout",
    "ref",
    "unref",
    "pause",
    "resume",
  ]) {
    note(
      name,
      attempt(() => client[name]() === client),
    );
  }
  note("state", state(client));
});

scenario("a block list of the client's", async (run) => {
  const note = run.lane("client");
  note("has", hasBlockLists);
  if (!hasBlockLists) return;
  const server = await run.listen({}, () => {});
  const blockList = new BlockList();
  blockList.addAddress(run.address);
  watch(note, run.connect(server, { blockList }));
  await turns();
});

scenario("a block list of the server's", async (run) => {
  const note = run.lane("server");
  note("has", hasBlockLists);
  if (!hasBlockLists) return;
  const blockList = new BlockList();
  blockList.addAddress(run.own);
  const server = await run.listen({ blockList }, () => note("connection"));
  server.on("drop", (data) => note("drop", typeof data.remotePort, data.remoteFamily));
  const client = run.connect(server);
  watch(run.lane("client"), client);
  await when(client, "close");
});

scenario("a port of one's own that is taken", async (run) => {
  const note = run.lane("client");
  const { client, server } = await run.pair();
  const { localPort } = client;
  const second = run.connect(server, { localPort, localAddress: run.own });
  watch(note, second);
  await when(second, "close");
});

scenario("a signal is listened to once", async (run) => {
  const note = run.lane("signal");
  const server = await run.listen({}, (socket) => run.track(socket).resume());
  const { signal } = new AbortController();
  const client = run.connect(server, { signal });
  note("connecting", getEventListeners(signal, "abort").length);
  await when(client, "connect");
  const aborted = AbortSignal.abort();
  const late = run.track(new run.client.Socket({ signal: aborted }));
  late.on("error", (error) => note("error", error));
  note("aborted before", getEventListeners(aborted, "abort").length);
  await when(late, "close");
});

scenario("arguments that were understood already are marked, others are none", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => socket.end());
  const { port } = server.address();
  const plain = [{ port, host: run.address }, () => note("never")];
  note(
    "plain",
    attempt(() => new run.client.Socket().connect(plain)),
  );
  const socket = run.track(new run.client.Socket());
  const understood = run.client._normalizeArgs([
    { port, host: run.address },
    () => note("connect"),
  ]);
  socket.connect(understood).resume();
  await when(socket, "close");
});

scenario("hints and hosts that are none", async (run) => {
  const note = run.lane("thrown");
  const bad = [
    { host: 5 },
    { host: true },
    { host: {} },
    { hints: "all" },
    { hints: 0x1000 },
    { hints: -1 },
  ];
  for (const options of bad) {
    note(
      JSON.stringify(options),
      attempt(() => run.client.connect({ port: 80, ...options })),
    );
  }
});

scenario("a handle that was closed takes no writes", async (run) => {
  const note = run.lane("client");
  const { client } = await run.pair();
  client.on("error", (error) => note("error", error));
  client._handle.close();
  client.write("nowhere", (error) => note("written", error));
  await turns();
});

scenario("arguments of connect that are wrong", async (run) => {
  const note = run.lane("thrown");
  const { client: net } = run;
  const bad = [
    [],
    [{}],
    [{ port: -1 }],
    [{ port: 65_536 }],
    [{ port: "nonsense" }],
    [{ port: true }],
    [{ port: {} }],
    [{ port: 80, lookup: "nothing" }],
    [{ port: 80, localAddress: "here" }],
    [{ port: 80, localPort: "here" }],
    [{ port: 80, host: "127.0.0.1", autoSelectFamily: "yes" }],
    [{ port: 80, host: "127.0.0.1", autoSelectFamilyAttemptTimeout: -10 }],
    [{ port: 80, keepAliveInitialDelay: "long" }],
    [{ port: 80, signal: {} }],
  ];
  for (const args of bad) {
    note(
      "connect",
      attempt(() => {
        const socket = run.track(net.connect(...args));
        socket.on("error", () => {});
        socket.destroy();
        return "accepted";
      }),
    );
  }
});

scenario("arguments of listen that are wrong", async (run) => {
  const note = run.lane("thrown");
  const bad = [
    [{ port: -1 }],
    [{ port: 65_536 }],
    [{ port: "nonsense" }],
    [{ host: "127.0.0.1" }],
    [{}],
    [true],
    [{ port: 0, signal: {} }],
    [-1],
    [1.5],
    ["", 0],
  ];
  for (const args of bad) {
    note(
      "listen",
      attempt(() => {
        const server = run.track(run.server.createServer());
        server.on("error", () => {});
        server.listen(...args);
        return "accepted";
      }),
    );
  }
  await turns();
});

scenario("close's callback that is no function", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({});
  server.on("close", () => note("close"));
  note("returns", server.close("not a function") === server);
  await turns();
});

scenario("a closed server's callback is given its error", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({});
  server.close(() => note("first"));
  server.close((error) => note("second", error));
  await turns();
});

scenario("ending before connecting", async (run) => {
  const note = run.lane("client");
  const socket = run.track(new run.client.Socket());
  watch(note, socket);
  socket.end("nobody", (error) => note("ended", error));
  await turns();
  note("state", state(socket));
});

scenario("ended while it connects", async (run) => {
  const { address } = run;
  const server = await run.listen({ allowHalfOpen: true }, (socket) => {
    watch(run.lane("peer"), socket).on("end", () => socket.end("answer"));
  });
  const client = run.client.connect({ port: server.address().port, host: address });
  watch(run.lane("client"), run.track(client));
  client.end("question");
  await when(client, "close");
  run.lane("state")("state", state(client));
});

scenario("destroyed at once, without a listener", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => socket.on("error", () => {}));
  const client = run.connect(server);
  client.destroy();
  client.on("close", (hadError) => note("close", hadError));
  await when(client, "close");
  note("state", state(client));
});

scenario("reset twice, and after destroy", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  watch(run.lane("peer"), peer);
  watch(note, client);
  note("same", client.resetAndDestroy() === client, client.resetAndDestroy() === client);
  client.destroy();
  note("after destroy", client.resetAndDestroy() === client);
  await when(peer, "close");
  await turns();
});

scenario("writing after a reset", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  watch(note, client);
  watch(run.lane("peer"), peer);
  client.resetAndDestroy();
  note(
    "write",
    client.write("late", (error) => note("written", error)),
  );
  await when(peer, "close");
  await turns();
});

scenario("destroying before what was written is sent", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  peer.resume();
  watch(note, client);
  client.write("one", (error) => note("one", error));
  client.write("two", (error) => note("two", error));
  client.destroy();
  client.write("three", (error) => note("three", error));
  await when(client, "close");
  await turns();
});

scenario("write's arguments", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  let got = "";
  peer.on("data", (data) => {
    got += data.toString("latin1");
  });
  client.write("hé", "latin1", () => note("written"));
  client.write("6869", "hex");
  client.write("aGk=", "base64");
  client.write("hi", "utf16le");
  client.write(Buffer.from("raw"));
  client.write(new Uint8Array([33, 34]));
  client.end("fin", "utf8", () => note("ended"));
  await when(peer, "end");
  note("got", got);
});

scenario("sockets that are not destroyed by themselves", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair({}, { autoDestroy: false, emitClose: true });
  watch(note, client);
  peer.end();
  await turns(30);
  note("state", state(client));
});

scenario("maxConnections of 1, and more once one is closed", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({}, (socket) => {
    note("connection");
    socket.resume();
  });
  server.on("drop", () => note("drop"));
  server.maxConnections = 1;
  const first = run.connect(server);
  await when(first, "connect");
  const second = run.connect(server);
  second.on("error", () => {}).resume();
  await when(second, "close");
  first.destroy();
  await turns(30);
  const third = run.connect(server);
  third.on("error", () => {}).resume();
  await when(third, "connect");
  await turns(30);
  note("connections", server._connections);
});

scenario("maxConnections of 0", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({}, (socket) => {
    note("connection");
    run.track(socket).end();
  });
  server.maxConnections = 0;
  server.on("drop", ({ remoteFamily }) => note("drop", remoteFamily));
  const client = run.connect(server);
  client.on("error", () => {}).resume();
  await when(client, "close");
});

scenario("listening in the callback of close", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({});
  for (let count = 0; count < 3; count += 1) {
    await new Promise((resolve) => server.close(resolve));
    note("closed", server.listening, server.address());
    await new Promise((resolve) => server.listen(0, run.address, resolve));
    note("listening", server.listening, server.address().family);
  }
});

scenario("connecting by name: the lookup's options", async (run) => {
  const note = run.lane("lookup");
  const server = await run.listen({}, () => {});
  for (const options of [
    {},
    { family: 4 },
    { family: 6 },
    { family: "IPv4" },
    { hints: 0 },
    { autoSelectFamily: false },
    { localAddress: run.own },
  ]) {
    const client = run.connect(server, {
      host: "host.test",
      ...options,
      lookup(name, given, callback) {
        note("asked", name, given);
        if (given.all) callback(null, [{ address: run.address, family: 4 }]);
        else callback(null, run.address, 4);
      },
    });
    client.on("error", (error) => note("error", error));
    await Promise.race([when(client, "connect"), when(client, "close")]);
    client.destroy();
  }
});

scenario("silence: the callback, the event, and times that are none", async (run) => {
  const { client } = await run.pair();
  const note = run.lane("client");
  const silence = when(client, "timeout");
  note("returns", client.setTimeout(10, () => note("callback")) === client, client.timeout);
  client.on("timeout", () => note("timeout"));
  await silence;
  await turns();
  note("still open", client.destroyed);
  for (const value of ["100", -1, Number.NaN, {}, Number.POSITIVE_INFINITY]) {
    note(
      "setTimeout",
      attempt(() => client.setTimeout(value) === client),
    );
  }
  client.setTimeout(0);
  note(
    "callback",
    attempt(() => client.setTimeout(10_000, "nothing")),
  );
});

scenario("contexts: each event in that of its socket", async (run) => {
  const storage = new AsyncLocalStorage();
  const note = run.lane("contexts");
  const server = await storage.run("server", () =>
    run.listen({}, (socket) => {
      note("connection", storage.getStore());
      socket.on("data", () => note("peer data", storage.getStore()));
      socket.on("end", () => note("peer end", storage.getStore()));
      socket.end("bye");
    }),
  );
  const client = storage.run("client", () => run.connect(server));
  for (const event of ["connect", "end", "close"]) {
    client.on(event, () => note(event, storage.getStore()));
  }
  client.resume();
  storage.run("write", () => client.write("hi", () => note("written", storage.getStore())));
  await when(client, "close");
  await turns();
  const lane = run.lanes.contexts;
  lane.sort((a, b) => (a[0] < b[0] ? -1 : 1));
});

scenario("several addresses: all are refused, one after the other", async (run) => {
  const note = run.lane("client");
  const port = run.port(await run.unusedPort(), "OTHER");
  const client = run.track(
    run.client.connect({
      host: "host.test",
      port,
      autoSelectFamily: true,
      lookup: (_name, _options, callback) =>
        callback(null, [
          { address: run.address, family: 4 },
          { address: run.address6, family: 6 },
        ]),
    }),
  );
  watch(note, client, { data: false });
  await when(client, "close");
  note("tried", client.autoSelectFamilyAttemptedAddresses?.length);
});

scenario("defaults of choosing among families", async (run) => {
  const note = run.lane("net");
  const { client: net } = run;
  note("before", net.getDefaultAutoSelectFamily(), net.getDefaultAutoSelectFamilyAttemptTimeout());
  note(
    "wrong",
    attempt(() => net.setDefaultAutoSelectFamily("yes")),
  );
  note(
    "wrong",
    attempt(() => net.setDefaultAutoSelectFamilyAttemptTimeout("long")),
  );
});

scenario("a socket's own streams: writableCorked, highWaterMark, readableFlowing", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  peer.resume();
  note("marks", client.writableHighWaterMark, client.readableHighWaterMark);
  note("flowing", client.readableFlowing, client.readableLength);
  client.cork();
  client.cork();
  note("corked", client.writableCorked);
  client.write("a");
  client.write("b");
  note("length", client.writableLength, client.bytesWritten);
  client.uncork();
  client.uncork();
  await turns();
  note("length", client.writableLength, client.bytesWritten);
  client.resume();
  note("flowing", client.readableFlowing);
});

scenario("UDP: block lists", async (run) => {
  const note = run.lane("udp");
  note("has", hasBlockLists);
  if (!hasBlockLists) return;
  const blockList = new BlockList();
  blockList.addAddress(run.own);
  blockList.addAddress(run.address);
  note(
    "wrong",
    attempt(() => run.clientUdp.createSocket({ type: "udp4", sendBlockList: {} })?.type),
  );
  const server = await run.bind(run.serverUdp, { type: "udp4", receiveBlockList: blockList });
  server.on("message", (message) => note("message", message));
  const { port } = server.address();
  run.port(port, "SERVER");
  const client = await run.bind(run.clientUdp, { type: "udp4", sendBlockList: blockList });
  client.on("error", (error) => note("error", error));
  await new Promise((resolve) => {
    client.send("one", port, run.address, (error) => {
      note("sent", error);
      resolve();
    });
  });
  const other = await run.bind(run.clientUdp);
  await new Promise((resolve) => other.send("two", port, run.address, resolve));
  await turns(30);
});

scenario("UDP: groups, by default and by interface", async (run) => {
  const note = run.lane("udp");
  const socket = await run.bind(run.clientUdp);
  for (const [method, ...args] of [
    ["addMembership", "224.0.0.251"],
    ["addMembership", "224.0.0.251"],
    ["dropMembership", "224.0.0.251"],
    ["dropMembership", "224.0.0.251"],
    ["addMembership", "10.0.0.1"],
    ["addMembership"],
    ["addMembership", "nonsense"],
    ["addMembership", "224.0.0.251", "192.0.2.99"],
    ["setMulticastTTL", 3],
    ["setMulticastTTL", 256],
    ["setMulticastTTL", "3"],
    ["setMulticastLoopback", true],
    ["setMulticastInterface", "192.0.2.99"],
    ["setMulticastInterface", 5],
  ]) {
    note(
      method,
      args,
      attempt(() => socket[method](...args)),
    );
  }
});

scenario("UDP: at once, in versions of Node that can", async (run) => {
  const note = run.lane("udp");
  const server = run.track(run.serverUdp.createSocket("udp4"));
  note("has", typeof server.bindSync, typeof server.connectSync);
  if (typeof server.bindSync !== "function") return;
  server.on("listening", () => note("listening"));
  const { port, family } = server.bindSync({ address: run.address });
  run.port(port, "SERVER");
  note("bound", port, family);
  for (const [options] of [[{}], [{ port: -1 }], [{ address: "name" }], [5]]) {
    const socket = run.track(run.serverUdp.createSocket("udp4"));
    note(
      "bind",
      attempt(() => socket.bindSync(options).family),
    );
  }
  note(
    "again",
    attempt(() => server.bindSync()),
  );
  const client = run.track(run.clientUdp.createSocket("udp4"));
  client.on("connect", () => note("connect"));
  note(
    "name",
    attempt(() => client.connectSync(port, "name")),
  );
  client.connectSync(port, run.address);
  note("remote", client.remoteAddress());
  note(
    "again",
    attempt(() => client.connectSync(port, run.address)),
  );
  const message = when(server, "message");
  client.send("hello");
  note("message", (await message)[0]);
});

scenario("type of service, in versions of Node that have it", async (run) => {
  const note = run.lane("client");
  const { client, server } = await run.pair();
  note("has", typeof client.setTypeOfService, typeof client.getTypeOfService);
  if (typeof client.setTypeOfService !== "function") return;
  const fresh = run.track(new run.client.Socket());
  note("fresh", fresh.getTypeOfService(), fresh.setTypeOfService(8) === fresh);
  note("fresh", fresh.getTypeOfService());
  note("open", client.getTypeOfService());
  client.setTypeOfService(16);
  note("open", client.getTypeOfService());
  for (const tos of ["8", -1, 256, 1.5, Number.NaN]) {
    note(
      "wrong",
      attempt(() => client.setTypeOfService(tos)),
    );
  }
  note(
    "option",
    attempt(() => new run.client.Socket({ typeOfService: 300 })),
  );
  const given = run.connect(server, { typeOfService: 32 });
  await when(given, "connect");
  note("given", given.getTypeOfService());
});
