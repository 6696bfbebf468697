// Which addresses can be connected to, and from which ports.

import { attempt, ends, scenario, watch, when } from "../runner.mjs";

/** Connects from the server's own host, which a stack's loopback is for. */
const own = { skip: ["cable"] };

for (const [listening, address] of [
  ["0.0.0.0", "0.0.0.0"],
  ["::", "::"],
  ["::", "0.0.0.0"],
  ["::", "::ffff:127.0.0.1"],
  ["::ffff:127.0.0.1", "127.0.0.1"],
  ["::ffff:127.0.0.1", "::ffff:7f00:1"],
]) {
  scenario(
    `connecting to ${address}, of a server of ${listening}`,
    async (run) => {
      const note = run.lane("server");
      const server = await run.listen(
        {},
        (socket) => {
          run.port(socket.remotePort, "CLIENT");
          note("ends", ends(socket));
          run.track(socket).end();
        },
        { host: listening },
      );
      note("address", server.address());
      const client = run.connect(server, { host: address });
      const seen = run.lane("client");
      client.on("connect", () => seen("ends", ends(client)));
      watch(seen, client);
      await when(client, "close");
    },
    own,
  );
}

for (const host of ["0.0.0.0", "::", "::ffff:127.0.0.1"]) {
  scenario(
    `nobody listens, at ${host}`,
    async (run) => {
      const port = await run.unusedPort();
      const client = watch(run.lane("client"), run.track(run.client.connect({ port, host })));
      run.port(port, "SERVER");
      await when(client, "close");
    },
    own,
  );
}

for (const host of ["255.255.255.255", "224.0.0.1", "ff02::1", "ff0e::1"]) {
  scenario(`an address of many: ${host}`, async (run) => {
    const client = watch(run.lane("client"), run.track(run.client.connect({ port: 80, host })));
    await when(client, "close");
  });
}

scenario("port 0", async (run) => {
  const client = run.track(run.client.connect({ port: 0, host: run.address }));
  watch(run.lane("client"), client);
  await when(client, "close");
});

scenario("port 0, destroyed before it is refused", async (run) => {
  const client = run.track(run.client.connect({ port: 0, host: run.address }));
  watch(run.lane("client"), client);
  process.nextTick(() => client.destroy());
  await when(client, "close");
});

for (const [name, where] of [
  ["the same address", (run) => ({ localAddress: run.address })],
  ["any address", () => ({})],
]) {
  scenario(
    `a port of one's own at which a server listens, of ${name}`,
    async (run) => {
      const target = await run.listen({}, () => {});
      const other = await run.listen({}, () => {});
      const { port: localPort } = other.address();
      run.port(localPort, "OTHER");
      const client = run.connect(target, { localPort, ...where(run) });
      watch(run.lane("client"), client);
      await when(client, "close");
    },
    own,
  );
}

scenario("backlogs that are no whole numbers", async (run) => {
  const note = run.lane("server");
  for (const backlog of [1.5, "7", "many", {}]) {
    const server = run.track(run.server.createServer());
    note(
      JSON.stringify(backlog),
      attempt(() => server.listen({ port: 0, host: run.address, backlog }) === server),
    );
    await when(server, "listening");
  }
});
