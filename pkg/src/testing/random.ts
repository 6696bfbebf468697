/** Random numbers that are the same for the same seed, on every platform. */

import * as check from "../arguments.js";

/** SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). */
export class Random {
  #state: bigint;

  constructor(seed: bigint) {
    this.#state = seed;
  }

  /** 64 bits. */
  next(): bigint {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e37_79b9_7f4a_7c15n);
    let bits = this.#state;
    bits = BigInt.asUintN(64, (bits ^ (bits >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    bits = BigInt.asUintN(64, (bits ^ (bits >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return bits ^ (bits >> 31n);
  }

  /** Fills the array. */
  fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = Number(this.next() & 255n);
  }

  /** From 0 to 1, without 1. */
  number(): number {
    return Number(this.next() >> 11n) / 2 ** 53;
  }
}

/**
 * A generator for one use, so that drawing more for one thing changes nothing of another: by the seed and the use's name (FNV-1a over the name's
 * code units).
 */
export function randomFor(seed: bigint, use: string): Random {
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (let at = 0; at < use.length; at += 1) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(use.charCodeAt(at))) * 0x0100_0000_01b3n);
  }
  return new Random(new Random(seed ^ hash).next());
}

/** A seed as 64 bits. */
export function seedOf(argument: string, value: unknown): bigint {
  const [high, low] = check.seed(argument, value);
  return (BigInt(high) << 32n) | BigInt(low);
}
