// What a gateway does for the machines of its network: names, isolation, ports of this computer that lead to them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  createEngine,
  createGateway,
  createStack,
  createSwitch,
  functionPort,
  plug,
} from "ethertab";
import { until } from "./support.mjs";

/** A gateway on a switch, all of it closed after the test. */
async function home(t, options = {}) {
  const engine = await createEngine();
  const gateway = await createGateway({ engine, seed: 1, network6: "fd00::/64", ...options });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  t.after(() => engine.close());
  let guests = 0;
  /** A host with a lease, or with the interface options given. */
  const join = async (hostname, interfaceOptions = { dhcp: true }) => {
    guests += 1;
    const stack = await createStack({ engine, hostname, seed: guests + 1 });
    const nic = stack.addInterface(interfaceOptions);
    lan.plug(nic);
    if (interfaceOptions.dhcp) await nic.configured;
    const address = nic.addresses.find((prefix) => prefix.includes(".")).split("/")[0];
    return { stack, nic, address };
  };
  return { engine, gateway, lan, join };
}

describe("names of hosts", () => {
  test("are given and taken back, win over others, and resolve both ways", async (t) => {
    const { gateway, join } = await home(t, {
      dns: { hosts: { "old.test": "10.0.2.9" }, ttl: 0 },
    });
    const { stack, address } = await join("client");
    assert.deepEqual(await stack.resolve("client.lan"), [address]);
    assert.deepEqual(await stack.resolve("old.test"), ["10.0.2.9"]);

    gateway.addHost("db.test", ["10.0.2.200", "fd00::200"]);
    gateway.addHost("CLIENT.lan", "10.0.2.201");
    assert.deepEqual((await stack.resolve("db.test")).sort(), ["10.0.2.200", "fd00::200"]);
    assert.deepEqual(await stack.resolve("client.lan"), ["10.0.2.201"]);
    const pointer = await stack.resolveRecords("200.2.0.10.in-addr.arpa", "PTR");
    assert.deepEqual(
      pointer.map(({ data }) => data),
      ["db.test"],
    );
    assert.deepEqual(gateway.hosts(), {
      "old.test": ["10.0.2.9"],
      "db.test": ["10.0.2.200", "fd00::200"],
      "client.lan": ["10.0.2.201"],
    });

    assert.equal(gateway.removeHost("client.lan"), true);
    assert.equal(gateway.removeHost("client.lan"), false);
    assert.equal(gateway.removeHost("OLD.test"), true);
    gateway.addHost("db.test", "10.0.2.202");
    assert.deepEqual(gateway.hosts(), { "db.test": ["10.0.2.202"] });
    for (const [name, addresses] of [
      ["no name", "10.0.2.1"],
      ["a.test", "nowhere"],
      ["a.test", []],
      ["a.test", [1]],
      ["a.test", undefined],
      [5, "10.0.2.1"],
    ]) {
      assert.throws(() => gateway.addHost(name, addresses), /^(Type|Range)Error: (name|addresses)/);
    }
  });

  test("a client's name comes back when what had it has gone", async (t) => {
    const { gateway, join } = await home(t, { dns: { ttl: 0 } });
    const { stack, address } = await join("shop");
    const found = async () => (await stack.resolve("shop.lan", { family: 4 })).join();
    gateway.addHost("shop.lan", "10.0.2.9");
    const services = [80, 81].map((port) =>
      gateway.serve(`http://shop.lan:${port}`, () => new Response()),
    );
    assert.equal(await found(), "10.0.2.9");
    gateway.removeHost("shop.lan");
    assert.equal(await found(), "10.0.2.2");
    services[0].close();
    assert.equal(await found(), "10.0.2.2");
    services[1].close();
    assert.equal(await found(), address);
  });
});

describe("isolation", () => {
  /** Two guests with leases, and what each has heard: frames that are not from the gateway. */
  async function neighbors(t, isolate) {
    const { gateway, lan, join } = await home(t, { isolate });
    const guests = [await join("one"), await join("two")];
    const heard = guests.map(({ nic }) => {
      const frames = [];
      nic.hook = (frame, direction) => {
        const from = Buffer.from(frame.subarray(6, 12)).toString("hex");
        if (direction === "in" && from !== gateway.port.mac.replaceAll(":", "")) frames.push(from);
      };
      return frames;
    });
    return { gateway, lan, guests, heard };
  }

  test("guests reach the gateway and not each other, by no kind of frame", async (t) => {
    for (const isolate of [false, true]) {
      const { gateway, guests, heard } = await neighbors(t, isolate);
      const [one, two] = guests;
      const pings = [
        one.stack.ping(two.address, { timeout: 150 }),
        one.stack.ping("ff02::1", { timeout: 150 }),
        one.stack.ping("10.0.2.255", { timeout: 150 }),
      ];
      const [direct] = await Promise.allSettled(pings);
      assert.equal(direct.status, isolate ? "rejected" : "fulfilled");
      assert.equal(heard[1].length > 0, !isolate);
      assert.ok((await two.stack.ping(gateway.address)).rtt >= 0);
      assert.ok((await gateway.stack.ping(one.address)).rtt >= 0);
    }
  });

  test("no guest takes the gateway's MAC address or another guest's", async (t) => {
    const { gateway, lan, guests } = await neighbors(t, true);
    const [one, two] = guests;
    const frame = (from) =>
      Uint8Array.from([
        ...Array(6).fill(255),
        ...from.split(":").map((octet) => `0x${octet}`),
        8,
        6,
        0,
      ]);
    // A MAC address is whose who has used it first since he was plugged in.
    for (const { stack } of guests) await stack.ping(gateway.address);
    const posing = functionPort({ send() {} });
    lan.plug(posing);
    for (const mac of [gateway.port.mac, one.nic.mac, two.nic.mac]) posing.receive(frame(mac));
    await until(() => lan.counters().spoofed === 3, "all three were seen through");
    for (const { stack } of guests) assert.ok((await stack.ping(gateway.address)).rtt >= 0);
    assert.ok((await gateway.stack.ping(one.address)).rtt >= 0);
  });

  test("by port, where the caller says so, whatever was plugged in first", async (t) => {
    const { lan, join, gateway } = await home(t);
    const one = await join("one");
    const two = await join("two");
    for (const { nic } of [one, two]) {
      lan.unplug(nic);
      lan.plug(nic, { isolated: true });
    }
    await assert.rejects(one.stack.ping(two.address, { timeout: 100 }));
    lan.unplug(two.nic);
    lan.plug(two.nic);
    assert.ok((await one.stack.ping(two.address)).rtt >= 0);
    lan.unplug(gateway);
    assert.throws(() => lan.plug(gateway, { isolated: 1 }), /options\.isolated must be a boolean/);
    assert.equal(gateway.port.isPlugged, false);
  });

  test("an isolating gateway that comes later isolates those that are there, until it goes", async (t) => {
    const { engine, lan, join } = await home(t);
    const one = await join("one");
    const two = await join("two");
    const other = await createGateway({ engine, address: "10.0.2.3", dhcp: false, isolate: true });
    lan.plug(other);
    await assert.rejects(one.stack.ping(two.address, { timeout: 100 }));
    await other.close();
    assert.ok((await one.stack.ping(two.address)).rtt >= 0);
  });
});

/** What a v86 emulator shows of itself to a port, with the card of another host in its place. */
class FakeEmulator {
  listeners = new Map();
  bus = { send: (_, frame) => this.card.receive(frame.slice()) };
  card = functionPort({ send: (frame) => this.listeners.get("net0-send")?.(frame.slice()) });
  v86;

  constructor(mac) {
    const octets = Uint8Array.from(mac.split(":"), (octet) => Number.parseInt(octet, 16));
    const queue = { enabled: true, avail_addr: 1, count_requests: () => 1 };
    this.v86 = { cpu: { devices: { virtio_net: { mac: octets, virtio: { queues: [queue] } } } } };
  }

  add_listener(event, listener) {
    this.listeners.set(event, listener);
  }

  remove_listener(event) {
    this.listeners.delete(event);
  }
}

describe("attached machines", () => {
  /** A machine: a host behind an emulator's card. */
  async function machine(t, mac, options = { dhcp: true }, hostname = "inner") {
    const engine = await createEngine();
    t.after(() => engine.close());
    const emulator = new FakeEmulator(mac);
    const stack = await createStack({ engine, hostname, seed: 9 });
    const nic = stack.addInterface({ mac, ...options });
    plug(nic, emulator.card);
    return { emulator, stack, nic };
  }
  const MAC = "02:00:00:00:00:51";

  test("one line: a switch, a lease, a name, a web server", async (t) => {
    const gateway = await createGateway({ engine: await createEngine(), dns: { ttl: 0 } });
    t.after(() => gateway.close());
    const { emulator, stack, nic } = await machine(t, MAC);
    const vm = await gateway.attach(emulator, { name: "VM1" });
    assert.equal(await vm.ready, "10.0.2.15");
    await nic.configured;
    assert.deepEqual([vm.name, vm.mac, vm.address], ["vm1", MAC, "10.0.2.15"]);
    assert.deepEqual(await stack.resolve("vm1.lan"), ["10.0.2.15"]);
    assert.deepEqual(await stack.resolve("inner.lan"), ["10.0.2.15"], "what it calls itself, too");
    const listener = stack.listen({ port: 80 });
    const serving = (async () => {
      for await (const socket of listener) {
        const writer = socket.writable.getWriter();
        const text = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfrom the machine";
        await writer.write(new TextEncoder().encode(text));
        await writer.close();
      }
    })();
    const response = await vm.fetch("/a?b");
    assert.equal(response.url, "http://vm1/a?b");
    assert.equal(await response.text(), "from the machine");
    await listener.close();
    await serving;

    await assert.rejects(gateway.attach(emulator, { name: "vm1" }), { code: "EADDRINUSE" });
    vm.close();
    vm.close();
    assert.equal(emulator.listeners.size, 0);
    await assert.rejects(gateway.fetch("http://vm1/"), (error) => error.cause.code === "ENOTFOUND");
    const again = await gateway.attach(emulator, { name: "vm1" });
    assert.equal(await again.ready, "10.0.2.15", "its lease was kept");
  });

  test("on the gateway's switch, several, with addresses of their own, isolated when asked", async (t) => {
    const engine = await createEngine();
    const gateway = await createGateway({ engine, isolate: true });
    t.after(() => gateway.close());
    const lan = await createSwitch({ engine });
    lan.plug(gateway);
    const first = await machine(t, MAC, { addresses: ["10.0.2.77/24"] });
    const second = await machine(t, "02:00:00:00:00:52");
    const vms = await Promise.all([
      gateway.attach(first.emulator, { name: "first" }),
      gateway.attach(second.emulator),
    ]);
    assert.equal(lan.ports.length, 3);
    await first.stack.ping(gateway.address);
    assert.equal(await vms[0].ready, "10.0.2.77", "seen in what it sends");
    assert.equal(await vms[1].ready, "10.0.2.15");
    await assert.rejects(first.stack.ping("10.0.2.15", { timeout: 100 }));
    await gateway.close();
    assert.equal(lan.ports.length, 0);
    await assert.rejects(gateway.attach(first.emulator), /closed/);
  });

  test("a gateway in the place of another has its MAC address, leases and hosts", async (t) => {
    const { emulator, stack, nic } = await machine(t, MAC);
    const before = await createGateway({ engine: await createEngine(), dhcp: { leaseTime: "1m" } });
    before.addHost("db.test", "10.0.2.9");
    const vm = await before.attach(emulator, { name: "vm" });
    await vm.ready;
    await nic.configured;
    await stack.ping(before.address);
    const state = JSON.parse(JSON.stringify(before.save()));
    await before.close();
    await assert.rejects(vm.fetch("/"), TypeError);

    const options = { restore: state, dns: { hosts: { "more.test": "10.0.2.8" } } };
    const after = await createGateway({ engine: await createEngine(), ...options });
    t.after(() => after.close());
    assert.equal(after.port.mac, before.port.mac);
    assert.deepEqual(Object.keys(after.hosts()), ["db.test", "more.test"]);
    const again = await after.attach(emulator, { name: "vm" });
    assert.equal(again.address, "10.0.2.15", "known before it has sent anything");
    assert.ok((await after.stack.ping(again.address)).rtt >= 0);
    assert.ok((await stack.ping(after.address)).rtt >= 0, "it knows its router by the same MAC");
    for (const wrong of [5, { mac: "x" }, { leases: [{}] }, { hosts: { a: "b" } }]) {
      await assert.rejects(createGateway({ restore: wrong }), /^(Type|Range)Error: options\./);
    }
  });

  test("misuse and ends", async (t) => {
    const engine = await createEngine();
    const gateway = await createGateway({ engine });
    t.after(() => gateway.close());
    const { emulator } = await machine(t, MAC);
    for (const [value, options, message] of [
      [{}, {}, /emulator must be a V86 instance/],
      [emulator, { name: "a.b" }, /options\.name must be a label/],
      [emulator, { name: 5 }, /options\.name must be a string/],
      [emulator, { nic: 9 }, /options\.nic/],
      [emulator, { signal: "s" }, /options\.signal/],
      [emulator, { signal: AbortSignal.abort() }, /abort/],
    ]) {
      await assert.rejects(gateway.attach(value, options), message);
    }
    const controller = new AbortController();
    const vm = await gateway.attach(emulator, { signal: controller.signal });
    await assert.rejects(gateway.attach(emulator), /network card 0 of this emulator has a port/);
    (await gateway.attach(emulator, { nic: 1 })).close();
    const ready = assert.rejects(vm.ready, { code: "ABORT_ERR" });
    controller.abort();
    await ready;
    await assert.rejects(vm.fetch("/"), { code: "ABORT_ERR" });

    const other = await createGateway({ engine, address: "10.0.2.3" });
    t.after(() => other.close());
    plug(gateway.port.isPlugged ? other : gateway, functionPort({ send() {} }));
    await assert.rejects(other.attach(emulator), /plugged into something that is no switch/);
  });
});
