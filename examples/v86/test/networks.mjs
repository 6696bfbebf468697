/**
 * Networks that configure themselves over IPv6, and networks behind a router that is a stack. Only with virtio: an NE2000 drops the
 * multicasts that IPv6 is made of.
 */
import { assert } from "chai";
import { createStack, createSwitch, v86Port } from "ethertab";
import { eventually, home, pings } from "./steps.mjs";

/** Waits in the guest until a command succeeds. */
const until = (command) =>
  `for try in $(seq 200); do ${command} && break; usleep 50000; done; ${command}`;

/** The guest's global IPv6 addresses that begin so, once they are in use; the first of them. */
export async function address6(guest, begin) {
  const shown = "ip -6 -o addr show dev eth0 scope global";
  await guest.check(until(`${shown} | grep ' ${begin}' | grep -qv tentative`));
  return guest.check(`${shown} | sed -n 's/.* inet6 \\(${begin}[^/]*\\).*/\\1/p' | head -n 1`);
}

/** Linux asks for routers when a link comes up. */
export const linkUp = "ip link set eth0 down && ip link set eth0 up";

async function configuresItself(env, nic) {
  const { guest, gateway } = await home(env, nic);
  gateway.serve("http://shop.test", (_, { remote }) => new Response(remote.address));
  await guest.check(linkUp);

  // SLAAC: an address, the default router by its link-local address, the MTU.
  const own = await address6(guest, "fd00:2:");
  const linkLocal = gateway.port.addresses.find((address) => address.startsWith("fe80:"));
  const router = linkLocal.replace(/\/.*/, "");
  assert.include(await guest.check("ip -6 route show default"), `via ${router} dev eth0`);
  assert.equal(await guest.check("cat /proc/sys/net/ipv6/conf/eth0/mtu"), "1400");
  await pings(guest, gateway.address6, "ping6");
  await pings(guest, `${router}%eth0`, "ping6");
  assert.isAbove((await gateway.stack.ping(own)).rtt, 0);
  assert.isAbove((await gateway.stack.ping(own, { size: 4_000 })).rtt, 0);

  // DHCPv6: another address, the name server, the domain.
  await guest.check("rm -f /etc/resolv.conf; dhcp6c -c /etc/dhcp6c.conf eth0");
  const leased = await address6(guest, "fd00:2::1:");
  assert.deepEqual(
    gateway.leases6().map(({ address, state }) => [address, state]),
    [[leased, "bound"]],
  );
  const resolver = await guest.check(`${until("test -s /etc/resolv.conf")}; cat /etc/resolv.conf`);
  assert.include(resolver, `nameserver ${gateway.address6}`);
  assert.include(resolver, "search lab.test");
  assert.isAbove((await gateway.stack.ping(leased)).rtt, 0);

  // There is no IPv4: names are asked for, and pages fetched, over IPv6.
  assert.equal(await guest.check("ip -4 -o addr show dev eth0"), "");
  const from = await guest.check("wget -q -O - http://shop.test/");
  assert.include([own, leased], from);

  await guest.check("killall dhcp6c");
  await eventually("the lease is given back", () => gateway.leases6()[0].state === "ended");
}

/** Two guests, each in a network of its own behind a stack that forwards. */
async function twoNetworks(env, nic) {
  const router = await createStack({ hostname: "router" });
  env.defer(() => router.close());
  const sides = [];
  for (const number of [1, 2]) {
    const guest = await env.startGuest({ nic, mac: `02:00:00:00:00:1${number}` });
    env.defer(() => guest.stop());
    const lan = await createSwitch();
    env.defer(() => lan.close());
    const port = router.addInterface({
      addresses: [`10.${number}.0.1/24`, `fd0${number}::1/64`],
      forwarding: true,
    });
    lan.plug(port);
    lan.plug(v86Port(guest.emulator));
    await port.advertise();
    const address = `10.${number}.0.2`;
    await guest.check(
      `${linkUp} && ip addr add ${address}/24 dev eth0 && ip route add default via 10.${number}.0.1`,
    );
    await guest.check(`echo "page of ${number}" > /tmp/page && httpd -p 80 -h /tmp`);
    const six = await address6(guest, `fd0${number}:`);
    sides.push({ guest, port, address, six });
  }
  return { router, sides };
}

async function routes(env, nic) {
  const { router, sides } = await twoNetworks(env, nic);
  for (const [index, { guest }] of sides.entries()) {
    const other = sides[1 - index];
    await pings(guest, other.address);
    await pings(guest, other.six, "ping6");
    const page = `page of ${2 - index}`;
    assert.equal(await guest.check(`wget -q -O - http://${other.address}/page`), page);
    assert.equal(await guest.check(`wget -q -O - http://[${other.six}]/page`), page);
    // The router is on the way.
    const path = await guest.check(`traceroute -n -q 1 -m 4 ${other.address}`);
    assert.match(path, new RegExp(`1  10\\.${index + 1}\\.0\\.1 [^]*2  ${other.address} `));
  }
  assert.isAbove(router.counters().forwarded, 40);
}

async function translates(env, nic) {
  const { router, sides } = await twoNetworks(env, nic);
  const [inside, outside] = sides;
  // Outside, nobody knows of the network inside.
  await outside.guest.check("ip route del default");
  router.setNat({ outside: outside.port });
  await pings(inside.guest, outside.address);
  // A server outside tells whom it talks to: the router.
  await outside.guest.check("(nc -l -p 81 -e netstat -tn > /dev/null 2>&1 &)");
  await outside.guest.check(until("netstat -ltn | grep -q ':81 '"));
  const seen = await inside.guest.check(`nc ${outside.address} 81 < /dev/null`);
  assert.match(seen, /10\.2\.0\.2:81 +(::ffff:)?10\.2\.0\.1:\d+/);
  assert.notInclude(seen, inside.address);
  const [flow] = router.natFlows().filter(({ protocol }) => protocol === "tcp");
  assert.deepEqual(flow.inside.address, inside.address);

  router.forwardPort({ protocol: "tcp", port: 8080, to: `${inside.address}:80` });
  const page = await outside.guest.check("wget -q -O - http://10.2.0.1:8080/page");
  assert.equal(page, "page of 1");
  const { status } = await outside.guest.run(`ping -c 1 -w 1 ${inside.address}`);
  assert.notEqual(status, 0);
}

/** The scenarios of this file. */
export const networkScenarios = [
  { name: "an IPv6 network configures the guest", nics: ["virtio"], run: configuresItself },
  { name: "two guests on two networks with a stack between", nics: ["virtio"], run: routes },
  { name: "a guest behind address translation", nics: ["virtio"], run: translates },
];
