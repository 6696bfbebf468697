/** Which hosts guests may reach through this computer. */

import { networkInterfaces } from "node:os";
import * as check from "../../arguments.js";
import { monotonic } from "../../clock.js";
import { embeddedIpv4, HostSet, isPublic } from "../../gateway/egress/prefixes.js";
import { portRanges } from "../../gateway/egress/rules.js";
import { ipText, parseIp } from "../../ip.js";

/** Hosts: all that is given must fit. */
export interface HostPattern {
  /** Names such as `"*.example.com"`, addresses and networks such as `"192.168.1.0/24"`. One of them must fit; by default all do. */
  host?: string | readonly string[];
  /** Ports such as `443` or `"8000-8999"`. One of them must fit; by default all do. */
  port?: number | string | readonly (number | string)[];
  /** By default both. */
  protocol?: "tcp" | "udp";
}

/** Whom a guest wants to reach. */
export interface Wanted {
  protocol: "tcp" | "udp";
  /** The name that it has looked up, or an address. */
  hostname: string;
  port: number;
}

interface Pattern {
  readonly hosts: HostSet | null;
  readonly ports: readonly (readonly [first: number, last: number])[] | null;
  readonly protocol: string | null;
}

/** How long this computer's own addresses are taken to be known, in milliseconds. */
const OWN_FOR = 5_000;

/** See the module's comment. */
export class Policy {
  readonly #allow: readonly Pattern[] | null;
  readonly #deny: readonly Pattern[];
  readonly #hosts: ReadonlyMap<string, readonly string[]>;
  #own: ReadonlySet<string> = new Set();
  #looked = Number.NEGATIVE_INFINITY;

  /** `hosts` are names whose addresses the user has said. @throws {TypeError | RangeError} that names what is wrong. */
  constructor(
    hosts: ReadonlyMap<string, readonly string[]>,
    allow: readonly (string | HostPattern)[] | undefined,
    deny: readonly (string | HostPattern)[] | undefined,
  ) {
    this.#hosts = hosts;
    this.#allow = allow === undefined ? null : patternsOf("options.allow", allow);
    this.#deny = patternsOf("options.deny", deny);
  }

  /**
   * Whether a guest may reach an address, which is what is dialled, whatever a name's owner says it is. What is not an address of the public Internet, or is
   * this computer's own, must be allowed as an address or network: a name's owner could let it mean any. The names whose addresses the user has said
   * can also be allowed as names, without globs.
   */
  permits(wanted: Wanted, address: string): boolean {
    const numbers = parseIp(address);
    // Nor is one with a zone (RFC 4007 §11): it would lead to a link of this computer.
    if (numbers === null) return false;
    const all = [numbers, ...embeddedIpv4(numbers)];
    const byName = ({ hosts }: Pattern): boolean =>
      hosts === null || hosts.hasName(wanted.hostname);
    const byAddress = ({ hosts }: Pattern): boolean => hosts?.hasAddress(numbers) ?? false;
    const allowed = (this.#allow ?? []).filter((pattern) => isFor(pattern, wanted));
    const isDenied = (pattern: Pattern): boolean =>
      isFor(pattern, wanted) &&
      (byName(pattern) || all.some((one) => pattern.hosts?.hasAddress(one)));
    if (this.#deny.some(isDenied)) return false;
    if (allowed.some(byAddress)) return true;
    // A mapped address and its IPv4 address are the same to the system.
    if (isPublic(numbers) && !all.some((one) => this.#isOwn(ipText(one)))) {
      return this.#allow === null || allowed.some(byName);
    }
    if (!this.#hosts.get(wanted.hostname)?.includes(address)) return false;
    return allowed.some(({ hosts }) => hosts?.hasWholeName(wanted.hostname));
  }

  /** Whether an address is one of this computer's interfaces. */
  #isOwn(address: string): boolean {
    const now = monotonic();
    if (now - this.#looked > OWN_FOR) {
      this.#looked = now;
      const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
      this.#own = new Set(all.map(({ address }) => address));
    }
    return this.#own.has(address);
  }
}

function isFor({ ports, protocol }: Pattern, wanted: Wanted): boolean {
  if (protocol !== null && protocol !== wanted.protocol) return false;
  const { port } = wanted;
  return ports === null || ports.some(([first, last]) => port >= first && port <= last);
}

function patternsOf(
  argument: string,
  given: readonly (string | HostPattern)[] | undefined,
): Pattern[] {
  return check.array(argument, given).map((item, index) => {
    const name = `${argument}[${index}]`;
    const { host, port, protocol } =
      typeof item === "string" ? { host: item } : check.options<HostPattern>(name, item);
    if (protocol !== undefined) check.oneOf(`${name}.protocol`, ["tcp", "udp"], protocol);
    return {
      hosts: host === undefined ? null : new HostSet(name, host),
      ports: port === undefined ? null : portRanges(`${name}.port`, port),
      protocol: protocol ?? null,
    };
  });
}
