/** A run whose bytes are compared. As a program: prints the hash of each of so many runs. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { createWorld } from "ethertab/testing";

/** A bad network with a bit of everything; the hash of its capture. */
export async function storm(seed) {
  const world = await createWorld({ seed, fakeTimers: true, failures: null });
  try {
    const [a, b, c] = ["a", "b", "c"].map((name) => world.host(name));
    const weather = { latency: "30ms", jitter: "5ms", loss: 0.05, reorder: 0.05, duplicate: 0.02 };
    world.cable(a, world.router("r"), { ...weather, rate: "5mbit" });
    world.cable("r", b, { burstLoss: { start: 0.01, stop: 0.3 } });
    world.cable("r", c);
    b.serve(80, async (request) => {
      await world.clock.sleep(world.random() * 100);
      return new Response(`${(await request.text()).length}`);
    });
    c.net.createServer((socket) => socket.pipe(socket)).listen(7);
    c.serve(
      80,
      http.createServer((request, response) => request.pipe(response)),
    );
    await world.run(async () => {
      const talk = async (round) => {
        const body = "x".repeat(20_000 * (round + 1));
        const response = await a.fetch("http://b/", { method: "POST", body });
        assert.equal(await response.text(), String(body.length));
      };
      const echo = async () => {
        const socket = a.net.connect(7, "c");
        await once(socket, "connect");
        for (let round = 0; round < 20; round += 1) {
          socket.write("echo");
          await once(socket, "data");
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        socket.destroy();
      };
      const post = () =>
        new Promise((resolve, reject) => {
          const { agent } = a;
          const request = http.request("http://c/", { method: "POST", agent }, (response) => {
            response.resume().on("end", resolve);
          });
          request.on("error", reject).end("y".repeat(50_000));
        });
      await Promise.all([post(), post(), talk(0), talk(1), talk(2), echo()]);
    });
    await world.step("10s");
    return createHash("sha256").update(world.capture.pcapng()).digest("hex");
  } finally {
    world.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (let runs = Number(process.argv[2]); runs > 0; runs -= 1) console.log(await storm(7));
}
