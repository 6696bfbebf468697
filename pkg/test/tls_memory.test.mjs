// TLS while the memories of WebAssembly grow: what JavaScript has seen of one is gone then.

import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptTls, createAuthority, wrapTls } from "ethertab";
import { LazyModule } from "../dist/module.js";
import { pattern, readAll, twoStacks, writeAll } from "./support.mjs";

/** A page of WebAssembly's memory for every so many calls into a module, before and after what they do by turns. */
const CALLS = 5;

/** Has every module's memory grow while this runs, within calls into it, as an allocation that finds no room does. */
async function whileGrowing(run) {
  const grown = new Map();
  const { instantiate } = LazyModule.prototype;
  LazyModule.prototype.instantiate = async function (bindings) {
    const exports = await instantiate.call(this, bindings);
    const { memory } = exports;
    let calls = 0;
    const grow = () => {
      const { buffer } = memory;
      memory.grow(1);
      assert.equal(buffer.byteLength, 0, "what was seen of the memory is gone");
      grown.set(this, (grown.get(this) ?? 0) + 1);
    };
    for (const [name, call] of Object.entries(bindings)) {
      if (typeof call !== "function" || name === "initSync" || /^class\b/.test(call)) continue;
      bindings[name] = (...given) => {
        calls += 1;
        if (calls % (2 * CALLS) === 0) grow();
        const result = call(...given);
        if (calls % (2 * CALLS) === CALLS) grow();
        return result;
      };
    }
    return exports;
  };
  try {
    await run();
  } finally {
    LazyModule.prototype.instantiate = instantiate;
  }
  return [...grown.values()];
}

/** Bytes both ways at once. */
async function carries(client, server, length) {
  const echo = server.readable.pipeTo(server.writable);
  const sent = pattern(length);
  const [got] = await Promise.all([readAll(client.readable), writeAll(client.writable, sent)]);
  assert.equal(Buffer.compare(got, sent), 0);
  await echo;
}

test("TLS, and TLS within TLS, while both modules' memories grow within calls", async () => {
  const grown = await whileGrowing(async () => {
    const network = await twoStacks();
    const authority = await createAuthority();
    const ca = authority.cert;
    const listener = network.b.listen({ port: 443, tls: { authority } });
    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      const options = { ca, minVersion: version, maxVersion: version };
      const connect = () =>
        network.a.connect("10.0.0.2:443", {
          secureTransport: "on",
          sni: "outer.test",
          tls: options,
        });
      const client = connect();
      await carries(client, await listener.accept(), 300_000);

      const outer = connect();
      const inner = wrapTls(outer, { hostname: "inner.test", alpn: ["x"], tls: options });
      const outerServer = await listener.accept();
      const server = acceptTls(outerServer, { tls: { authority, alpn: ["x"] } });
      await carries(inner, server, 300_000);
      assert.equal((await inner.opened).tls.protocol, version);
      assert.equal((await server.opened).tls.servername, "inner.test");
      await Promise.all([inner.closed, server.closed, outer.closed, outerServer.closed]);
    }
    await listener.close();
    network.engine.close();
  });
  // The engine's and that of TLS.
  assert.equal(grown.length, 2);
  for (const times of grown) assert.ok(times > 50, `a memory grew ${times} times`);
});
