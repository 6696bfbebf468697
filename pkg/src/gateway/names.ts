/** What the network's names stand for: hosts that the gateway's user names, the gateway itself, virtual machines, and DHCP clients. */

import * as check from "../arguments.js";
import { domainName } from "./options.js";

/** A label that a client may call itself. */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

/** The table that questions are answered from: the DNS server. */
export interface NameTable {
  add(name: string, address: string): void;
  remove(name: string): void;
}

/** Whose word counts more where two want one name. */
const RANKS = ["guest", "lease"] as const;

/** A host that has a label in the gateway's domain. */
interface Holder {
  rank: (typeof RANKS)[number];
  label: string;
  addresses: readonly string[];
}

/**
 * Names and who has them. The user's names come first, then those of services at addresses of their own, then the gateway's, then names of attached machines, then what clients call
 * themselves; of two alike the older one. What loses a name gets it when the other has gone.
 */
export class Names {
  readonly #table: NameTable;
  readonly #domain: string;
  /** The gateway's addresses. */
  readonly #own: readonly string[];
  readonly #hosts = new Map<string, readonly string[]>();
  /** Names of services that have addresses of their own. */
  readonly #services = new Map<string, string>();
  /** The gateway's own names, and how often each was asked for. */
  readonly #ownNames = new Map<string, number>();
  readonly #holders = new Map<unknown, Holder>();
  readonly #byLabel = new Map<string, Holder[]>();

  constructor(
    table: NameTable,
    domain: string,
    own: readonly string[],
    hosts: ReadonlyMap<string, readonly string[]>,
  ) {
    this.#table = table;
    this.#domain = domain.toLowerCase();
    this.#own = own;
    for (const [name, addresses] of hosts) this.#setHost(name, addresses);
  }

  /** Gives a name its addresses, in place of those that it had. */
  addHost(name: unknown, addresses: unknown): void {
    const checked = domainName("name", name);
    const list = typeof addresses === "string" ? [addresses] : addresses;
    const given = check
      .array<string>("addresses", list as readonly string[])
      .map((address) => check.address("addresses", address));
    if (given.length === 0) throw new RangeError("addresses must not be empty: use removeHost");
    this.#setHost(checked, given);
  }

  /** False if the user has not given that name. */
  removeHost(name: unknown): boolean {
    const checked = domainName("name", name);
    const existed = this.#hosts.delete(checked);
    if (existed) this.#refresh(checked);
    return existed;
  }

  /** The user's names. */
  hosts(): Record<string, string[]> {
    return Object.fromEntries([...this.#hosts].map(([name, list]) => [name, [...list]]));
  }

  /** A name of a service at an address of its own. */
  addService(name: string, address: string): void {
    this.#services.set(name, address);
    this.#refresh(name);
  }

  removeService(name: string): void {
    this.#services.delete(name);
    this.#refresh(name);
  }

  /** A name of the gateway itself, until it was taken back as often. */
  addOwn(name: string): void {
    const key = name.toLowerCase();
    this.#ownNames.set(key, (this.#ownNames.get(key) ?? 0) + 1);
    this.#refresh(key);
  }

  removeOwn(name: string): void {
    const key = name.toLowerCase();
    const left = (this.#ownNames.get(key) ?? 0) - 1;
    if (left > 0) this.#ownNames.set(key, left);
    else this.#ownNames.delete(key);
    this.#refresh(key);
  }

  /**
   * The label that a host has, in the gateway's domain and alone, and its addresses; with none of either, the host has no name any more.
   * What is no label is ignored. `holder` tells hosts apart.
   */
  set(holder: unknown, rank: Holder["rank"], label: string, addresses: readonly string[]): void {
    const key = label.toLowerCase();
    const before = this.#holders.get(holder);
    const isNamed = LABEL.test(label) && addresses.length > 0;
    if (before?.label === key && isNamed) {
      before.addresses = addresses;
    } else {
      if (before !== undefined) this.#drop(holder, before);
      if (!isNamed) return;
      const added: Holder = { rank, label: key, addresses };
      this.#holders.set(holder, added);
      const alike = this.#byLabel.get(key);
      if (alike === undefined) this.#byLabel.set(key, [added]);
      else alike.push(added);
    }
    this.#refreshLabel(key);
  }

  #drop(key: unknown, holder: Holder): void {
    this.#holders.delete(key);
    const others = (this.#byLabel.get(holder.label) ?? []).filter((other) => other !== holder);
    if (others.length > 0) this.#byLabel.set(holder.label, others);
    else this.#byLabel.delete(holder.label);
    this.#refreshLabel(holder.label);
  }

  #setHost(name: string, addresses: readonly string[]): void {
    this.#hosts.set(name, addresses);
    this.#refresh(name);
  }

  #refreshLabel(label: string): void {
    // The first name of an address is what it is called in return.
    this.#refresh(`${label}.${this.#domain}`);
    this.#refresh(label);
  }

  #refresh(name: string): void {
    this.#table.remove(name);
    for (const address of this.#addressesOf(name)) this.#table.add(name, address);
  }

  #addressesOf(name: string): readonly string[] {
    const given = this.#hosts.get(name);
    if (given !== undefined) return given;
    const service = this.#services.get(name);
    if (service !== undefined) return [service];
    if (this.#ownNames.has(name)) return this.#own;
    const suffix = `.${this.#domain}`;
    const label = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
    const holders = this.#byLabel.get(label) ?? [];
    for (const rank of RANKS) {
      const first = holders.find((holder) => holder.rank === rank);
      if (first !== undefined) return first.addresses;
    }
    return [];
  }
}
