/** The longest packets that there are, which v86's virtio carries in one frame. */
import { assert } from "chai";
import { createGateway } from "ethertab/gateway";
import { bytes, GATEWAY, MiB, sha256, streamOf } from "./data.mjs";
import { address6, linkUp } from "./networks.mjs";
import { fileDigest, minutes, pings, receiveOne, takeLease, timed } from "./steps.mjs";

/** RFC 791 §3.1: the total length of an IPv4 packet has 16 bits. */
const MTU = 65_535;
/** With Ethernet's header. */
const LONGEST_FRAME = 14 + MTU;
/** What a ping carries in such a packet, after the headers of IPv4 and ICMP, or of IPv6 and ICMPv6. */
const PING4 = MTU - 20 - 8;
const PING6 = MTU - 40 - 8;

async function movesLongPackets(env, nic) {
  // Linux asks the card for its MTU when its driver starts: a saved state has the one that it was booted with.
  const guest = await env.startGuest({ nic, cold: true, mtu: MTU });
  env.defer(() => guest.stop());
  const gateway = await createGateway({ ...GATEWAY, mtu: MTU });
  env.defer(() => gateway.close());
  const { port } = await gateway.attach(guest.emulator);

  assert.equal(await guest.check("cat /sys/class/net/eth0/mtu"), String(MTU), "the card's");
  await guest.check(linkUp);
  const own = await address6(guest, "fd00:2:");
  // The lease brings it back.
  await guest.check("ip link set eth0 mtu 1500");
  const { address, router } = await takeLease(guest, MTU);
  assert.equal(await guest.check("cat /proc/sys/net/ipv6/conf/eth0/mtu"), String(MTU));
  const { stack, address6: router6 } = gateway;

  let longest = { in: 0, out: 0 };
  port.hook = (frame, direction) => {
    longest[direction] = Math.max(longest[direction], frame.length);
  };
  /** The longest frames while `action` runs: into the machine and out of it. */
  const frames = async (action) => {
    longest = { in: 0, out: 0 };
    await action();
    return longest;
  };
  const both = { in: LONGEST_FRAME, out: LONGEST_FRAME };
  assert.deepEqual(await frames(() => pings(guest, router, `ping -s ${PING4}`)), both);
  assert.deepEqual(await frames(() => pings(guest, router6, `ping6 -s ${PING6}`)), both);
  assert.deepEqual(await frames(() => stack.ping(address, { size: PING4 })), both);
  assert.deepEqual(await frames(() => stack.ping(own, { size: PING6 })), both);

  const data = bytes(10 * MiB, 5);
  const digest = await sha256(data);
  const listener = stack.listen({ port: 9000 });
  env.defer(() => listener.close());
  await listener.listening;
  for (const host of [router, router6]) {
    const origin = host === router6 ? `http://[${host}]` : `http://${host}`;
    gateway.serve(origin, () => new Response(streamOf(data)));
    const down = () => guest.check(`wget -q -O /tmp/file ${origin}/`, { timeoutMs: minutes(2) });
    const { in: toGuest } = await frames(() =>
      timed(env, `download in packets of ${MTU} bytes`, data.length, down),
    );
    assert.equal(toGuest, LONGEST_FRAME);
    assert.equal(await fileDigest(guest, "/tmp/file"), digest);

    const up = guest.check(`nc ${host} 9000 < /tmp/file`, { timeoutMs: minutes(2) });
    let received;
    const { out: fromGuest } = await frames(async () => {
      [received] = await Promise.all([receiveOne(listener), up]);
    });
    assert.equal(fromGuest, LONGEST_FRAME);
    assert.equal(await sha256(received), digest);
  }
}

/** The scenario of this file. NE2000 has 1,500 bytes at most. */
export const jumboScenarios = [
  { name: "packets of 65,535 bytes", nics: ["virtio"], run: movesLongPackets },
];
