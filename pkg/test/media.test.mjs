import assert from "node:assert/strict";
import { test } from "node:test";
import { createCable, createEngine, createStack, plug } from "ethertab";

/** Two stacks of one engine whose interfaces are joined by a cable. */
async function pair(options) {
  const engine = await createEngine();
  const [a, b] = [await createStack({ engine }), await createStack({ engine })];
  const cable = await createCable({ engine });
  const nics = [a, b].map((stack, index) => {
    const nic = stack.addInterface(options(index + 1));
    plug(nic, index === 0 ? cable.a : cable.b);
    return nic;
  });
  return { engine, a, b, nics };
}

/** A line there and back by TCP. */
async function echo(from, to, hostname) {
  const server = to.listen({ port: 80 });
  await server.listening;
  const socket = from.connect({ hostname, port: 80 });
  await socket.opened;
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode("hello"));
  const { value: accepted } = await server[Symbol.asyncIterator]().next();
  const { value } = await accepted.readable.getReader().read();
  assert.equal(new TextDecoder().decode(value), "hello");
  await Promise.all([socket.close(), accepted.close(), server.close()]);
}

test("interfaces that carry IP packets need no Ethernet", async () => {
  const { engine, a, b, nics } = await pair((last) => ({
    medium: "ip",
    mtu: 9000,
    addresses: [`10.8.0.${last}/24`, `fd08::${last}/64`],
  }));
  assert.equal(nics[0].mtu, 9000);
  for (const address of ["10.8.0.2", "fd08::2"]) await echo(a, b, address);
  assert.equal(a.neighbors().length, 0);
  engine.close();
});

test("a stack with a loopback interface talks to itself", async () => {
  const engine = await createEngine();
  const stack = await createStack({ engine });
  const nic = stack.addInterface({ medium: "loopback" });
  assert.equal(nic.mtu, 65_535);
  assert.deepEqual([...nic.addresses].sort(), ["127.0.0.1/8", "::1/128"]);
  for (const address of ["127.0.0.1", "::1"]) await echo(stack, stack, address);
  assert.equal(typeof (await stack.ping("127.0.0.1")).rtt, "number");
  assert.throws(() => stack.addInterface({ medium: "loopback" }), /configured already/);
  engine.close();
});

test("VLANs share a port, and go with it", async () => {
  const { engine, a, b, nics } = await pair(() => ({}));
  const vlans = [a, b].map((stack, index) =>
    stack.addInterface({ vlan: { on: nics[index], id: 5 }, addresses: [`10.5.0.${index + 1}/24`] }),
  );
  assert.deepEqual([vlans[0].mac, vlans[0].mtu], [nics[0].mac, 1500]);
  await echo(a, b, "10.5.0.2");
  const [port, vlan] = [nics[0], vlans[0]].map(({ counters }) => counters.framesSent);
  assert.ok(port > 5 && vlan === 0, "the frames pass the port of the interface below");
  assert.throws(() => a.addInterface({ vlan: { on: nics[1], id: 6 } }), /of this stack/);
  assert.throws(() => a.addInterface({ vlan: { on: nics[0], id: 5 } }), /is taken/);
  assert.throws(() => a.addInterface({ vlan: { on: nics[0], id: 4095 } }), /options\.vlan\.id/);
  assert.throws(() => a.addInterface({ medium: "token ring" }), /options\.medium/);
  nics[0].close();
  assert.equal(a.interfaces.length, 0);
  engine.close();
});
