/** Several guests on one gateway: kept apart, and saved and restored together. */
import { assert } from "chai";
import { createSwitch } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { GATEWAY } from "./data.mjs";
import { pings, takeLease } from "./steps.mjs";

/** Waits in the guest until a command succeeds. */
const until = (command) =>
  `for try in $(seq 200); do ${command} && break; usleep 50000; done; ${command}`;

async function posesAsAnother(env, nic) {
  const gateway = await createGateway({ ...GATEWAY, isolate: true });
  env.defer(() => gateway.close());
  const lan = await createSwitch();
  env.defer(() => lan.close());
  lan.plug(gateway);
  const guests = [];
  const vms = [];
  for (const [index, name] of ["victim", "thief"].entries()) {
    const guest = await env.startGuest({ nic, mac: `02:00:00:00:00:2${index}` });
    env.defer(() => guest.stop());
    vms.push(await gateway.attach(guest.emulator, { name }));
    guests.push(guest);
  }
  const [victim, thief] = guests;
  const { address, router } = await takeLease(victim);
  const { address: own } = await takeLease(thief);
  const six = "fd00:2::15";
  const settled = until("! ip addr show dev eth0 | grep -q tentative");
  await victim.check(`ip addr add ${six}/64 dev eth0; ${settled}`);
  await pings(victim, gateway.address6, "ping6");
  await victim.check("mkdir -p /www && echo of the victim > /www/index.html && httpd -h /www");
  assert.equal(lan.counters().spoofed, 0);

  // Linux announces what it is told to have, and sends from it.
  for (const [taken, ping, reached] of [
    [`${address}/24`, "ping", router],
    [`${six}/64`, "ping6", gateway.address6],
  ]) {
    const from = taken.replace(/\/.*/, "");
    await thief.check(`ip addr add ${taken} dev eth0; ${settled}`);
    const { spoofed } = lan.counters();
    const { status, output } = await thief.run(`${ping} -I ${from} -c 2 -W 1 ${reached}`);
    assert.notEqual(status, 0, output);
    assert.isAbove(lan.counters().spoofed, spoofed);
    assert.isAbove((await gateway.stack.ping(from)).rtt, 0);
  }
  const { spoofed } = lan.counters();
  await thief.run(`arping -U -c 2 -w 3 -I eth0 ${address}`);
  assert.isAtLeast(lan.counters().spoofed, spoofed + 2);
  assert.equal(await (await vms[0].fetch("/")).text(), "of the victim\n");
  assert.deepEqual(
    vms.map((vm) => vm.address),
    [address, own],
  );
  const cards = gateway.stack.neighbors().filter((entry) => [address, six].includes(entry.address));
  assert.deepEqual(new Set(cards.map(({ mac }) => mac)), new Set([vms[0].mac]));

  // Nor does it reach the other, by whatever address; its own is good still.
  await thief.check(`ip addr del ${address}/24 dev eth0 && ip addr del ${six}/64 dev eth0`);
  for (const command of [`ping -c 1 -W 1 ${address}`, `ping6 -c 1 -W 1 ${six}`]) {
    assert.notEqual((await thief.run(command)).status, 0);
  }
  await pings(thief, router);
  await pings(victim, router);
}

async function areRestoredTogether(env) {
  const options = { ...GATEWAY, isolate: true };
  const gateway = await createGateway(options);
  env.defer(() => gateway.close());
  const kinds = { leased: "virtio", settled: "ne2k" };
  const guests = {};
  for (const [name, nic] of Object.entries(kinds)) {
    guests[name] = await env.startGuest({ nic });
    env.defer(() => guests[name].stop());
    await gateway.attach(guests[name].emulator, { name });
  }
  const { address, router } = await takeLease(guests.leased);
  await guests.settled.check(
    `ip link set eth0 up && ip addr add 10.0.2.200/24 dev eth0 && ip route add default via ${router}`,
  );
  await pings(guests.settled, router);
  const listener = gateway.stack.listen({ port: 9000 });
  await listener.listening;
  for (const [name, guest] of Object.entries(guests)) {
    await guest.check(`mkdir -p /www && echo page of ${name} > /www/index.html && httpd -h /www`);
    await guest.check(
      `(while sleep 1; do echo more; done | nc ${router} 9000; echo > /tmp/ended) > /dev/null 2>&1 & echo`,
    );
    await listener.accept();
  }
  const states = {};
  for (const [name, guest] of Object.entries(guests)) states[name] = await guest.saveState();
  const saved = JSON.parse(JSON.stringify(gateway.save()));
  for (const guest of Object.values(guests)) await guest.stop();
  await gateway.close();

  const next = await createGateway({ ...options, restore: saved });
  env.defer(() => next.close());
  next.serve("http://shop.test", (_, { remote }) => new Response(remote.address));
  const expected = { leased: address, settled: "10.0.2.200" };
  const vms = {};
  for (const [name, nic] of Object.entries(kinds)) {
    guests[name] = await env.startGuest({ nic, state: states[name] });
    env.defer(() => guests[name].stop());
    vms[name] = await next.attach(guests[name].emulator, { name });
    assert.equal(vms[name].address, expected[name], "before the guest has sent anything");
  }
  for (const [name, guest] of Object.entries(guests)) {
    assert.equal(await (await vms[name].fetch("/")).text(), `page of ${name}\n`);
    const from = await guest.check(`wget -q -O - --header "Host: shop.test" http://${router}/`);
    assert.equal(from, expected[name]);
    // The connection that it still has is reset when it uses it.
    await guest.check(until("test -e /tmp/ended"));
  }
  assert.deepEqual(
    next.leases().map((lease) => [lease.address, lease.state]),
    saved.leases.map((lease) => [lease.address, lease.state]),
  );
  assert.notEqual((await guests.leased.run("ping -c 1 -W 1 10.0.2.200")).status, 0);
}

/** The scenarios of this file. */
export const neighborScenarios = [
  { name: "an isolated guest poses as another", run: posesAsAnother },
  {
    name: "guests with both cards are saved and restored together",
    nics: ["virtio"],
    run: areRestoredTogether,
  },
];
