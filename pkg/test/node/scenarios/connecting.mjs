// How connections begin, or don't.

import { AsyncLocalStorage } from "node:async_hooks";
import { ends, scenario, state, turns, watch, when } from "../runner.mjs";

scenario("a connection opens, with events in order", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  note("state", state(client));
  await when(client, "ready");
  run.port(client.localPort, "CLIENT");
  note("state", state(client));
  note("ends", ends(client));
  note("address", client.address());
});

scenario("the accepted socket knows both ends", async (run) => {
  const { peer, client } = await run.pair();
  const note = run.lane("server");
  note("ends", ends(peer));
  note("address", peer.address());
  note("state", state(peer));
  run.lane("client")("ends", ends(client));
});

scenario("over IPv6", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket), { host: run.address6 });
  const note = run.lane("client");
  note("server", server.address());
  const client = watch(note, run.connect(server, { host: run.address6 }));
  await when(client, "ready");
  run.port(client.localPort, "CLIENT");
  note("ends", ends(client));
});

scenario("a server for all addresses sees IPv4 mapped", async (run) => {
  const note = run.lane("server");
  let accepted;
  const connection = new Promise((resolve) => {
    accepted = resolve;
  });
  const server = await run.listen({}, (socket) => accepted(run.track(socket)), {});
  note("address", server.address());
  const client = run.connect(server);
  await when(client, "connect");
  run.port(client.localPort, "CLIENT");
  note("ends", ends(await connection));
  run.lane("client")("ends", ends(client));
});

scenario("a server for all IPv4 addresses", async (run) => {
  const note = run.lane("server");
  let accepted;
  const connection = new Promise((resolve) => {
    accepted = resolve;
  });
  const server = await run.listen({}, (socket) => accepted(run.track(socket)), { host: "0.0.0.0" });
  note("address", server.address());
  const client = run.connect(server);
  await when(client, "connect");
  run.port(client.localPort, "CLIENT");
  note("ends", ends(await connection));
});

scenario("nobody listens", async (run) => {
  const port = await run.unusedPort();
  const note = run.lane("client");
  const client = run.track(run.client.connect({ port, host: run.address }));
  watch(note, client);
  await when(client, "close");
  note("state", state(client));
  note("ends", ends(client));
});

scenario("nobody listens, over IPv6", async (run) => {
  const port = await run.unusedPort();
  const note = run.lane("client");
  const client = watch(note, run.track(run.client.connect({ port, host: run.address6 })));
  await when(client, "close");
});

scenario("a refused connection fails the write that waited for it", async (run) => {
  const port = await run.unusedPort();
  const note = run.lane("client");
  const client = watch(note, run.track(run.client.connect(port, run.address)));
  client.write("never sent", (error) => note("written", error));
  note("state", state(client));
  await when(client, "close");
  note("state", state(client));
});

scenario("a refused connection fails the end that waited for it", async (run) => {
  const port = await run.unusedPort();
  const note = run.lane("client");
  const client = watch(note, run.track(run.client.connect(port, run.address)));
  client.end("never sent", (error) => note("ended", error));
  await when(client, "close");
  note("state", state(client));
});

scenario("connect with port, host and callback", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const { port } = server.address();
  await new Promise((resolve) => {
    const client = run.track(
      run.client.connect(port, run.address, function () {
        note("callback", this === client);
        resolve();
      }),
    );
    watch(note, client);
  });
});

scenario("a socket that is made first and connected later", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.track(new run.client.Socket()));
  note("state", state(client));
  note("ends", ends(client));
  const returned = client.connect(server.address().port, run.address, () => note("callback"));
  note("returned", returned === client);
  note("state", state(client));
  await when(client, "ready");
  note("state", state(client));
});

scenario("what is written while it connects is sent", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({}, (socket) => watch(note, run.track(socket)));
  const clientNote = run.lane("client");
  const client = watch(clientNote, run.connect(server));
  clientNote(
    "wrote",
    client.write("one", () => clientNote("written one")),
  );
  clientNote(
    "wrote",
    client.write("two", () => clientNote("written two")),
  );
  clientNote("state", state(client));
  client.end("three", () => clientNote("ended"));
  clientNote("state", state(client));
  await when(client, "close");
  clientNote("state", state(client));
});

scenario("destroyed while it connects", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  client.destroy();
  note("state", state(client));
  await when(client, "close");
  await turns();
  note("state", state(client));
});

scenario("destroyed with an error while it connects, with a write waiting", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  client.write("lost", (error) => note("written", error));
  client.destroy(new Error("enough"));
  note("state", state(client));
  await when(client, "close");
  await turns();
});

scenario("a closed socket connects again", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket).end("bye"));
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  await when(client, "close");
  note("state", state(client));
  client.connect(server.address().port, run.address);
  note("state", state(client));
  await when(client, "close");
  note("state", state(client));
});

scenario("a refused socket connects again after a server came", async (run) => {
  const port = await run.unusedPort();
  const note = run.lane("client");
  const client = watch(note, run.track(run.client.connect(port, run.address)));
  await when(client, "close");
  await run.listen({}, (socket) => run.track(socket).end("here"), { port, host: run.address });
  client.connect(port, run.address);
  await when(client, "close");
});

scenario("a lookup that gives one address", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = run.connect(server, {
    host: "server.test",
    family: 4,
    lookup(host, options, callback) {
      note("asked", host, options);
      callback(null, run.address, 4);
    },
  });
  watch(note, client);
  await when(client, "ready");
});

scenario("a lookup that gives all addresses", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = run.connect(server, {
    host: "server.test",
    lookup(host, options, callback) {
      note("asked", host, options);
      setImmediate(callback, null, [{ address: run.address, family: 4 }]);
    },
  });
  watch(note, client);
  await when(client, "ready");
  note("attempted", client.autoSelectFamilyAttemptedAddresses);
});

scenario("a lookup that fails", async (run) => {
  const note = run.lane("client");
  const client = run.track(
    run.client.connect({
      port: 80,
      host: "server.test",
      lookup: (_host, _options, callback) =>
        callback(Object.assign(new Error("no such name"), { code: "ENOTFOUND" })),
    }),
  );
  watch(note, client);
  await when(client, "close");
});

scenario("a lookup that gives nonsense", async (run) => {
  for (const [name, all, ...answer] of [
    ["no address", false, "nonsense", 4],
    ["no family", false, run.address, 5],
    ["none of many", true, [{ address: "nonsense", family: 4 }]],
    ["no family of many", true, [{ address: run.address, family: 7 }]],
  ]) {
    const note = run.lane(name);
    const client = run.track(
      run.client.connect({
        port: 80,
        host: "server.test",
        autoSelectFamily: all,
        lookup: (_host, _options, callback) => callback(null, ...answer),
      }),
    );
    watch(note, client);
    await when(client, "close");
  }
});

scenario("destroyed while the name is looked up", async (run) => {
  const note = run.lane("client");
  let answer;
  const client = run.track(
    run.client.connect({
      port: 80,
      host: "server.test",
      lookup: (_host, _options, callback) => {
        answer = callback;
      },
    }),
  );
  watch(note, client);
  client.destroy();
  answer(null, [{ address: run.address, family: 4 }]);
  await when(client, "close");
  await turns();
});

scenario("of two addresses the second answers", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = run.connect(server, {
    host: "server.test",
    autoSelectFamily: true,
    lookup: (_host, _options, callback) =>
      callback(null, [
        { address: run.address6, family: 6 },
        { address: run.address, family: 4 },
      ]),
  });
  watch(note, client);
  await when(client, "ready");
  run.port(client.localPort, "CLIENT");
  note("attempted", client.autoSelectFamilyAttemptedAddresses);
  note("ends", ends(client));
});

scenario("of several addresses none answers", async (run) => {
  const port = await run.unusedPort();
  const note = run.lane("client");
  const client = run.track(
    run.client.connect({
      port,
      host: "server.test",
      autoSelectFamily: true,
      lookup: (_host, _options, callback) =>
        callback(null, [
          { address: run.address, family: 4 },
          { address: run.address6, family: 6 },
          { address: run.address, family: 4 },
        ]),
    }),
  );
  watch(note, client);
  await when(client, "close");
  note("attempted", client.autoSelectFamilyAttemptedAddresses);
});

scenario("an aborted signal destroys the socket", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const controller = new AbortController();
  const client = watch(note, run.connect(server, { signal: controller.signal }));
  await when(client, "ready");
  controller.abort();
  note("state", state(client));
  await when(client, "close");
  note("state", state(client));
});

scenario("a signal that was aborted before", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.connect(server, { signal: AbortSignal.abort() }));
  await when(client, "close");
  await turns();
  note("state", state(client));
});

scenario("from an address and port of one's own", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const spare = await run.unusedPort();
  run.port(spare, "OTHER");
  const note = run.lane("client");
  const client = watch(note, run.connect(server, { localAddress: run.own, localPort: spare }));
  await when(client, "ready");
  note("ends", ends(client));
});

scenario("from an address that is not one's own", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.connect(server, { localAddress: "192.0.2.1" }));
  await when(client, "close");
});

scenario("asynchronous context is kept from connect to close", async (run) => {
  const storage = new AsyncLocalStorage();
  const server = await run.listen({}, (socket) => run.track(socket).end("x"));
  const note = run.lane("client");
  await storage.run("mine", async () => {
    const client = run.connect(server);
    for (const event of ["connect", "ready", "data", "end", "close"]) {
      client.on(event, () => note(event, storage.getStore()));
    }
    storage.run("writer", () => client.write("x", () => note("written", storage.getStore())));
    await when(client, "close");
  });
});

scenario(
  "asynchronous context of a server's connections is the one that it listened in",
  async (run) => {
    const storage = new AsyncLocalStorage();
    const note = run.lane("server");
    let server;
    const done = storage.run("server", async () => {
      let ended;
      const end = new Promise((resolve) => {
        ended = resolve;
      });
      server = await run.listen({}, (socket) => {
        note("connection", storage.getStore());
        run.track(socket).on("data", () => note("data", storage.getStore()));
        socket.on("close", () => ended(note("close", storage.getStore())));
      });
      return end;
    });
    await turns();
    await storage.run("client", async () => {
      while (server === undefined) await turns(1);
      run.connect(server).end("hello");
    });
    await done;
  },
);
