/**
 * Which name each address stands for: names that guests looked up, with the addresses that they were told.
 *
 * Where no egress can look names up, an address of 198.18.0.0/15 (RFC 2544, for benchmarks, so that nobody has it) stands for each name. These addresses are
 * given out in turn, so that one which was taken back does not soon stand for another name; no guest can have more than a share of the table, and
 * none that a flow uses is taken back.
 */

import type { Clock } from "../../types.js";

/** 198.18.0.0/15, without its first and last address. */
const FIRST = 0xc612_0001;
const COUNT = 0x1_fffe;

const DAY = 24 * 3_600_000;

/** How many names may be remembered. */
export interface NameLimits {
  total: number;
  perGuest: number;
}

const LIMITS: NameLimits = { total: 16_384, perGuest: 2_048 };
/** Names of real addresses: each guest's own, since one address has many names. */
const REAL_LIMIT = 8_192;

/** A name with the address that stands for it. */
interface StandIn {
  readonly name: string;
  readonly address: string;
  /** Who asked for it first; null for one that stays. */
  guest: string | null;
  /** When it was last asked for, or used. */
  used: number;
  /** Open flows to it. */
  flows: number;
}

/** What an address means. */
export interface Meaning {
  /** The name, or the address itself. */
  hostname: string;
  /** The address, unless it only stands for the name. */
  address: string | null;
}

/** See the module's comment. */
export class NameTable {
  readonly #clock: Pick<Clock, "now">;
  readonly #limits: NameLimits;
  /** In the order of their use. */
  readonly #byName = new Map<string, StandIn>();
  readonly #byAddress = new Map<string, StandIn>();
  readonly #shares = new Map<string, number>();
  /** Names by guest and real address, in the order in which they were looked up. */
  readonly #real = new Map<string, string>();
  #next = 0;

  constructor(clock: Pick<Clock, "now">, limits: NameLimits = LIMITS) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** How many names have an address that stands for them. */
  get size(): number {
    return this.#byName.size;
  }

  /** The address that stands for a name; null if there is no room for another. */
  standIn(name: string, guest: string | null): string | null {
    const known = this.#byName.get(name);
    if (known !== undefined) {
      if (guest === null) this.#giveBack(known);
      this.#use(known);
      return known.address;
    }
    this.#expire();
    if (guest !== null && (this.#shares.get(guest) ?? 0) >= this.#limits.perGuest) {
      if (!this.#takeBack((entry) => entry.guest === guest)) return null;
    } else if (this.#byName.size >= this.#limits.total) {
      if (!this.#takeBack((entry) => entry.guest !== null)) return null;
    }
    const entry: StandIn = {
      name,
      address: this.#freeAddress(),
      guest,
      used: this.#clock.now(),
      flows: 0,
    };
    this.#byName.set(name, entry);
    this.#byAddress.set(entry.address, entry);
    if (guest !== null) this.#shares.set(guest, (this.#shares.get(guest) ?? 0) + 1);
    return entry.address;
  }

  /** The address that stands for a name already. */
  addressOf(name: string): string | null {
    return this.#byName.get(name)?.address ?? null;
  }

  /** The name that an address stands for. */
  nameOf(address: string): string | null {
    return this.#byAddress.get(address)?.name ?? null;
  }

  /** Forgets a name that was given an address for good. */
  forget(name: string): void {
    const entry = this.#byName.get(name);
    if (entry !== undefined) this.#remove(entry);
  }

  /** A guest was told that a name has these addresses. */
  learn(guest: string, name: string, addresses: readonly string[]): void {
    for (const address of addresses) {
      const key = `${guest} ${address}`;
      this.#real.delete(key);
      this.#real.set(key, name);
    }
    for (const key of this.#real.keys()) {
      if (this.#real.size <= REAL_LIMIT) break;
      this.#real.delete(key);
    }
  }

  /** What an address means to a guest; null for one that could only stand for a name, and stands for none. */
  meaningOf(guest: string, address: string): Meaning | null {
    const entry = this.#byAddress.get(address);
    if (entry !== undefined) return { hostname: entry.name, address: null };
    if (isStandIn(address)) return null;
    return { hostname: this.#real.get(`${guest} ${address}`) ?? address, address };
  }

  /** A flow to an address has begun: it is kept until what this returns is called. */
  hold(address: string): () => void {
    const entry = this.#byAddress.get(address);
    if (entry === undefined) return () => {};
    entry.flows += 1;
    this.#use(entry);
    return () => {
      entry.flows -= 1;
      if (this.#byName.get(entry.name) === entry) this.#use(entry);
    };
  }

  #use(entry: StandIn): void {
    entry.used = this.#clock.now();
    this.#byName.delete(entry.name);
    this.#byName.set(entry.name, entry);
  }

  /** Takes back the name that was not used for longest, of those that `may`. */
  #takeBack(may: (entry: StandIn) => boolean): boolean {
    for (const entry of this.#byName.values()) {
      if (entry.flows > 0 || !may(entry)) continue;
      this.#remove(entry);
      return true;
    }
    return false;
  }

  /** Names that nobody asked for in a day. */
  #expire(): void {
    const oldest = this.#clock.now() - DAY;
    for (const entry of this.#byName.values()) {
      if (entry.used > oldest) return;
      if (entry.flows === 0 && entry.guest !== null) this.#remove(entry);
    }
  }

  #remove(entry: StandIn): void {
    this.#byName.delete(entry.name);
    this.#byAddress.delete(entry.address);
    this.#giveBack(entry);
  }

  /** The name counts for no guest any more. */
  #giveBack(entry: StandIn): void {
    const { guest } = entry;
    if (guest === null) return;
    entry.guest = null;
    const share = (this.#shares.get(guest) ?? 1) - 1;
    if (share === 0) this.#shares.delete(guest);
    else this.#shares.set(guest, share);
  }

  /** There are more addresses than names, so that one is free. */
  #freeAddress(): string {
    for (;;) {
      const number = FIRST + this.#next;
      this.#next = (this.#next + 1) % COUNT;
      const address = [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
      if (!this.#byAddress.has(address)) return address;
    }
  }
}

/** Whether an address is of the network whose addresses stand for names. */
export function isStandIn(address: string): boolean {
  return /^198\.1[89]\./.test(address);
}
