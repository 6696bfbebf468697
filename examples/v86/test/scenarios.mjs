/**
 * The end-to-end suite: real Linux guests on ethertab. One copy runs in Node
 * (node.test.mjs) and in a page (browser.test.mjs); what differs comes in `env`.
 *
 * @typedef {object} Env
 * @property {(options: { nic: string, mac?: string }) => Promise<import("../guest/guest.mjs").Guest>} startGuest
 * @property {() => Promise<number>} heapBytes  JavaScript heap in use after a collection
 * @property {() => WebSocket} openHub  a WebSocket to a hub, with the gateway of remote.mjs on it
 * @property {(cleanup: () => unknown) => void} defer  runs after the scenario, last first
 * @property {(text: string) => void} log
 */
import { assert } from "chai";
import { createStack, createSwitch, v86Port, webSocketPort } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { bytes, FILE, GATEWAY, MiB, sha256, streamOf } from "./data.mjs";
import { jumboScenarios } from "./jumbo.mjs";
import { neighborScenarios } from "./neighbors.mjs";
import { networkScenarios } from "./networks.mjs";
import {
  answerOne,
  eventually,
  fileDigest,
  get,
  home,
  minutes,
  pings,
  receiveOne,
  rejection,
  takeLease,
  timed,
} from "./steps.mjs";

async function getsOnline(env, nic) {
  const { guest, gateway, vm } = await home(env, nic);
  gateway.serve("http://shop.test", () => new Response("hello, VM"));
  const { address, router } = await takeLease(guest);
  await pings(guest, router);
  assert.equal(await vm.ready, address);
  assert.equal(await guest.check("cat /sys/class/net/eth0/address"), vm.mac);
  assert.include(await guest.check(`nslookup ${address}`), "name = vm1.");
  await guest.check("mkdir -p /www && echo from the guest > /www/index.html && httpd -h /www");
  assert.equal(await (await vm.fetch("/")).text(), "from the guest\n");
  assert.include(await guest.check("nslookup -type=a shop.test"), "Name:\tshop.test\nAddress: ");
  assert.equal(await guest.check("wget -q -O - http://shop.test/"), "hello, VM");
  const { output, status } = await guest.run("nslookup -type=a nowhere.test");
  assert.notEqual(status, 0, output);
  assert.include(output, "NXDOMAIN");

  // Linux uses a new address, its link-local one too, when it has found no duplicate.
  await guest.check(
    "ip -6 addr add fd00:2::15/64 dev eth0; while ip -6 addr show dev eth0 | grep -q tentative; do usleep 50000; done",
  );
  const { address6 } = gateway;
  const linkLocal = gateway.port.addresses.find((address) => address.startsWith("fe80:"));
  await pings(guest, address6, "ping6");
  await pings(guest, `${linkLocal.replace(/\/.*/, "")}%eth0`, "ping6");
  gateway.serve(`http://[${address6}]`, () => new Response("hello over IPv6"));
  assert.equal(await guest.check(`wget -q -O - http://[${address6}]/`), "hello over IPv6");
  assert.isAbove((await gateway.stack.ping("fd00:2::15")).rtt, 0);
}

/** The guest is saved while it has a lease and an open connection, and both it and the gateway go on in others' places. */
async function isRestored(env, nic) {
  const { guest, gateway } = await home(env, nic);
  const { address } = await takeLease(guest);
  await guest.check("mkdir -p /www && echo saved > /www/index.html && httpd -h /www");
  const listener = gateway.stack.listen({ port: 9000 });
  await listener.listening;
  await guest.check(`sleep 600 | nc ${gateway.address} 9000 > /dev/null 2>&1 & echo`);
  await listener.accept();
  const state = await guest.saveState();
  const saved = JSON.parse(JSON.stringify(gateway.save()));
  await guest.stop();
  await gateway.close();

  const again = await env.startGuest({ nic, state });
  env.defer(() => again.stop());
  const next = await createGateway({ ...GATEWAY, restore: saved });
  env.defer(() => next.close());
  const vm = await next.attach(again.emulator, { name: "vm1" });
  assert.equal(vm.address, address, "known from the lease, before the guest has sent anything");
  assert.equal(await (await vm.fetch("/")).text(), "saved\n");
  next.serve("http://shop.test", () => new Response("hello again"));
  assert.equal(await again.check("wget -q -O - http://shop.test/"), "hello again");

  // Its clock is the snapshot's, here an older one's, until it asks the gateway's.
  await again.check("date -s @1000000000");
  await again.check(`/usr/bin/rdate -n ${next.address}`);
  const seconds = Number(await again.check("date +%s"));
  assert.approximately(seconds, Date.now() / 1_000, 3_600);
  assert.isTrue(
    next.leases().some((lease) => lease.address === address && lease.state === "bound"),
  );
}

async function movesFiles(env, nic) {
  const { guest, gateway } = await home(env, nic);
  const data = bytes(50 * MiB, 1);
  gateway.serve(
    "http://shop.test",
    () => new Response(streamOf(data), { headers: { "content-length": String(data.length) } }),
  );
  const { address, router } = await takeLease(guest);
  const { stack } = gateway;

  await timed(env, "download", data.length, () =>
    guest.check("wget -q -O /tmp/down http://shop.test/file", { timeoutMs: minutes(4) }),
  );
  assert.equal(await fileDigest(guest, "/tmp/down"), await sha256(data));

  const length = 20 * MiB;
  await guest.check(`truncate -s ${length} /tmp/down`);
  const listener = stack.listen({ port: 9000 });
  env.defer(() => listener.close());
  await listener.listening;
  const [received] = await timed(env, "upload", length, () =>
    Promise.all([
      receiveOne(listener),
      guest.check(`nc ${router} 9000 < /tmp/down`, { timeoutMs: minutes(4) }),
    ]),
  );
  assert.equal(received.length, length);
  assert.equal(await sha256(received), await sha256(data.subarray(0, length)));

  await guest.check(`truncate -s ${10 * MiB} /tmp/down && httpd -p 8000 -h /tmp`);
  const body = await timed(env, "fetch", 10 * MiB, async () => {
    const response = await gateway.fetch(`http://${address}:8000/down`);
    assert.equal(response.status, 200);
    return new Uint8Array(await response.arrayBuffer());
  });
  assert.equal(body.length, 10 * MiB);
  assert.equal(await sha256(body), await sha256(data.subarray(0, 10 * MiB)));

  const refused = stack.connect({ hostname: address, port: 9 });
  const [opening, closing] = await Promise.all([
    rejection(refused.opened),
    rejection(refused.closed),
  ]);
  assert.equal(opening.code, "ECONNREFUSED");
  assert.equal(closing.code, "ECONNREFUSED");

  const dead = stack.connect({ hostname: "10.0.2.250", port: 80 }, { connectTimeout: 400 });
  const start = performance.now();
  const [timeout] = await Promise.all([rejection(dead.opened), rejection(dead.closed)]);
  assert.equal(timeout.code, "ETIMEDOUT");
  assert.isBelow(performance.now() - start, 5_000);
}

async function twoGuests(env, nic) {
  const guests = [
    await env.startGuest({ nic }),
    await env.startGuest({ nic, mac: "02:00:00:00:00:0b" }),
  ];
  for (const guest of guests) env.defer(() => guest.stop());
  const stack = await createStack({ hostname: "page" });
  env.defer(() => stack.close());
  const lan = await createSwitch();
  env.defer(() => lan.close());
  lan.plug(stack.addInterface({ addresses: ["10.9.0.1/24"] }));
  for (const guest of guests) lan.plug(v86Port(guest.emulator));
  const addresses = ["10.9.0.2", "10.9.0.3"];
  for (const [i, guest] of guests.entries()) {
    await guest.check(`ip addr add ${addresses[i]}/24 dev eth0 && ip link set eth0 up`);
  }
  const data = bytes(FILE.length, 3);
  const digest = await sha256(data);

  await pings(guests[0], addresses[1]);
  await pings(guests[1], addresses[0]);
  for (const [i, guest] of guests.entries()) {
    await pings(guest, "10.9.0.1");
    assert.isAbove((await stack.ping(addresses[i])).rtt, 0);
  }

  // From the stack to each guest, and from there back.
  const listener = stack.listen({ port: 80 });
  env.defer(() => listener.close());
  await listener.listening;
  for (const [i, guest] of guests.entries()) {
    await guest.check("httpd -p 80 -h /tmp");
    const download = guest.check("wget -q -O /tmp/file http://10.9.0.1/", {
      timeoutMs: minutes(2),
    });
    await timed(env, "stack to guest", data.length, () =>
      Promise.all([answerOne(listener, data), download]),
    );
    assert.equal(await fileDigest(guest, "/tmp/file"), digest);
    const received = await timed(env, "guest to stack", data.length, () =>
      get(stack, addresses[i], "/file"),
    );
    assert.equal(await sha256(received), digest);
  }

  // Guest to guest, each from the other's web server.
  for (const [i, guest] of guests.entries()) {
    const url = `http://${addresses[1 - i]}/file`;
    await timed(env, "guest to guest", data.length, () =>
      guest.check(`wget -q -O /tmp/other ${url}`, { timeoutMs: minutes(3) }),
    );
    assert.equal(await fileDigest(guest, "/tmp/other"), digest);
  }
}

async function overWebSocket(env, nic) {
  const guest = await env.startGuest({ nic });
  env.defer(() => guest.stop());
  const relay = webSocketPort(env.openHub());
  env.defer(() => relay.close());
  await relay.opened;
  const lan = await createSwitch();
  env.defer(() => lan.close());
  lan.plug(v86Port(guest.emulator));
  lan.plug(relay);
  const { router } = await takeLease(guest);
  await pings(guest, router);
  assert.include(await guest.check("nslookup -type=a shop.test"), "Name:\tshop.test\nAddress: ");
  await timed(env, "download through a WebSocket", FILE.length, () =>
    guest.check("wget -q -O /tmp/file http://shop.test/file", { timeoutMs: minutes(2) }),
  );
  assert.equal(await fileDigest(guest, "/tmp/file"), await sha256(bytes(FILE.length, FILE.seed)));
}

async function staysSmall(env, nic) {
  const { guest, gateway } = await home(env, nic);
  let requests = 0;
  const answer = () => {
    requests += 1;
    return new Response("ok");
  };
  gateway.serve("http://shop.test", answer);
  const { router } = await takeLease(guest);
  gateway.serve(`http://${router}`, answer);
  // One wget fetches many URLs, each over a connection of its own: starting a process costs an emulated machine as much
  // as the request does. So does a look-up: a fifth of the URLs have a name.
  await guest.check(
    `urls=; for i in $(seq 10); do urls="$urls http://shop.test/$i"; for j in $(seq 4); do urls="$urls http://${router}/$i/$j"; done; done`,
  );
  const thousand = async () => {
    for (let i = 0; i < 20; i++) {
      const got = await guest.check("wget -q -O /tmp/out $urls && wc -c < /tmp/out", {
        timeoutMs: minutes(1),
      });
      assert.equal(got, "100");
    }
    return env.heapBytes();
  };
  const before = await thousand();
  assert.equal(requests, 1000);
  const after = await thousand();
  assert.equal(requests, 2000);
  env.log(`heap at 1,000 requests ${before}, at 2,000 ${after} bytes`);
  assert.isBelow(after - before, MiB, "growth of the heap in bytes");

  const { stack } = gateway;
  await eventually("all connections have ended", () =>
    stack.connections().every(({ state }) => state === "TIME-WAIT"),
  );
  // A router keeps what it advertises.
  await eventually("all other blocks are free", () => stack.blocksInUse === 1);
}

/**
 * The scenarios, and the cards that one runs with if not with all.
 *
 * @type {{ name: string, nics?: string[], run: (env: Env, nic: string) => Promise<void> }[]}
 */
export const scenarios = [
  { name: "lease, pings, names and a page, over IPv4 and IPv6", run: getsOnline },
  { name: "guest and gateway are saved and restored", run: isRestored },
  { name: "50 MiB down, 20 MiB up, 10 MiB fetched; refusals and time-outs", run: movesFiles },
  { name: "two guests and a stack on one switch", run: twoGuests },
  { name: "guest and gateway in two processes over a WebSocket", run: overWebSocket },
  { name: "2,000 requests leave no memory behind", run: staysSmall },
  ...networkScenarios,
  ...neighborScenarios,
  ...jumboScenarios,
];

const nics = ["virtio", "ne2k"];

/** Each scenario with each of its network cards: its place among the scenarios, and the card. */
export const runs = nics.flatMap((nic) =>
  scenarios.flatMap((scenario, index) =>
    (scenario.nics ?? nics).includes(nic) ? [{ scenario, index, nic }] : [],
  ),
);

/**
 * Runs one scenario and cleans up after it, whatever its outcome.
 *
 * @param {{ run: (env: Env, nic: string) => Promise<void> }} scenario
 * @param {string} nic
 * @param {Omit<Env, "defer">} env
 */
export async function runScenario(scenario, nic, env) {
  /** @type {(() => unknown)[]} */
  const cleanups = [];
  try {
    await scenario.run({ ...env, defer: (cleanup) => cleanups.push(cleanup) }, nic);
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}
