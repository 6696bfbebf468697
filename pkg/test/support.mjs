/** What several tests need: two hosts on a network, a clock that only the test moves, and waiting for a condition. */

import assert from "node:assert/strict";
import { setTimeout as delay, setImmediate as nextTask } from "node:timers/promises";
import { createEngine, createStack, createSwitch, plug } from "ethertab";

/** A clock that stands still until `advance`. */
export class ManualClock {
  #now = 0;
  #timers = new Set();

  now() {
    return this.#now;
  }

  setTimer(callback, delay) {
    const timer = { callback, at: this.#now + delay };
    this.#timers.add(timer);
    return timer;
  }

  clearTimer(timer) {
    this.#timers.delete(timer);
  }

  /** How many timers run. */
  get timers() {
    return this.#timers.size;
  }

  /** Lets time pass, timer by timer, each followed by all that it causes. */
  async advance(milliseconds) {
    const end = this.#now + milliseconds;
    await settle();
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Until all work that needs no passing of time is done. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await nextTask();
}

/** Waits, in real time, until `condition` holds; fails after five seconds. */
export async function until(condition, what = "the condition") {
  const end = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not come true within 5 s`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Two stacks joined by a cable, in one engine of their own: `10.0.0.1`, `fd00::1` and `10.0.0.2`, `fd00::2`. */
export async function twoStacks({ clock, impairment, tcp, limits } = {}) {
  const engine = await createEngine(clock === undefined ? {} : { clock });
  const a = await createStack({ hostname: "a", engine, seed: 1, tcp, limits });
  const b = await createStack({ hostname: "b", engine, seed: 2, tcp, limits });
  const nicA = a.addInterface({
    mac: "02:00:00:00:00:0a",
    addresses: ["10.0.0.1/24", "fd00::1/64"],
  });
  const nicB = b.addInterface({
    mac: "02:00:00:00:00:0b",
    addresses: ["10.0.0.2/24", "fd00::2/64"],
  });
  const link = plug(nicA, nicB, impairment);
  return { engine, a, b, nicA, nicB, link, clock };
}

/** Two stacks on a switch. */
export async function twoOnSwitch() {
  const engine = await createEngine();
  const a = await createStack({ hostname: "a", engine, seed: 1 });
  const b = await createStack({ hostname: "b", engine, seed: 2 });
  const nicA = a.addInterface({ addresses: ["10.0.0.1/24"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24"] });
  const lan = await createSwitch({ engine });
  lan.plug(nicA);
  lan.plug(nicB);
  return { engine, a, b, nicA, nicB, lan };
}

/** A connection from `a` to a listener of `b`: both ends, open. */
export async function connected({ a, b }, { connect = {}, listen = {} } = {}) {
  const listener = b.listen({ port: 0, ...listen });
  const { port } = await listener.listening;
  const client = a.connect({ hostname: "10.0.0.2", port }, connect);
  const server = await listener.accept();
  await client.opened;
  await listener.close();
  return { client, server };
}

/** Bytes that don't repeat in step with any buffer size. */
export function pattern(length, offset = 0) {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 1) {
    const at = index + offset;
    bytes[index] = (at ^ (at >>> 8) ^ (at >>> 16)) * 31;
  }
  return bytes;
}

/** All that a stream of bytes gives. */
export async function readAll(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Writes bytes and closes the stream. */
export async function writeAll(stream, bytes) {
  const writer = stream.getWriter();
  await writer.write(bytes);
  await writer.close();
}

/** Lets the collector run until `condition` holds; fails after ten seconds. */
export async function collected(condition) {
  const end = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < end, "it was not collected within 10 s");
    await delay(20);
    globalThis.gc();
  }
}

/** Long enough for what could be collected to be. */
export async function collectAll() {
  for (let round = 0; round < 40; round += 1) {
    await delay(20);
    globalThis.gc();
  }
}
