// The WebAssembly module of a gateway's services: where it comes from, and what its end means.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { createEngine, createStack, createSwitch, EngineError, SocketError } from "ethertab";
import { createGateway } from "ethertab/gateway";

const wasm = new URL("../dist/wasm/services_bg.wasm", import.meta.url);

/** The module with one of its functions replaced by `unreachable`. */
function trappingAt(name, module) {
  const bytes = Uint8Array.from(module);
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const sections = new Map();
  while (at < bytes.length) {
    const id = bytes[at++];
    const length = number();
    sections.set(id, at);
    at += length;
  }
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(module));
  const imported = imports.filter(({ kind }) => kind === "function").length;

  at = sections.get(7);
  let index;
  for (let left = number(); left > 0; left -= 1) {
    const length = number();
    const exported = Buffer.from(bytes.subarray(at, at + length)).toString();
    at += length;
    const kind = bytes[at++];
    const of = number();
    if (kind === 0 && exported === name) index = of - imported;
  }
  at = sections.get(10);
  number();
  for (; index > 0; index -= 1) {
    const length = number();
    at += length;
  }
  const length = number();
  // No locals, then nothing but `unreachable` (0) up to the last byte, which is `end`.
  bytes.fill(0, at, at + length - 1);
  return bytes;
}

test("the module comes from where its engine was told, when the first gateway is made", async () => {
  const bytes = await readFile(wasm);
  const sources = [
    wasm,
    fileURLToPath(wasm),
    bytes,
    await WebAssembly.compile(bytes),
    Promise.resolve(new Response(bytes, { headers: { "content-type": "application/wasm" } })),
  ];
  for (const servicesWasm of sources) {
    const engine = await createEngine({ servicesWasm });
    // The second one has it too, though a response can be read only once.
    for (let count = 0; count < 2; count += 1) {
      const gateway = await createGateway({ engine });
      assert.equal(gateway.counters().dhcp.offers, 0);
      await gateway.close();
    }
    engine.close();
  }
});

test("without the module there are stacks but no gateway, and the error names the file", async () => {
  const cases = [
    [new URL("absent/services_bg.wasm", wasm), /services_bg\.wasm .*absent\/services_bg\.wasm: /],
    [new Uint8Array(8), /services_bg\.wasm could not be loaded: /],
    [7, /services_bg\.wasm could not be loaded: it must be given as .* got 7/],
    [new URL("ethertab_bg.wasm", wasm), /services_bg\.wasm .*ethertab_bg\.wasm: /],
  ];
  for (const [servicesWasm, message] of cases) {
    const engine = await createEngine({ servicesWasm });
    const stack = await createStack({ engine });
    // Not only the first time.
    for (let count = 0; count < 2; count += 1) {
      await assert.rejects(createGateway({ engine }), (error) => {
        assert.ok(error instanceof EngineError, String(error));
        assert.match(error.message, message);
        return true;
      });
    }
    await stack.close();
    engine.close();
  }
});

test("a request for the module that fails matters to gateways only", async () => {
  const engine = await createEngine({ servicesWasm: Promise.reject(new Error("offline")) });
  // Node ends a program for a rejection that nobody has handled by now.
  await new Promise((resolve) => setTimeout(resolve, 10));
  await assert.rejects(createGateway({ engine }), /services_bg\.wasm could not be loaded: offline/);
  engine.close();
});

test("a trap in the services ends that gateway only", async () => {
  const broken = trappingAt("parse_request_head", await readFile(wasm));
  const [failing, healthy] = [await createEngine({ servicesWasm: broken }), await createEngine()];
  const lan = await createSwitch({ engine: failing });
  const gateway = await createGateway({ engine: failing });
  const other = await createGateway({ engine: failing, address: "10.0.2.3" });
  const guest = await createGateway({ engine: healthy, address: "10.0.2.15", dhcp: false });
  for (const host of [gateway, other, guest]) lan.plug(host);
  gateway.serve("http://10.0.2.2", () => new Response("never"));
  const reported = [];
  gateway.addEventListener("error", (event) => {
    event.preventDefault();
    reported.push(event.detail.error);
  });
  const isTrap = (error) =>
    error instanceof EngineError && error.cause instanceof WebAssembly.RuntimeError;

  await assert.rejects(guest.fetch("http://10.0.2.2/"), TypeError);
  assert.equal(reported.length, 1);
  assert.ok(isTrap(reported[0]), String(reported[0]));
  await assert.rejects(gateway.fetch("http://10.0.2.15/"), isTrap);
  assert.throws(() => gateway.serve("http://new.test", () => new Response()), isTrap);
  assert.deepEqual(gateway.leases(), []);
  await gateway.close();

  await guest.stack.ping("10.0.2.3");
  guest.serve("http://10.0.2.15", () => new Response("fine"));
  assert.equal(await (await other.fetch("http://10.0.2.15/")).text(), "fine");
  failing.close();
  healthy.close();
});

test("a trap while a gateway is made rejects, and leaves nothing in the engine", async () => {
  const module = await readFile(wasm);
  for (const name of ["create_dns", "create_dhcp"]) {
    const engine = await createEngine({ servicesWasm: trappingAt(name, module) });
    await assert.rejects(createGateway({ engine }), (error) => {
      assert.ok(error instanceof EngineError, String(error));
      assert.ok(error.cause instanceof WebAssembly.RuntimeError);
      return true;
    });
    assert.equal(engine.blocksInUse, 0);
    engine.close();
  }
});

test("a closed gateway says so, and its engine goes on", async () => {
  const engine = await createEngine();
  const gateway = await createGateway({ engine });
  await gateway.close();
  const isClosed = (error) => error instanceof SocketError && error.code === "ABORT_ERR";
  await assert.rejects(gateway.fetch("http://10.0.2.15/"), isClosed);
  assert.throws(() => gateway.serve("http://shop.test", () => new Response()), isClosed);
  assert.deepEqual([gateway.leases(), gateway.counters().dns], [[], {}]);
  await (await createGateway({ engine })).close();
  engine.close();
});
