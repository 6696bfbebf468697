// The gateway on a real stack: origins, fetch, names and addresses, from one host of the network to another.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import dns from "node:dns/promises";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { createGateway } from "../dist/gateway/index.js";
import { createStack, createSwitch } from "../dist/index.js";

const MIB = 1024 * 1024;

/** A gateway and a host with the guest's address, itself able to serve and fetch, on one switch. */
async function network(options = {}) {
  const lan = await createSwitch();
  const gateway = await createGateway({ seed: 1, network6: "fd00::/64", ...options });
  const guest = await createGateway({
    seed: 2,
    address: "10.0.2.15",
    hostname: "guest",
    dhcp: false,
    dns: { hosts: { "shop.test": "10.0.2.2", "six.test": "fd00::2", "nobody.test": "10.0.2.2" } },
  });
  guest.port.addAddress("fd00::15/64");
  lan.plug(gateway);
  lan.plug(guest);
  const close = async () => {
    await Promise.all([gateway.close(), guest.close()]);
    lan.close();
  };
  return { lan, gateway, guest, close };
}

/** The next event of a kind. */
function event(target, name) {
  return new Promise((resolve) => {
    target.addEventListener(
      name,
      (occurred) => {
        occurred.preventDefault();
        resolve(occurred.detail);
      },
      { once: true },
    );
  });
}

/** Serves an origin until the test `t` has ended. */
function serveDuring(t, gateway, origin, handler) {
  const service = gateway.serve(origin, handler);
  t.after(() => service.close());
}

/** Bytes that repeat at no power of two. */
function pattern(size) {
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index += 1) bytes[index] = (index * 7 + (index >> 11)) & 255;
  return bytes;
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

describe("serve and fetch", () => {
  let gateway;
  let guest;
  let close;
  before(async () => {
    ({ gateway, guest, close } = await network());
  });
  after(() => close());

  test("a guest gets what a handler gives, over IPv4 and IPv6, on any port", async () => {
    const services = [
      gateway.serve("http://shop.test", (request, { remote }) =>
        Response.json({ url: request.url, from: remote.address }),
      ),
      gateway.serve("http://six.test:8080", (_, { remote }) => new Response(remote.address)),
    ];
    const reported = event(gateway, "request");
    const response = await guest.fetch("http://shop.test/a?b=c");
    assert.deepEqual(await response.json(), { url: "http://shop.test/a?b=c", from: "10.0.2.15" });
    const record = await reported;
    assert.deepEqual([record.method, record.status], ["GET", 200]);
    const six = await guest.fetch("http://six.test:8080/");
    assert.equal(await six.text(), "fd00::15");

    const unknown = await guest.fetch("http://nobody.test/");
    assert.equal(unknown.status, 404);
    assert.match(await unknown.text(), /http:\/\/shop\.test\//);
    for (const service of services) service.close();
    await assert.rejects(guest.fetch("http://shop.test/"), (error) => {
      assert.equal(error.cause.code, "ECONNREFUSED", String(error.cause));
      return true;
    });
  });

  test("a handler that throws: 500 there, an event here", async (t) => {
    serveDuring(t, gateway, "http://shop.test", () => {
      throw new Error("broken on purpose");
    });
    const reported = event(gateway, "error");
    const response = await guest.fetch("http://shop.test/x");
    assert.equal(response.status, 500);
    assert.ok(!(await response.text()).includes("on purpose"));
    const { error, url } = await reported;
    assert.equal(error.message, "broken on purpose");
    assert.equal(url, "http://shop.test/x");
  });

  test("50 MiB down and 20 MiB up, streamed, with equal sums", async (t) => {
    const large = pattern(50 * MIB);
    serveDuring(t, gateway, "http://shop.test", async (request) => {
      if (request.method === "GET") return new Response(large);
      const hash = createHash("sha256");
      for await (const piece of request.body) hash.update(piece);
      return new Response(hash.digest("hex"));
    });
    const hash = createHash("sha256");
    const response = await guest.fetch("http://shop.test/");
    assert.equal(response.headers.get("content-length"), String(large.length));
    for await (const piece of response.body) hash.update(piece);
    assert.equal(hash.digest("hex"), sha256(large));

    const body = new Blob([large.subarray(0, 20 * MIB)]).stream();
    const answer = await guest.fetch("http://shop.test/", { method: "PUT", body });
    assert.equal(await answer.text(), sha256(large.subarray(0, 20 * MIB)));
  });

  test("a response that is not read holds its source back, and cancels it when it is let go", async (t) => {
    let given = 0;
    let cancelled;
    const stopped = new Promise((resolve) => {
      cancelled = resolve;
    });
    const endless = () =>
      new ReadableStream({
        pull(controller) {
          given += 64 * 1024;
          controller.enqueue(new Uint8Array(64 * 1024));
        },
        cancel: cancelled,
      });
    serveDuring(t, gateway, "http://shop.test", () => new Response(endless()));
    const response = await guest.fetch("http://shop.test/");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(given < 16 * MIB, `${given} bytes were taken from a stream that nobody reads`);
    await response.body.cancel();
    await stopped;
  });

  test("request.signal aborts when the guest goes away", async (t) => {
    const arrived = deferred();
    serveDuring(t, gateway, "http://shop.test", (request) => {
      arrived.resolve(request.signal);
      return new Promise((__, reject) => {
        request.signal.addEventListener("abort", () => reject(request.signal.reason));
      });
    });
    const leaving = new AbortController();
    const fetching = guest.fetch("http://shop.test/", { signal: leaving.signal });
    const signal = await arrived.promise;
    assert.equal(signal.aborted, false);
    leaving.abort();
    await assert.rejects(fetching, { name: "AbortError" });
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  });

  test("fetch from the page into the network", async (t) => {
    const large = pattern(10 * MIB);
    serveDuring(t, guest, "http://10.0.2.15:8000", () => new Response(large));
    const response = await gateway.fetch("http://10.0.2.15:8000/file");
    assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), sha256(large));

    await assert.rejects(gateway.fetch("http://10.0.2.15:9/"), (error) => {
      assert.ok(error instanceof TypeError);
      assert.equal(error.cause.code, "ECONNREFUSED");
      return true;
    });
    await assert.rejects(gateway.fetch("http://nobody.at.all/"), (error) => {
      assert.equal(error.cause.code, "ENOTFOUND");
      return true;
    });
    const signal = AbortSignal.timeout(50);
    await assert.rejects(gateway.fetch("http://10.0.2.99/", { signal }), { name: "TimeoutError" });
  });

  test("2,000 small requests leave nothing behind", async (t) => {
    serveDuring(t, gateway, "http://shop.test", () => new Response("small"));
    const ask = async (times) => {
      for (let count = 0; count < times; count += 1) {
        // Half of them on a connection that is kept.
        const headers = count % 2 === 0 ? {} : { connection: "close" };
        const response = await guest.fetch("http://shop.test/", { headers });
        assert.equal(await response.text(), "small");
      }
    };
    // The first ones have code compiled and caches filled.
    await ask(1000);
    const before = await settledHeap();
    await ask(2000);
    const after = await settledHeap();
    // A connection that stays has kilobytes.
    assert.ok(after - before < MIB, `the heap grew from ${before} to ${after}`);
    for (const { stack } of [gateway, guest]) {
      const left = stack.connections().filter(({ state }) => state !== "TIME-WAIT");
      assert.deepEqual(left, []);
      // A router keeps what it advertises.
      assert.equal(stack.blocksInUse, stack === gateway.stack ? 1 : 0);
    }
  });
});

/**
 * Bytes of the heap in use: the least that several collections leave. Between them timers run, finalizers too, and code
 * compiled in the background comes and goes. Without `--expose-gc` it is nothing.
 */
async function settledHeap() {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 10 && globalThis.gc; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    globalThis.gc();
    least = Math.min(least, process.memoryUsage().heapUsed);
  }
  return globalThis.gc ? least : 0;
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function deferred() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

describe("names, asked by Node's resolver", () => {
  let gateway;
  let close;
  let resolver;
  const asked = [];

  before(async () => {
    const parts = await network({
      domain: "home.test",
      dns: {
        hosts: { "db.test": ["10.0.2.9", "fd00::9"], "gone.test": [] },
        resolve: (name, type) => {
          asked.push(`${name} ${type}`);
          if (name === "bad.test") throw new Error("no luck");
          if (name === "wrong.test") return ["not an address"];
          if (name === "many.test") return Array.from({ length: 200 }, (_, at) => `192.0.2.${at}`);
          if (type === "PTR") return ["pointed.test"];
          return name === "far.test" ? ["192.0.2.1"] : null;
        },
      },
      dhcp: { leases: [{ mac: "02:00:00:00:00:99", address: "10.0.2.77", hostname: "printer" }] },
    });
    gateway = parts.gateway;
    const bridge = await bridgeDns(parts.guest.stack);
    close = async () => {
      await bridge.close();
      await parts.close();
    };
    resolver = new dns.Resolver({ timeout: 1000, tries: 1 });
    resolver.setServers([`127.0.0.1:${bridge.port}`]);
  });
  after(() => close());

  /** Carries DNS messages between a port of loopback and the gateway, over UDP and TCP. */
  async function bridgeDns(stack) {
    const outside = dgram.createSocket("udp4");
    await new Promise((resolve) => outside.bind(0, "127.0.0.1", resolve));
    const { port } = outside.address();
    outside.on("message", async (message, from) => {
      const inside = stack.bindUdp();
      inside.send(message, { remoteAddress: "10.0.2.2", remotePort: 53 });
      const answer = await inside.receive().catch(() => null);
      if (answer !== null) outside.send(answer.data, from.port, from.address);
      await inside.close();
    });
    const server = net.createServer((client) => {
      const socket = stack.connect("10.0.2.2:53");
      const writer = socket.writable.getWriter();
      client.on("data", (bytes) => writer.write(bytes).catch(() => {}));
      client.on("error", () => {});
      client.on("close", () => socket.close().catch(() => {}));
      (async () => {
        for await (const piece of socket.readable) client.write(piece);
        client.end();
      })().catch(() => client.destroy());
    });
    await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
    const stop = async () => {
      outside.close();
      await new Promise((resolve) => server.close(resolve));
    };
    return { port, close: stop };
  }

  test("the gateway, its hosts and its leases", async () => {
    assert.deepEqual(await resolver.resolve4("gateway.home.test"), ["10.0.2.2"]);
    assert.deepEqual(await resolver.resolve6("gateway"), ["fd00::2"]);
    assert.deepEqual(await resolver.resolve4("DB.test"), ["10.0.2.9"]);
    assert.deepEqual(await resolver.resolve6("db.test"), ["fd00::9"]);
    assert.deepEqual(await resolver.resolve4("printer.home.test"), ["10.0.2.77"]);
    assert.deepEqual(await resolver.reverse("10.0.2.2"), ["gateway.home.test"]);
    assert.deepEqual(asked, [], "its own names are nobody else's business");
  });

  test("served origins, for as long as they are served", async () => {
    const first = gateway.serve("http://shop.test", () => new Response());
    const second = gateway.serve("http://shop.test:81", () => new Response());
    assert.deepEqual(await resolver.resolve4("shop.test"), ["10.0.2.2"]);
    first.close();
    assert.deepEqual(await resolver.resolve4("shop.test"), ["10.0.2.2"]);
    second.close();
    await assert.rejects(resolver.resolve4("shop.test"), { code: "ENOTFOUND" });
  });

  test("other names are the application's: found, not found, failed, wrong", async () => {
    const question = event(gateway, "dns");
    assert.deepEqual(await resolver.resolve4("far.test"), ["192.0.2.1"]);
    assert.deepEqual(await question, {
      name: "far.test",
      type: "A",
      remoteAddress: "10.0.2.15",
      answer: ["192.0.2.1"],
    });
    assert.deepEqual(await resolver.reverse("192.0.2.1"), ["pointed.test"]);
    await assert.rejects(resolver.resolve4("none.test"), { code: "ENOTFOUND" });
    for (const [name, message] of [
      ["bad.test", /no luck/],
      ["wrong.test", /not an address/],
    ]) {
      const failure = event(gateway, "error");
      await assert.rejects(resolver.resolve4(name), { code: "ESERVFAIL" });
      assert.match((await failure).error.message, message);
    }
  });

  test("an answer too long for a datagram comes over TCP", async () => {
    assert.equal((await resolver.resolve4("many.test")).length, 200);
    assert.ok(gateway.counters().dns.truncated > 0);
  });
});

describe("addresses", () => {
  test("a client gets a lease with router, DNS, domain and MTU; its name resolves", async () => {
    const { gateway, guest, close } = await network({
      mtu: 1400,
      domain: "home.test",
      dhcp: { range: ["10.0.2.50", "10.0.2.60"], leaseTime: "30m" },
    });
    try {
      const client = guest.stack.bindUdp({ port: 68 });
      const exchange = async (kind, ...options) => {
        const to = { remoteAddress: "255.255.255.255", remotePort: 67, nic: guest.port };
        client.send(dhcpMessage([53, 1, kind], [12, 5, ...Buffer.from("vm-01")], ...options), to);
        return parseDhcp((await client.receive({ signal: AbortSignal.timeout(1000) })).data);
      };
      const offer = await exchange(1);
      assert.equal(offer.address, "10.0.2.50");
      const change = event(gateway, "lease");
      const ack = await exchange(3, [50, 4, 10, 0, 2, 50], [54, 4, 10, 0, 2, 2]);
      assert.deepEqual([...ack.options.get(53)], [5]);
      assert.deepEqual([...ack.options.get(1)], [255, 255, 255, 0]);
      assert.deepEqual([...ack.options.get(3)], [10, 0, 2, 2]);
      assert.deepEqual([...ack.options.get(6)], [10, 0, 2, 2]);
      assert.equal(ack.options.get(15).toString(), "home.test");
      assert.equal(ack.options.get(26)?.readUInt16BE(), 1400);
      assert.equal(ack.options.get(51).readUInt32BE(), 1800);

      const { kind, lease } = await change;
      assert.equal(kind, "granted");
      assert.deepEqual(
        [lease.address, lease.hostname, lease.state],
        ["10.0.2.50", "vm-01", "bound"],
      );
      assert.ok(Math.abs(lease.expires - Date.now() - 1_800_000) < 60_000, String(lease.expires));
      assert.equal(gateway.leases().length, 1);
      assert.equal(gateway.counters().dhcp.acks, 1);
      const error = await gateway
        .fetch("http://vm-01.home.test/", { signal: AbortSignal.timeout(50) })
        .then(
          () => null,
          (reason) => reason,
        );
      assert.notEqual(error.cause?.code, "ENOTFOUND");
    } finally {
      await close();
    }
  });

  /** A client's message with the broadcast flag, so that the answer reaches a host that has another address. */
  function dhcpMessage(...options) {
    const header = Buffer.alloc(240);
    header.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0x80]);
    header.set([2, 0, 0, 0, 0, 0x42], 28);
    header.set([99, 130, 83, 99], 236);
    const wanted = [55, 7, 1, 3, 6, 15, 26, 51, 54];
    return Buffer.concat([header, Buffer.from([...options.flat(), ...wanted, 255])]);
  }

  function parseDhcp(data) {
    const options = new Map();
    for (let at = 240; data[at] !== 255 && at < data.length; ) {
      if (data[at] === 0) at += 1;
      else {
        options.set(data[at], Buffer.from(data.subarray(at + 2, at + 2 + data[at + 1])));
        at += 2 + data[at + 1];
      }
    }
    return { address: data.subarray(16, 20).join("."), options };
  }
});

describe("ends and mistakes", () => {
  test("close settles what is pending", async () => {
    const { gateway, guest, close } = await network();
    gateway.serve("http://shop.test", () => new Promise(() => {}));
    const pending = guest.fetch("http://shop.test/");
    await new Promise((resolve) => setTimeout(resolve, 30));
    const own = gateway.fetch("http://10.0.2.99/");
    await gateway.close();
    await assert.rejects(own, TypeError);
    await assert.rejects(pending, TypeError);
    await gateway.close();
    await close();
  });

  const wrong = {
    "network: 5": [{ network: 5 }, TypeError, /options\.network.*5/],
    "network without length": [{ network: "10.0.2.0" }, RangeError, /"10\.0\.2\.0"/],
    "network too small": [{ network: "10.0.2.0/30" }, RangeError, /\/8 to \/29/],
    "address outside": [{ address: "10.0.3.1" }, RangeError, /options\.address.*10\.0\.2\.1 to/],
    "address is broadcast": [{ address: "10.0.2.255" }, RangeError, /options\.address/],
    network6: [{ network6: "fd00::/96" }, RangeError, /options\.network6/],
    mtu: [{ mtu: 100 }, RangeError, /options\.mtu.*100/],
    domain: [{ domain: "a b" }, RangeError, /options\.domain.*"a b"/],
    "range backwards": [
      { dhcp: { range: ["10.0.2.9", "10.0.2.3"] } },
      RangeError,
      /before it begins/,
    ],
    "range of one": [{ dhcp: { range: ["10.0.2.9"] } }, TypeError, /two addresses/],
    "lease time": [{ dhcp: { leaseTime: "10s" } }, RangeError, /a minute or more.*"10s"/],
    "static lease MAC": [
      { dhcp: { leases: [{ mac: "x", address: "10.0.2.9" }] } },
      RangeError,
      /leases\[0\]\.mac/,
    ],
    "static lease of the gateway's address": [
      { dhcp: { leases: [{ mac: "02:00:00:00:00:09", address: "10.0.2.2" }] } },
      RangeError,
      /10\.0\.2\.2/,
    ],
    "host's address": [{ dns: { hosts: { "a.test": "a" } } }, RangeError, /a\.test.*"a"/],
    "host's name": [{ dns: { hosts: { "a b": "10.0.2.9" } } }, RangeError, /"a b"/],
    resolver: [{ dns: { resolve: 5 } }, TypeError, /options\.dns\.resolve.*5/],
    "unknown limit": [{ http: { maxHeaders: 5 } }, TypeError, /maxHeaders/],
    limit: [{ http: { maxBodyBytes: "1 MB" } }, TypeError, /maxBodyBytes.*1 MB/],
  };
  for (const [name, [options, kind, message]] of Object.entries(wrong)) {
    test(`createGateway: wrong ${name}`, async () => {
      await assert.rejects(createGateway(options), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }

  test("serve: wrong origins and handlers", async () => {
    const gateway = await createGateway({ seed: 1 });
    const handler = () => new Response();
    for (const origin of ["https://a.test", "a.test", "http://a.test/x", "http://u@a.test", 5]) {
      assert.throws(() => gateway.serve(origin, handler), TypeError, String(origin));
    }
    assert.throws(() => gateway.serve("http://a.test", "hello"), /must be a function/);
    gateway.serve("http://a.test", handler);
    assert.throws(() => gateway.serve("http://A.test:80", handler), /served already/);
    await gateway.close();
  });

  test("serve: an origin whose name can be no name leaves nothing behind", async () => {
    const gateway = await createGateway({ seed: 1 });
    const origin = `http://${"a".repeat(64)}.test:8080`;
    // Not "served already" the second time.
    for (let count = 0; count < 2; count += 1) {
      assert.throws(() => gateway.serve(origin, () => new Response()), RangeError);
    }
    await gateway.stack.listen({ port: 8080 }).listening;
    await gateway.close();
  });

  test("a stack of the same program can be plugged in instead of a gateway", async () => {
    const gateway = await createGateway({ seed: 1 });
    const lan = await createSwitch();
    const stack = await createStack({ seed: 2 });
    lan.plug(stack.addInterface({ addresses: ["10.0.2.20/24"] }));
    lan.plug(gateway);
    assert.ok((await stack.ping("10.0.2.2")).rtt >= 0);
    await Promise.all([gateway.close(), stack.close()]);
    lan.close();
  });
});
