/**
 * Who has which address among the isolated ports of a switch.
 *
 * What stacks at the other ports have is theirs. A leased address belongs to the card that leased it, any other to the port that
 * has used it first, until that is unplugged. So no guest gets what is for another by saying that it has its address, and none
 * is more than one to whom counts guests by their addresses. Frames to isolated ports are not looked at.
 */

import * as check from "./arguments.js";
import { type IpNumbers, parseIp } from "./ip.js";
import { type Claims, objectionTo, u32 } from "./source_claims.js";

/** Addresses of all kinds that a port has at a time. */
const MOST_OF_A_PORT = 64;
/** How long a port must not have used an address before another of its own takes the place, in milliseconds. */
const IDLE = 300_000;

/** A MAC address as its number, an IPv4 address as its number above those, anything else as a text. */
export type Key = number | string;
const IPV4_KEYS = 2 ** 48;

/** A router that isolates guests, and knows who has leased what. */
export interface Isolator {
  /** The card that has leased an IPv4 address, by its number; null if none. */
  holder(address: number): number | null;
  /** The card, by its number, that has a lease under this client identifier of DHCP; null if none. */
  clientOf(identifier: string): number | null;
  /** The link-local address from which an IPv6 address was leased; null if it is not. Both as {@link addressKey} has them. */
  holder6(address: Key): Key | null;
}

/** What is known to be at a port. */
export interface Station {
  readonly mac: string | null;
  /** With their prefix lengths. */
  readonly addresses: readonly string[];
}

/** A port that tells it. */
export interface Addressed {
  station(): Station;
}

/** See the module's comment. */
export class SourceGuard {
  /** Frames that were dropped. */
  readonly counters = { spoofed: 0, rogue: 0 };
  /** Changes with each address that comes to be used without a lease. */
  claimed = 0;
  /** Changes when what was allowed may be so no more. */
  revision = 0;
  readonly #now: () => number;
  readonly #owners = new Map<Key, GuardedSource>();
  /** Of ports that are not isolated. */
  #trusted: readonly Addressed[] = [];
  #isolators: readonly Isolator[] = [];
  /** The addresses of the trusted; null when they have to be asked. */
  #taken: Set<Key> | null = null;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** What is at the ports that are not isolated, and their routers, now. */
  trust(trusted: readonly Addressed[], isolators: readonly Isolator[]): void {
    this.#trusted = trusted;
    this.#isolators = isolators;
    this.changed();
  }

  /** Addresses of the trusted, or leases, have changed. */
  changed(): void {
    this.#taken = null;
    this.revision += 1;
  }

  /** Looks at the frames of one port from now on. */
  source(): GuardedSource {
    return new GuardedSource(this, this.#now);
  }

  /** The first card of the guest that has an address, which stands for it whatever others it uses; null if nobody has it. */
  cardOf(address: string): string | null {
    const key = addressKey(address);
    if (key === null) return null;
    const holder = typeof key === "number" ? this.#holder(key - IPV4_KEYS) : null;
    const card = this.#owners.get(holder ?? key)?.card ?? null;
    return card === null ? null : macText(card);
  }

  /** The IPv4 addresses that guests use without a lease, as numbers. */
  *unleased(): Generator<number> {
    for (const key of this.#owners.keys()) {
      if (typeof key === "number" && key >= IPV4_KEYS) yield key - IPV4_KEYS;
    }
  }

  /** Whether a port may have an IPv4 address: whose it is, or nobody's. */
  mayHaveIpv4(source: GuardedSource, card: number, address: number): boolean {
    const key = IPV4_KEYS + address;
    if (this.#isTaken(key)) return false;
    const holder = this.#holder(address);
    return holder === null ? this.#claim(source, key) : holder === card;
  }

  mayHaveIpv6(source: GuardedSource, key: Key): boolean {
    if (this.#isTaken(key)) return false;
    for (const isolator of this.#isolators) {
      const holder = isolator.holder6(key);
      if (holder !== null) return this.#owners.get(holder) === source;
    }
    return this.#claim(source, key);
  }

  mayHaveCard(source: GuardedSource, mac: number): boolean {
    return !this.#isTaken(mac) && this.#claim(source, mac);
  }

  mayHaveClient(source: GuardedSource, card: number, identifier: string): boolean {
    for (const isolator of this.#isolators) {
      const holder = isolator.clientOf(identifier);
      if (holder !== null && holder !== card) return false;
    }
    return this.#claim(source, `client ${identifier}`);
  }

  /** What a port had is nobody's. */
  release(source: GuardedSource): void {
    for (const key of source.used.keys()) this.#owners.delete(key);
    source.used.clear();
  }

  #holder(address: number): number | null {
    for (const isolator of this.#isolators) {
      const holder = isolator.holder(address);
      if (holder !== null) return holder;
    }
    return null;
  }

  #isTaken(key: Key): boolean {
    this.#taken ??= new Set(this.#trusted.flatMap(keysOf));
    return this.#taken.has(key);
  }

  /** Whether a port has an address, or gets it as the first. */
  #claim(source: GuardedSource, key: Key): boolean {
    const owner = this.#owners.get(key);
    if (owner !== undefined && owner !== source) return false;
    const now = this.#now();
    const { used } = source;
    if (owner === undefined) {
      if (used.size >= MOST_OF_A_PORT && !this.#makeRoom(source, now)) return false;
      this.#owners.set(key, source);
      this.claimed += 1;
    }
    // The order is that of the last use.
    used.delete(key);
    used.set(key, now);
    return true;
  }

  #makeRoom({ used }: GuardedSource, now: number): boolean {
    for (const [key, at] of used) {
      if (now - at < IDLE) return false;
      used.delete(key);
      this.#owners.delete(key);
      return true;
    }
    return false;
  }
}

/** The frames of one isolated port. */
export class GuardedSource implements Claims {
  /** What the port has, and when that was last looked up, in that order. */
  readonly used = new Map<Key, number>();
  /** The first card that was used here. */
  card: number | null = null;
  readonly #guard: SourceGuard;
  readonly #now: () => number;
  /** What the last frames had, which need not be looked up again until something has changed, or for a while. */
  #revision = -1;
  #until = Number.NEGATIVE_INFINITY;
  #card = -1;
  #ipv4 = -1;
  readonly #ipv6 = [0, 0, 0, 0];

  constructor(guard: SourceGuard, now: () => number) {
    this.#guard = guard;
    this.#now = now;
  }

  /** Whether a frame may pass; counted if not. */
  passes(frame: Uint8Array): boolean {
    const now = this.#now();
    if (this.#revision !== this.#guard.revision || now >= this.#until) {
      this.#forget();
      this.#revision = this.#guard.revision;
      this.#until = now + IDLE / 2;
    }
    const objection = objectionTo(frame, this);
    if (objection === null) return true;
    this.#guard.counters[objection] += 1;
    return false;
  }

  #forget(): void {
    this.#card = -1;
    this.#ipv4 = -1;
    this.#ipv6.fill(0);
  }

  mac(mac: number): boolean {
    if (mac === this.#card) return true;
    // A lease is a card's.
    this.#forget();
    if (!this.#guard.mayHaveCard(this, mac)) return false;
    this.card ??= mac;
    this.#card = mac;
    return true;
  }

  ipv4(address: number): boolean {
    if (address === this.#ipv4) return true;
    if (!this.#guard.mayHaveIpv4(this, this.#card, address)) return false;
    this.#ipv4 = address;
    return true;
  }

  ipv6(frame: Uint8Array, at: number): boolean {
    const [a, b, c, d] = this.#ipv6;
    const numbers: IpNumbers = [
      u32(frame, at),
      u32(frame, at + 4),
      u32(frame, at + 8),
      u32(frame, at + 12),
    ];
    const isLast = numbers[3] === d && numbers[2] === c && numbers[1] === b && numbers[0] === a;
    if (isLast) return true;
    if (!this.#guard.mayHaveIpv6(this, keyOf(numbers))) return false;
    for (const [index, number] of numbers.entries()) this.#ipv6[index] = number;
    return true;
  }

  client(identifier: string): boolean {
    return this.#guard.mayHaveClient(this, this.#card, identifier);
  }
}

/** What stands for an address. */
function keyOf(numbers: IpNumbers): Key {
  const [a, b, c, d] = numbers;
  return isIpv4(numbers) ? IPV4_KEYS + (d >>> 0) : `${a >>> 0} ${b >>> 0} ${c >>> 0} ${d >>> 0}`;
}

/** What stands for an address in what an {@link Isolator} tells; null if the text is none. */
export function addressKey(address: string): Key | null {
  const numbers = parseIp(address);
  return numbers === null ? null : keyOf(numbers);
}

function isIpv4([a, b, c]: IpNumbers): boolean {
  return a === 0 && b === 0 && c === 0xffff;
}

/** What stands for what is at a port. */
function keysOf(port: Addressed): Key[] {
  const { mac, addresses } = port.station();
  const keys: Key[] = mac === null ? [] : [check.macNumber(check.mac("mac", mac))];
  for (const prefix of addresses) {
    const key = addressKey(prefix.split("/")[0] ?? "");
    if (key !== null) keys.push(key);
  }
  return keys;
}

function macText(mac: number): string {
  const octets = Array.from(
    { length: 6 },
    (_, index) => Math.floor(mac / 256 ** (5 - index)) % 256,
  );
  return check.macText(octets);
}
