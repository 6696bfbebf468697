/** What can be made to go wrong in a world. */

import * as check from "../arguments.js";
import type { DurationLike } from "../types.js";
import { FaultImpl } from "./fault.js";
import type { HostImpl } from "./host.js";
import type { DnsVerdict } from "./name_server.js";
import { isDiscovery, type PacketView, partiesOf } from "./packet.js";
import { resetsFor } from "./reset.js";
import type { Fault, Faults, Host, HostLike, Where } from "./types.js";
import type { Gate, Passing } from "./wire.js";
import { NO_SKEW } from "./world_clock.js";

/** What faults need of their world. */
export interface FaultyWorld {
  readonly gates: Set<Gate>;
  hostOf(argument: string, value: HostLike): HostImpl;
  /** The host that has an IP or MAC address, or null. */
  owner(address: string): HostImpl | null;
  /** The host of this name, or null: a switch may have it. */
  find(name: string): HostImpl | null;
}

/** A fault of the name server. */
interface DnsFault {
  readonly name: string | null;
  readonly host: Host | null;
  readonly verdict: DnsVerdict;
  readonly fault: FaultImpl;
}

/** Which hosts and port are meant; null for any. */
interface Meant {
  readonly from: HostImpl | null;
  readonly to: HostImpl | null;
  readonly port: number | null;
}

const WRONG = new Set(["no such name", "server failure", "no answer"]);

/** See {@link Faults}. */
export class FaultsOfWorld implements Faults {
  readonly #world: FaultyWorld;
  readonly #active = new Set<FaultImpl>();
  readonly #dns = new Set<DnsFault>();
  readonly #partitions = new Set<FaultImpl>();

  constructor(world: FaultyWorld) {
    this.#world = world;
  }

  #begin(undo: () => void): FaultImpl {
    const fault = new FaultImpl(() => {
      this.#active.delete(fault);
      undo();
    });
    this.#active.add(fault);
    return fault;
  }

  #gate(passes: (passing: Passing, fault: FaultImpl) => boolean): FaultImpl {
    const gate: Gate = (passing) => passes(passing, fault);
    const fault = this.#begin(() => this.#world.gates.delete(gate));
    this.#world.gates.add(gate);
    return fault;
  }

  resetAfter(bytes: number, where?: Where): Fault {
    const most = check.integer("bytes", bytes, 0, Number.MAX_SAFE_INTEGER);
    const meant = this.#meant(where);
    /** Bytes that have passed in each connection so far; null for one that was reset. */
    const passed = new Map<string, number | null>();
    return this.#gate(({ packet, from, to }, fault) => {
      const { tcp } = packet;
      if (tcp === null || !this.#isMeant(packet, meant, false)) return true;
      // Counted once, where the segment is still on its sender's own link.
      if (this.#world.find(packet.from) !== this.#parties(packet).source) return true;
      const key = connectionOf(packet);
      if (tcp.flags.syn && !tcp.flags.ack) passed.delete(key);
      const before = passed.get(key);
      if (before === null) return true;
      const now = (before ?? 0) + tcp.payload.byteLength;
      if (tcp.payload.byteLength === 0 || now < most) {
        passed.set(key, now);
        return true;
      }
      passed.set(key, null);
      fault.count += 1;
      const { toSender, toReceiver } = resetsFor(packet);
      from.inject(toSender);
      to.inject(toReceiver);
      return false;
    });
  }

  blackhole(where?: Where & { oneWay?: boolean }): Fault {
    const meant = this.#meant(where);
    const oneWay = check.boolean("where.oneWay", where?.oneWay, false);
    return this.#gate(({ packet }, fault) => {
      if (isDiscovery(packet) || !this.#isMeant(packet, meant, oneWay)) return true;
      fault.count += 1;
      return false;
    });
  }

  #meant(where: Where | undefined): Meant {
    const { from, to, port } = check.options("where", where);
    const host = (name: string, value: HostLike | undefined): HostImpl | null =>
      value === undefined ? null : this.#world.hostOf(`where.${name}`, value);
    return {
      from: host("from", from),
      to: host("to", to),
      port: port === undefined ? null : check.port("where.port", port),
    };
  }

  /** The hosts that a packet is from and to: of link-local addresses those whose cards they are. */
  #parties(packet: PacketView): { source: HostImpl | null; destination: HostImpl | null } {
    const parties = partiesOf(packet);
    const owner = (address: string, mac: string): HostImpl | null =>
      this.#world.owner(address) ?? this.#world.owner(mac);
    return {
      source: owner(parties?.source ?? "", packet.sourceMac),
      destination: owner(parties?.destination ?? "", packet.destinationMac),
    };
  }

  #isMeant(packet: PacketView, { from, to, port }: Meant, oneWay: boolean): boolean {
    const transport = packet.tcp ?? packet.udp;
    if (port !== null) {
      if (transport?.sourcePort !== port && transport?.destinationPort !== port) return false;
    }
    if (from === null && to === null) return true;
    const { source, destination } = this.#parties(packet);
    const is = (a: HostImpl | null, b: HostImpl | null): boolean =>
      (from === null || a === from) && (to === null || b === to);
    return is(source, destination) || (!oneWay && is(destination, source));
  }

  // Names.

  slowDns(delay: DurationLike, about?: { name?: string; host?: HostLike }): Fault {
    return this.#dnsFault({ delay: check.duration("delay", delay) }, about);
  }

  wrongDns(
    name: string,
    answer: readonly string[] | "no such name" | "server failure" | "no answer",
    about?: { host?: HostLike },
  ): Fault {
    const wanted = { ...about, name: check.string("name", name) };
    if (typeof answer === "string") {
      if (!WRONG.has(answer)) {
        throw new RangeError(
          `answer must be addresses, "no such name", "server failure" or "no answer", got ${check.show(answer)}`,
        );
      }
      return this.#dnsFault({ answer }, wanted);
    }
    const addresses = check.strings("answer", answer);
    const checked = addresses.map((address, index) => check.address(`answer[${index}]`, address));
    return this.#dnsFault({ answer: checked }, wanted);
  }

  #dnsFault(verdict: DnsVerdict, about: { name?: string; host?: HostLike } | undefined): Fault {
    const { name, host } = check.options("about", about);
    const fault = this.#begin(() => this.#dns.delete(entry));
    const entry: DnsFault = {
      name: name === undefined ? null : check.string("about.name", name).toLowerCase(),
      host: host === undefined ? null : this.#world.hostOf("about.host", host),
      verdict,
      fault,
    };
    this.#dns.add(entry);
    return fault;
  }

  /** What becomes of a question about a name, by a host. */
  judge(name: string, host: Host): DnsVerdict {
    const verdict: DnsVerdict = {};
    for (const entry of this.#dns) {
      if (entry.name !== null && entry.name !== name.toLowerCase()) continue;
      if (entry.host !== null && entry.host !== host) continue;
      entry.fault.count += 1;
      Object.assign(verdict, entry.verdict);
    }
    return verdict;
  }

  // Clocks.

  clockSkew(host: HostLike, skew: { offset?: DurationLike; rate?: number }): Fault {
    const skewed = this.#world.hostOf("host", host);
    const { offset = 0, rate = 1 } = check.options("skew", skew);
    if (!(typeof rate === "number" && rate > 0 && Number.isFinite(rate))) {
      throw new RangeError(`skew.rate must be a positive number, got ${check.show(rate)}`);
    }
    skewed.clock.skew = { offset: signedDuration("skew.offset", offset), rate };
    return this.#begin(() => {
      skewed.clock.skew = NO_SKEW;
    });
  }

  // Partitions.

  partition(groups: readonly (readonly HostLike[])[]): Fault {
    const group = new Map<HostImpl, number>();
    check.array("groups", groups).forEach((members, index) => {
      for (const member of check.array(`groups[${index}]`, members)) {
        const host = this.#world.hostOf(`groups[${index}]`, member);
        if ((group.get(host) ?? index) !== index) {
          throw new RangeError(`groups[${index}]: ${host.name} is in two groups`);
        }
        group.set(host, index);
      }
    });
    const areApart = (a: HostImpl | null, b: HostImpl | null): boolean => {
      const one = a === null ? undefined : group.get(a);
      const other = b === null ? undefined : group.get(b);
      return one !== undefined && other !== undefined && one !== other;
    };
    const fault = this.#gate(({ packet, from, to }, fault) => {
      const { source, destination } = this.#parties(packet);
      const next = this.#world.find(to.at.name);
      const isCut =
        areApart(source, destination) ||
        areApart(this.#world.find(from.at.name), next) ||
        // A broadcast reaches those on its own side only.
        areApart(source, next);
      if (isCut) fault.count += 1;
      return !isCut;
    });
    for (const known of this.#partitions) if (!known.isActive) this.#partitions.delete(known);
    this.#partitions.add(fault);
    return fault;
  }

  healPartitions(): void {
    for (const partition of this.#partitions) partition.heal();
    this.#partitions.clear();
  }

  heal(): void {
    this.healPartitions();
    for (const fault of [...this.#active]) fault.heal();
  }
}

/** A span that may go backwards, as with `"-5m"`. */
function signedDuration(argument: string, value: DurationLike): number {
  const isNegative = typeof value === "string" ? value.startsWith("-") : value < 0;
  if (!isNegative) return check.duration(argument, value);
  return -check.duration(argument, typeof value === "string" ? value.slice(1) : -value);
}

/** A name for a connection that is the same from both sides. */
function connectionOf({ ip, tcp }: PacketView): string {
  const ends = [`${ip?.source} ${tcp?.sourcePort}`, `${ip?.destination} ${tcp?.destinationPort}`];
  return ends.sort().join(" ");
}
