/** Hosts of worlds: what their servers say of the date, and that nothing of what a program has begun comes of it when its host is gone. */

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { test } from "node:test";
import { createWorld } from "ethertab/testing";

/** A world with two hosts at a cable, which ends with the test. */
async function pair(t) {
  const world = await createWorld({ seed: 1, test: t, failures: null });
  const [a, b] = [world.host("a"), world.host("b")];
  world.cable(a, b, { latency: "20ms" });
  return { world, a, b };
}

test("a server of node:http says the date of its host", async (t) => {
  const { world, a, b } = await pair(t);
  const answers = {
    "/": () => {},
    "/own": (response) => response.setHeader("Date", "yesterday"),
    "/head": (response) => response.writeHead(200, { date: "tomorrow" }),
  };
  const server = http.createServer(({ url }, response) => {
    answers[url](response);
    response.end();
  });
  const served = b.serve(80, server);
  const dates = async () => {
    const found = [];
    for (const path of Object.keys(answers)) {
      const { headers } = await a.fetch(`http://b${path}`);
      found.push(headers.get("date"));
    }
    return found;
  };
  const own = ["yesterday", "tomorrow"];
  assert.deepEqual(await world.run(dates), ["Thu, 01 Jan 2026 00:00:00 GMT", ...own]);
  world.faults.clockSkew(b, { offset: "1h" });
  assert.deepEqual(await world.run(dates), ["Thu, 01 Jan 2026 01:00:00 GMT", ...own]);
  served.close();
  assert.equal(server.listenerCount("request"), 1);
  b.serve(
    80,
    http.createServer((_, response) => {
      response.removeHeader("Date");
      response.sendDate = false;
      response.end();
    }),
  );
  const { headers } = await world.run(a.fetch("http://b/"));
  assert.equal(headers.has("date"), false);
});

/** What a program begins; each says what it is told of. */
const BEGUN = {
  "net.connect by name": (a, _, told) => a.net.connect(80, "b").on("error", told),
  "net.connect": (a, b, told) => a.net.connect(80, b.address).on("error", told),
  "net.connect, IPv6": (a, b, told) => a.net.connect(80, b.address6).on("error", told),
  "net.setTimeout": (a, b, told) => a.net.connect(9, b.address).setTimeout(60_000, told),
  "http.get": (a, _, told) => http.get("http://b/", { agent: a.agent }).on("error", told),
  "dgram.bind": (a, _, told) => a.dgram.createSocket("udp4").on("error", told).bind(5000),
  "dgram.send": (a, _, told) => a.dgram.createSocket("udp6").on("error", told).send("x", 5, "b"),
  "dns.lookup": (a, _, told) => a.dns.lookup("b", told),
  "dns.resolve": (a, _, told) => a.dns.promises.resolve4("b").then(told, told),
  fetch: (a, _, told) => a.fetch("http://b/").then(told, told),
  "fetch by address": (a, b, told) => a.fetch(`http://${b.address}/`).then(told, told),
  connect: (a, _, told) => a.connect("b:80").opened.then(told, told),
  resolve: (a, _, told) => a.resolve("b").then(told, told),
  ping: (a, b, told) => a.ping(b.address).then(told, told),
  "ping by name": (a, _, told) => a.ping("b").then(told, told),
};

test("what a program has begun is not told of any more when its host is gone, how soon ever", async (t) => {
  // Slow answers are waited for when the host goes, too.
  for (const before of [null, "1ms", "30ms"]) {
    for (const end of ["kill", "close"]) {
      const { world, a, b } = await pair(t);
      world.faults.slowDns("1s");
      world.faults.blackhole({ from: a, to: b });
      const told = [];
      for (const [name, begin] of Object.entries(BEGUN)) {
        begin(a, b, (outcome) => told.push([name, String(outcome)]));
      }
      if (before !== null) await world.step(before);
      if (end === "kill") {
        a.kill();
        await world.step("5m");
      } else {
        world.close();
        for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
      }
      assert.deepEqual(told, [], `${end} after ${before ?? "nothing"}`);
      world.close();
    }
  }
});

test("what is asked of a host that is gone fails", async (t) => {
  const { world, a, b } = await pair(t);
  a.kill();
  const gone = { code: "ABORT_ERR", message: /the host a was killed/ };
  await assert.rejects(a.fetch("http://b/"), gone);
  await assert.rejects(a.resolve("b"), gone);
  const datagrams = a.dgram.createSocket("udp4");
  datagrams.bind(5000);
  await assert.rejects(world.run(once(datagrams, "listening")), { syscall: "bind" });
  world.restart(a);
  b.serve(80, () => new Response("again"));
  assert.equal(await world.run(async () => (await a.fetch("http://b/")).text()), "again");
});
