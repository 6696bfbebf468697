import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createGateway, createStack, createSwitch, SocketError } from "ethertab";
import { until } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

/** A gateway and a host that asks it for everything. */
async function network(options = {}) {
  const engine = await createEngine();
  const asked = [];
  const gateway = await createGateway({
    engine,
    network: "10.0.2.0/24",
    dns: {
      hosts: { "shop.test": ["10.0.2.2", "fd00::2"], "dead.test": ["10.0.2.200", "10.0.2.2"] },
      resolve: (name, type) => {
        asked.push(`${name} ${type}`);
        if (name === "many.test" && type === "A") {
          return Array.from({ length: 200 }, (_, n) => `10.1.0.${n}`);
        }
        if (name === "slow.test") return new Promise(() => {});
        return null;
      },
    },
    ...options,
  });
  const stack = await createStack({ hostname: "guest", engine, seed: 7 });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  const nic = stack.addInterface({ dhcp: true });
  lan.plug(nic);
  return { engine, gateway, stack, nic, lan, asked };
}

test("an interface gets its address, route and name server by DHCP", async () => {
  const { engine, gateway, stack, nic } = await network();
  assert.equal(nic.lease, null);
  await nic.configured;
  const { address, server, routes, dnsServers, domain, expires } = nic.lease;
  assert.match(address, /^10\.0\.2\.\d+\/24$/);
  const { state, origin } = nic.addressInfo().find(({ prefix }) => prefix === address);
  assert.deepEqual([state, origin], ["preferred", "dhcp"]);
  assert.equal(server, gateway.address);
  assert.deepEqual(routes, [{ to: "0.0.0.0/0", via: gateway.address }]);
  assert.deepEqual(dnsServers, [gateway.address]);
  assert.equal(domain, gateway.domain);
  assert.ok(expires > Date.now());
  const lease = gateway.leases().find(({ state }) => state === "bound");
  assert.equal(`${lease.address}/24`, address);
  assert.deepEqual([lease.mac, lease.hostname], [nic.mac, "guest"]);
  assert.ok((await stack.ping(gateway.address)).rtt >= 0);
  engine.close();
});

test("two interfaces of a stack have leases of their own, and one that is closed has none", async () => {
  const { engine, stack, nic, lan } = await network();
  const second = stack.addInterface({ dhcp: true });
  const third = stack.addInterface({ dhcp: true });
  lan.plug(second);
  await Promise.all([nic.configured, second.configured]);
  assert.notEqual(nic.lease.address, second.lease.address);
  third.close();
  await assert.rejects(third.configured, hasCode("ABORT_ERR"));
  nic.close();
  assert.equal(nic.lease, null);
  engine.close();
});

test("names have addresses", async () => {
  const { engine, stack, nic, asked } = await network();
  await nic.configured;
  assert.deepEqual(await stack.resolve("shop.test"), ["fd00::2", "10.0.2.2"]);
  assert.deepEqual(await stack.resolve("SHOP.test.", { family: 4 }), ["10.0.2.2"]);
  assert.deepEqual(await stack.resolve("10.1.2.3"), ["10.1.2.3"]);
  assert.deepEqual(await stack.resolve("localhost"), ["::1", "127.0.0.1"]);
  await assert.rejects(stack.resolve("none.test"), hasCode("ENOTFOUND"));
  await assert.rejects(stack.resolve("a..b"), hasCode("ENOTFOUND"));
  await assert.rejects(stack.resolve("shop.test", { family: 5 }), TypeError);
  // What does not fit a datagram comes by TCP.
  assert.equal((await stack.resolve("many.test", { family: 4 })).length, 8);
  const before = asked.length;
  await stack.resolve("many.test", { family: 4 });
  assert.equal(asked.length, before, "the cache has it");
  engine.close();
});

test("a lookup ends when it is aborted, and when the stack is closed", async () => {
  const { engine, stack, nic } = await network();
  await nic.configured;
  const controller = new AbortController();
  const aborted = stack.resolve("slow.test", { signal: controller.signal });
  const closed = stack.resolve("slow.test");
  controller.abort("enough");
  await assert.rejects(aborted, hasCode("ABORT_ERR"));
  await assert.rejects(
    stack.resolve("slow.test", { signal: controller.signal }),
    hasCode("ABORT_ERR"),
  );
  await stack.close();
  await assert.rejects(closed, hasCode("ABORT_ERR"));
  engine.close();
});

test("without a name server there are no names", async () => {
  const engine = await createEngine();
  const stack = await createStack({ engine });
  await assert.rejects(stack.resolve("shop.test"), hasCode("ENOTFOUND"));
  await assert.rejects(stack.connect("shop.test:80").opened, hasCode("ENOTFOUND"));
  engine.close();
});

test("a connection by name finds the address that answers", async () => {
  const { engine, gateway, stack, nic } = await network();
  gateway.serve("http://shop.test", () => new Response("hello"));
  await nic.configured;
  // fd00::2 has no route and 10.0.2.200 is nobody's.
  for (const host of ["shop.test", "dead.test"]) {
    const socket = stack.connect({ hostname: host, port: 80 });
    assert.deepEqual([socket.local, socket.info(), socket.readableBytes], [null, null, 0]);
    socket.setNoDelay(true);
    const { remoteAddress } = await socket.opened;
    assert.equal(remoteAddress, `${host}:80`);
    assert.equal(socket.tcpSettings().noDelay, true);
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
    let text = "";
    for await (const chunk of socket.readable) text += new TextDecoder().decode(chunk);
    assert.match(text, /hello$/);
    await socket.closed;
  }
  engine.close();
});

test("a connection by name ends by refusal, abort and close", async () => {
  const { engine, stack, nic } = await network();
  await nic.configured;
  await assert.rejects(stack.connect("shop.test:81").opened, hasCode("ECONNREFUSED"));
  await assert.rejects(stack.connect("none.test:81").closed, hasCode("ENOTFOUND"));
  const controller = new AbortController();
  const aborted = stack.connect("slow.test:80", { signal: controller.signal });
  const closed = stack.connect("slow.test:80");
  controller.abort();
  await assert.rejects(aborted.opened, hasCode("ABORT_ERR"));
  await closed.close();
  await assert.rejects(closed.opened, hasCode("ABORT_ERR"));
  await until(() => stack.connections().length === 0, "no connection is left");
  engine.close();
});

test("leases survive the gateway that granted them", async () => {
  const first = await network();
  await first.nic.configured;
  const { address } = first.nic.lease;
  const kept = JSON.parse(JSON.stringify(first.gateway.leases()));
  await first.gateway.close();
  const gateway = await createGateway({
    engine: first.engine,
    network: "10.0.2.0/24",
    dhcp: { restore: kept },
  });
  assert.deepEqual(
    gateway.leases().map(({ expires: _, ...lease }) => lease),
    kept.map(({ expires: _, ...lease }) => lease),
  );
  assert.ok(Math.abs(gateway.leases()[0].expires - kept[0].expires) < 5_000);
  first.lan.plug(gateway);
  // Another host gets another address.
  const other = await createStack({ engine: first.engine, seed: 8 });
  const nic = other.addInterface({ dhcp: true });
  first.lan.plug(nic);
  await nic.configured;
  assert.notEqual(nic.lease.address, address);
  await assert.rejects(
    createGateway({ engine: first.engine, dhcp: { restore: [{ ...kept[0], mac: "x" }] } }),
    RangeError,
  );
  first.engine.close();
});

/** RFC 4330 §5: a question of version 4 with a nonce. */
test("a gateway tells the time, and DHCP where to ask for it", async () => {
  const { engine, gateway, stack, nic } = await network();
  await nic.configured;
  assert.deepEqual(nic.lease.ntpServers, [gateway.address]);
  const socket = stack.bindUdp();
  const question = new Uint8Array(48);
  question[0] = (4 << 3) | 3;
  question.set([1, 2, 3, 4, 5, 6, 7, 8], 40);
  const to = { remoteAddress: gateway.address, remotePort: 123 };
  socket.send(Uint8Array.of(1, 2, 3), to);
  socket.send(question, to);
  const { data } = await socket.receive();
  const view = new DataView(data.buffer, data.byteOffset);
  assert.deepEqual([data.byteLength, data[0], data[1]], [48, (4 << 3) | 4, 3]);
  assert.deepEqual([...data.subarray(24, 32)], [1, 2, 3, 4, 5, 6, 7, 8]);
  const told = (view.getUint32(40) - 2_208_988_800) * 1_000;
  assert.ok(Math.abs(told - Date.now()) < 5_000);
  engine.close();
});
