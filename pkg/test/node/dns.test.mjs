// `createDns` answers as `node:dns` does: the gateway's name server is asked by both, by Node's own resolver through a relay on the
// operating system's loopback, and the answers are compared.

import assert from "node:assert/strict";
import * as nodeDgram from "node:dgram";
import * as nodeDns from "node:dns";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { createEngine, createGateway, createStack, plug } from "ethertab";
import { createDgram, createDns, createNet } from "ethertab/node";

const RECORDS = {
  "shop.test": {
    A: ["10.0.2.2", "10.0.2.3"],
    AAAA: ["fd00::2"],
    MX: ["10 mail.test", "20 backup.test"],
    TXT: ["v=spf1 -all"],
    NS: ["ns.test"],
    SOA: ["ns.test root.test 1 2 3 4 5"],
    TYPE257: ["\\# 20 0005697373756563612e746573743b20783d31"],
    TYPE35: ["\\# 28 000a00140175075349502b443255000473697073047465737400"],
  },
  "_sip._tcp.test": { SRV: ["0 5 5060 sip.test", "1 2 5061 sip2.test"] },
  "one.test": { A: ["10.0.2.2"] },
  "www.test": { CNAME: ["shop.test"] },
  "2.2.0.10.in-addr.arpa": { PTR: ["shop.test"] },
  "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa": { PTR: ["six.test"] },
};

let engine;
let stack;
let ours;
let theirs;
let relay;
before(async () => {
  engine = await createEngine();
  const gateway = await createGateway({
    engine,
    network: "10.0.2.0/24",
    dns: {
      resolve: (name, type) => {
        if (name === "slow.test") return new Promise(() => {});
        const known = RECORDS[name];
        return known === undefined ? null : (known[type] ?? []);
      },
    },
  });
  stack = await createStack({
    engine,
    hostname: "guest",
    dns: { servers: [gateway.address] },
  });
  plug(gateway.port, stack.addInterface({ addresses: ["10.0.2.15/24"] }));
  ours = createDns(stack);
  relay = nodeDgram.createSocket("udp4");
  const inside = createDgram(stack);
  relay.on("message", (question, from) => {
    const socket = inside.createSocket("udp4", (answer) => {
      relay.send(answer, from.port, from.address);
      socket.close();
    });
    socket.send(question, 53, gateway.address);
  });
  relay.bind(0, "127.0.0.1");
  await once(relay, "listening");
  theirs = new nodeDns.Resolver({ timeout: 1000, tries: 1 });
  theirs.setServers([`127.0.0.1:${relay.address().port}`]);
});
after(() => {
  relay.close();
  engine.close();
});

/**
 * What a call comes to, without what differs for a reason: the order of records is the server's to choose, and some versions of Node put the
 * type that was asked for into a record.
 */
async function outcome(resolver, method, args) {
  try {
    const found = await promisify(resolver[method]).call(resolver, ...args);
    if (!Array.isArray(found)) return plain(found);
    return found.map((item) => JSON.stringify(plain(item))).sort();
  } catch (error) {
    const { name, message, code, errno, syscall, hostname } = error;
    return { name, message, code, errno, syscall, hostname };
  }
}

function plain(record) {
  if (typeof record !== "object" || record === null || Array.isArray(record)) return record;
  const { type, ...fields } = record;
  return fields;
}

const QUESTIONS = [
  ["resolve4", "shop.test"],
  ["resolve6", "shop.test"],
  ["resolve4", "shop.test", { ttl: true }],
  ["resolve6", "shop.test", { ttl: true }],
  ["resolveMx", "shop.test"],
  ["resolveTxt", "shop.test"],
  ["resolveNs", "shop.test"],
  ["resolveSoa", "shop.test"],
  ["resolveCaa", "shop.test"],
  ["resolveSrv", "_sip._tcp.test"],
  ["resolveCname", "www.test"],
  ["resolvePtr", "2.2.0.10.in-addr.arpa"],
  ["reverse", "10.0.2.2"],
  ["reverse", "fd00::2"],
  ["reverse", "10.0.2.9"],
  ["resolve", "shop.test"],
  ["resolve", "shop.test", "MX"],
  ["resolve", "shop.test", "TXT"],
  ["resolve", "_sip._tcp.test", "SRV"],
  ["resolve4", "none.test"],
  ["resolveMx", "none.test"],
  ["resolveMx", "_sip._tcp.test"],
  ["resolve6", "_sip._tcp.test"],
];

for (const [method, ...args] of QUESTIONS) {
  test(`${method}(${args.map((argument) => JSON.stringify(argument)).join(", ")})`, async () => {
    const expected = await outcome(theirs, method, args);
    assert.deepEqual(await outcome(ours, method, args), expected);
    const own = new ours.Resolver();
    own.setServers(["10.0.2.2"]);
    assert.deepEqual(await outcome(own, method, args), expected);
  });
}

test("what is thrown for wrong arguments", () => {
  const thrown = (run) => {
    try {
      run();
      return "nothing";
    } catch ({ name, message, code, errno, syscall }) {
      return { name, message, code, errno, syscall };
    }
  };
  const callback = () => {};
  for (const call of [
    (dns) => dns.resolve4(7, callback),
    (dns) => dns.resolve4("shop.test"),
    (dns) => dns.resolve("shop.test", "NONSENSE", callback),
    (dns) => dns.resolve("shop.test", 7, callback),
    (dns) => dns.reverse("nonsense", callback),
    (dns) => dns.lookup("shop.test"),
    (dns) => dns.lookup(7, callback),
    (dns) => dns.lookup("shop.test", "4", callback),
    (dns) => dns.lookup("shop.test", 5, callback),
    (dns) => dns.lookup("shop.test", { family: 5 }, callback),
    (dns) => dns.lookup("shop.test", { all: "yes" }, callback),
    (dns) => dns.lookup("shop.test", { verbatim: "yes" }, callback),
    (dns) => dns.lookup("shop.test", { order: "random" }, callback),
    (dns) => dns.lookupService("nonsense", 80, callback),
    (dns) => dns.lookupService("10.0.0.1", 65_536, callback),
    (dns) => dns.lookupService("10.0.0.1", 80),
    (dns) => dns.setServers(["nonsense"]),
    (dns) => dns.setServers("10.0.0.1"),
  ]) {
    assert.deepEqual(
      thrown(() => call(ours)),
      thrown(() => call(nodeDns)),
      String(call),
    );
  }
});

test("lookup in its forms", async () => {
  const asked = (dns, ...args) =>
    new Promise((resolve) => dns.lookup(...args, (...told) => resolve(told)));
  for (const args of [["127.0.0.1"], ["::1"], ["127.0.0.1", { all: true }], ["::1", 6]]) {
    assert.deepEqual(await asked(ours, ...args), await asked(nodeDns, ...args));
    const promised = [ours, nodeDns].map((dns) => dns.promises.lookup(...args));
    const [mine, expected] = await Promise.all(promised);
    assert.deepEqual(mine, expected);
  }
  assert.deepEqual(await asked(ours, "shop.test", 4), [null, "10.0.2.2", 4]);
  const [, all] = await asked(ours, "shop.test", { all: true, order: "ipv6first" });
  assert.deepEqual(all.at(0), { address: "fd00::2", family: 6 });
  const [error] = await asked(ours, "none.test");
  const { message, code, errno, syscall, hostname } = error;
  assert.equal(message, "getaddrinfo ENOTFOUND none.test");
  assert.deepEqual(
    { code, errno, syscall, hostname },
    {
      ...{ code: "ENOTFOUND", errno: -3008, syscall: "getaddrinfo", hostname: "none.test" },
    },
  );
});

test("lookup says whether it is worth another try", async () => {
  const lonely = createDns(await createStack({ engine, hostname: "lonely" }));
  await assert.rejects(lonely.promises.lookup("shop.test"), {
    message: "getaddrinfo EAI_AGAIN shop.test",
    errno: -3001,
  });
  await assert.rejects(lonely.promises.resolve4("shop.test"), { code: "ECONNREFUSED" });
});

test("the promises, the servers and names of services", async () => {
  const mx = await ours.promises.resolveMx("shop.test");
  assert.deepEqual(mx.map(plain), (await theirsPromised("resolveMx")).map(plain));
  assert.deepEqual(ours.getServers(), ["10.0.2.2"]);
  const resolver = new ours.promises.Resolver();
  resolver.setServers(["10.0.2.2:53"]);
  assert.deepEqual(resolver.getServers(), ["10.0.2.2"]);
  assert.deepEqual((await resolver.resolve4("shop.test")).sort(), ["10.0.2.2", "10.0.2.3"]);
  assert.deepEqual(await ours.promises.lookupService("10.0.2.2", 80), {
    hostname: "gateway.lan",
    service: "http",
  });
  assert.deepEqual(await promisify(ours.lookupService)("10.0.2.9", 4_242), {
    hostname: "10.0.2.9",
    service: "4242",
  });
  const { Resolver, promises, default: _, ...names } = nodeDns;
  for (const [name, value] of Object.entries(names)) {
    assert.equal(typeof ours[name], typeof value, name);
  }
  for (const name of Object.keys(promises)) assert.ok(name in ours.promises, name);
  for (const name of Object.getOwnPropertyNames(Resolver.prototype)) {
    assert.ok(name in new ours.Resolver(), name);
  }
});

const theirsPromised = (method) => promisify(theirs[method]).call(theirs, "shop.test");

test("questions that are cancelled", async () => {
  const resolver = new ours.promises.Resolver();
  const question = resolver.resolve4("slow.test");
  resolver.cancel();
  await assert.rejects(question, { code: "ECANCELLED", syscall: "queryA", hostname: "slow.test" });
});

test("a socket connects by a name of the stack's", async () => {
  const net = createNet(stack);
  const note = [];
  const socket = net.connect(9, "one.test");
  socket.on("lookup", (error, address, family, host) => note.push([error, address, family, host]));
  const [error] = await once(socket, "error");
  assert.deepEqual(note, [[null, "10.0.2.2", 4, "one.test"]]);
  assert.equal(error.message, "connect ECONNREFUSED 10.0.2.2:9");
});
