/** Who is behind which address: a guest is known by its network card, so that all its addresses share one bandwidth and one number of flows. */

import type { Clock, Stack } from "../../types.js";
import { type BandwidthTable, type GuestBuckets, TokenBucket } from "./bandwidth.js";

/** Guests that are remembered. Those with open flows are never forgotten. */
const MOST_GUESTS = 1_024;
/** How long the neighbours' cards are taken to be known, in milliseconds, and how often within that time they are looked at for one that is not. */
const KNOWN_FOR = 5_000;
const MOST_LOOKS = 200;

/** A guest. */
export interface Guest {
  /** Its MAC address, or IP address where that is not known. */
  readonly key: string;
  /** Flows that are open or asked for. */
  flows: number;
  readonly buckets: GuestBuckets;
  /** The addresses that it was seen with, as far as they matter for its bandwidth. */
  readonly addresses: Set<string>;
  /** Flows that are not answered, oldest first: how each is answered after all. */
  readonly unanswered: (() => void)[];
}

/** Addresses of one guest that are kept. */
const MOST_ADDRESSES = 16;

/** See the module's comment. */
export class Guests {
  readonly #stack: Pick<Stack, "neighbors">;
  /** What stands for the guest at a port, where ports are kept apart. */
  readonly #cardOf: (address: string) => string | null;
  readonly #clock: Clock;
  readonly #bandwidth: BandwidthTable;
  /** In the order in which they were last seen. */
  readonly #guests = new Map<string, Guest>();
  #cards = new Map<string, string>();
  #looked = Number.NEGATIVE_INFINITY;
  #looks = 0;

  constructor(
    stack: Pick<Stack, "neighbors">,
    cardOf: (address: string) => string | null,
    clock: Clock,
    bandwidth: BandwidthTable,
  ) {
    this.#stack = stack;
    this.#cardOf = cardOf;
    this.#clock = clock;
    this.#bandwidth = bandwidth;
  }

  /** The guest that has an address. */
  of(address: string): Guest {
    const key = this.keyOf(address);
    const known = this.#guests.get(key);
    const guest = known ?? this.#create(key);
    this.#guests.delete(key);
    this.#guests.set(key, guest);
    if (!guest.addresses.has(address) && guest.addresses.size < MOST_ADDRESSES) {
      guest.addresses.add(address);
      this.#limit(guest);
    }
    return guest;
  }

  /** What a guest is known by. */
  keyOf(address: string): string {
    const card = this.#cardOf(address);
    if (card !== null) return card;
    const now = this.#clock.now();
    const isOld = now - this.#looked > KNOWN_FOR;
    if (isOld || (!this.#cards.has(address) && this.#looks < MOST_LOOKS)) {
      if (isOld) {
        this.#looked = now;
        this.#looks = 0;
      }
      this.#looks += 1;
      this.#cards = new Map(
        this.#stack.neighbors().flatMap(({ address, mac }) => (mac ? [[address, mac]] : [])),
      );
    }
    return this.#cards.get(address) ?? address;
  }

  /** The table of bandwidths has changed. */
  limitAgain(): void {
    for (const guest of this.#guests.values()) {
      for (const way of ["up", "down"] as const) {
        const old = guest.buckets[way];
        guest.buckets[way] = null;
        old?.end();
      }
      this.#limit(guest);
    }
  }

  #create(key: string): Guest {
    for (const [other, { flows }] of this.#guests) {
      if (this.#guests.size < MOST_GUESTS) break;
      if (flows === 0) this.#guests.delete(other);
    }
    return {
      key,
      flows: 0,
      buckets: { up: null, down: null },
      addresses: new Set(),
      unanswered: [],
    };
  }

  /** Gives a guest the buckets that it has not yet. */
  #limit({ key, buckets, addresses }: Guest): void {
    const rates = this.#bandwidth.of([key, ...addresses]);
    for (const way of ["up", "down"] as const) {
      const rate = rates[way];
      if (rate !== null) buckets[way] ??= new TokenBucket(this.#clock, rate);
    }
  }
}
