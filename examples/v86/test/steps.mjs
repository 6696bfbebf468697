/** Steps that several scenarios of the end-to-end suite take. */
import { assert } from "chai";
import { createGateway } from "ethertab/gateway";
import { DHCP } from "../guest/guest.mjs";
import { GATEWAY, MiB, readAll, streamOf } from "./data.mjs";

/** Milliseconds. */
export const minutes = (n) => n * 60_000;

/** The error that a promise rejects with; fails if it does not. @param {Promise<unknown>} promise */
export async function rejection(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  return assert.fail(`should have rejected, resolved with ${String(value)}`);
}

/** Waits for a condition that real time brings about. */
export async function eventually(what, condition, limit = 10_000) {
  const end = performance.now() + limit;
  while (!condition()) {
    assert.isBelow(performance.now(), end, `${what} within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs `action` and logs its rate. */
export async function timed(env, what, length, action) {
  const start = performance.now();
  const result = await action();
  const ms = performance.now() - start;
  env.log(
    `${what}: ${(length / MiB).toFixed(0)} MiB in ${(ms / 1000).toFixed(1)} s, ${(length / ms / 1000).toFixed(1)} MB/s`,
  );
  return result;
}

/** Accepts one connection and reads it to its end. @param {import("ethertab").Listener} listener */
export async function receiveOne(listener) {
  const socket = await listener.accept();
  const received = await readAll(socket.readable);
  await socket.close();
  return received;
}

/** Accepts one connection, reads a request of HTTP/1.0 and answers it with `data`. */
export async function answerOne(listener, data) {
  const socket = await listener.accept();
  const reader = socket.readable.getReader();
  let head = "";
  while (!head.includes("\r\n\r\n")) {
    const { value, done } = await reader.read();
    assert.isFalse(done, `end of the request after ${JSON.stringify(head)}`);
    head += new TextDecoder().decode(value);
  }
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode("HTTP/1.0 200 OK\r\n\r\n"));
  writer.releaseLock();
  await streamOf(data).pipeTo(socket.writable);
  await socket.close();
}

/** Gets a file by HTTP/1.0 over a plain socket and resolves with its bytes. */
export async function get(stack, hostname, path) {
  const socket = stack.connect({ hostname, port: 80 }, { allowHalfOpen: true });
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode(`GET ${path} HTTP/1.0\r\n\r\n`));
  const answer = await readAll(socket.readable);
  await socket.close();
  const head = new TextDecoder("latin1").decode(answer.subarray(0, 4096));
  assert.match(head, /^HTTP\/1\.\d 200 /);
  return answer.subarray(head.indexOf("\r\n\r\n") + 4);
}

/** SHA-256 of a file in the guest, in hexadecimal. */
export async function fileDigest(guest, path) {
  const line = await guest.check(`sha256sum < ${path}`, { timeoutMs: minutes(2) });
  return line.replace(/ +-$/, "");
}

/** A guest and a gateway on a switch; the guest has no address yet. */
export async function home(env, nic) {
  const guest = await env.startGuest({ nic });
  env.defer(() => guest.stop());
  const gateway = await createGateway(GATEWAY);
  env.defer(() => gateway.close());
  const vm = await gateway.attach(guest.emulator, { name: "vm1" });
  return { guest, gateway, vm };
}

/** The guest's own view of its lease. @param {import("../guest/guest.mjs").Guest} guest */
export async function takeLease(guest, mtu = GATEWAY.mtu) {
  await guest.check(DHCP, { timeoutMs: 30_000 });
  const address = await guest.check(
    "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([^ ]*\\).*/\\1/'",
  );
  const router = await guest.check("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'");
  const resolver = await guest.check("cat /etc/resolv.conf");
  assert.match(address, /^10\.0\.2\.\d+\/24$/);
  assert.match(router, /^10\.0\.2\.\d+$/);
  assert.notEqual(address, `${router}/24`);
  assert.include(resolver, `nameserver ${router}`);
  assert.include(resolver, `search ${GATEWAY.domain}`);
  assert.equal(await guest.check("cat /sys/class/net/eth0/mtu"), String(mtu));
  return { address: address.replace("/24", ""), router };
}

export async function pings(guest, address, ping = "ping") {
  const output = await guest.check(`${ping} -c 3 -i 0.2 -w 10 ${address}`);
  assert.match(output, /3 packets transmitted, 3 packets received, 0% packet loss/);
}
