/** Whose the leased addresses are, for the switch that keeps guests from each other's. */

import * as check from "../arguments.js";
import { parseIp } from "../ip.js";
import { addressKey, type Isolator, type Key } from "../source_guard.js";
import type { Lease } from "./dhcp.js";
import type { Lease6 } from "./dhcp6.js";

/** Whose an address is, and until when, in milliseconds since 1970. */
interface Held<Holder> {
  readonly holder: Holder;
  readonly expires: number;
}

/** See the module's comment. */
export class Holders implements Isolator {
  readonly #date: () => number;
  readonly #changed: () => void;
  readonly #leases: () => Lease[];
  readonly #cards = new Map<number, Held<number>>();
  readonly #clients6 = new Map<Key, Held<Key>>();

  /** Tells by `changed` when an address has got another holder. */
  constructor(date: () => number, changed: () => void, leases: () => Lease[]) {
    this.#date = date;
    this.#changed = changed;
    this.#leases = leases;
  }

  /** An IPv4 lease was granted, or is over. */
  changed(lease: Lease, isHeld: boolean): void {
    if (isHeld) this.#hold(lease);
    else this.#cards.delete(numberOf(lease.address));
    this.#changed();
  }

  #hold({ address, mac, expires, reserved }: Lease): void {
    this.#cards.set(numberOf(address), {
      holder: cardOf(mac),
      expires: endOf(reserved ? null : expires),
    });
  }

  /** An IPv6 lease was granted to the client with this link-local address, or extended. */
  held6({ address, expires }: Lease6, client: string): void {
    const [key, holder] = [addressKey(address), addressKey(client)];
    if (key === null || holder === null) return;
    this.#clients6.set(key, { holder, expires: endOf(expires) });
    this.#changed();
  }

  /** An IPv6 lease is over. */
  ended6({ address }: Lease6): void {
    const key = addressKey(address);
    if (key !== null && this.#clients6.delete(key)) this.#changed();
  }

  holder(address: number): number | null {
    const held = this.#cards.get(address);
    if (held === undefined) return null;
    if (this.#date() < held.expires) return held.holder;
    // It has run out, or was extended: neither is told.
    this.#cards.delete(address);
    const text = textOfIpv4(address);
    const lease = this.#leases().find((lease) => lease.address === text && lease.state === "bound");
    if (lease !== undefined) this.#hold(lease);
    return lease === undefined ? null : cardOf(lease.mac);
  }

  clientOf(identifier: string): number | null {
    const lease = this.#leases().find(
      ({ client, state }) => client === identifier && state === "bound",
    );
    return lease === undefined ? null : cardOf(lease.mac);
  }

  holder6(address: Key): Key | null {
    const held = this.#clients6.get(address);
    return held === undefined || this.#date() >= held.expires ? null : held.holder;
  }
}

function endOf(expires: number | null): number {
  return expires ?? Number.POSITIVE_INFINITY;
}

function cardOf(mac: string): number {
  return check.macNumber(check.mac("mac", mac));
}

/** The number of an IPv4 address. */
function numberOf(address: string): number {
  return (parseIp(address)?.[3] ?? 0) >>> 0;
}

/** An IPv4 address by its number. */
export function textOfIpv4(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}
