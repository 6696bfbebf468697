/** A world in Vitest: its fake timers are not needed, the world has its own. */

import { once } from "node:events";
import { createWorld, simulate } from "ethertab/testing";
import { expect, test } from "vitest";

test("an hour of heartbeats over a bad line", async (context) => {
  const world = await createWorld({ seed: 1, fakeTimers: true, test: context });
  const [client, server] = [world.host("client"), world.host("server")];
  world.cable(client, server, { latency: "80ms", loss: 0.05 });
  server.net.createServer((socket) => socket.pipe(socket)).listen(7);

  let beats = 0;
  await world.run(async () => {
    const socket = client.net.connect(7, "server");
    socket.on("data", () => {
      beats += 1;
    });
    await once(socket, "connect");
    const timer = setInterval(() => socket.write("."), 60_000);
    await new Promise((resolve) => setTimeout(resolve, 3_630_000));
    clearInterval(timer);
    socket.destroy();
  });
  expect(beats).toBe(60);
  expect(world.capture.retransmissions().length).toBeGreaterThan(0);
});

test("three networks, the same story", () =>
  simulate({ seeds: 3 }, async (world) => {
    const [a, b] = [world.host("a"), world.host("b")];
    world.cable(a, b, { latency: "10ms", loss: 0.1 });
    b.serve(80, () => new Response("hello"));
    const response = await a.fetch("http://b/");
    expect(await response.text()).toBe("hello");
  }));
