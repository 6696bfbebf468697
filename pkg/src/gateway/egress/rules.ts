/** Which egress a flow goes out by. */

import * as check from "../../arguments.js";
import { parseIp } from "../../ip.js";
import { leadsNowhere, noEgress } from "./no_egress.js";
import { embeddedIpv4, HostSet } from "./prefixes.js";
import type { Egress, EgressRule } from "./types.js";

/** What rules look at. */
export interface Destination {
  protocol: "tcp" | "udp";
  /** The name that was looked up, or the address. */
  hostname: string;
  /** The address, unless it only stands for the name. */
  address: string | null;
  port: number;
}

type Range = readonly [first: number, last: number];

interface Rule {
  readonly hosts: HostSet | null;
  readonly ports: readonly Range[] | null;
  readonly protocol: string | null;
  readonly egress: Egress;
}

/** See the module's comment. */
export class Rules {
  /** The egresses of all rules, each once. */
  readonly egresses: readonly Egress[];
  readonly #rules: readonly Rule[];
  readonly #fallback: Egress;

  /** @throws {TypeError | RangeError} that names what is wrong with which rule. */
  constructor(given: Egress | readonly EgressRule[] | undefined) {
    this.#fallback = noEgress();
    if (given === undefined) this.#rules = [];
    else if (Array.isArray(given)) this.#rules = given.map(ruleOf);
    else this.#rules = [{ hosts: null, ports: null, protocol: null, egress: egressOf(given) }];
    this.egresses = [...new Set(this.#rules.map(({ egress }) => egress))];
  }

  /** The egress of the first rule that fits; if there is none, one that leads nowhere. */
  find(destination: Destination): Egress {
    return this.#rules.find((rule) => fits(rule, destination))?.egress ?? this.#fallback;
  }

  /**
   * The egresses that may be asked about a name, in their order; null if one of those that may carry its flows cannot look names up, so that an address has to
   * stand for the name. Whom a question is for is not known before a flow comes: each rule counts that the name may come to fit, up to the first that
   * takes all its flows.
   */
  resolversOf(name: string): readonly Egress[] | null {
    const found: Egress[] = [];
    for (const { hosts, ports, protocol, egress } of this.#rules) {
      if (hosts !== null && !hosts.hasName(name)) continue;
      found.push(egress);
      if (ports === null && protocol === null) break;
    }
    const carries = ({ tcp, udp }: Egress): boolean => tcp !== undefined || udp !== undefined;
    if (found.some((egress) => carries(egress) && egress.resolve === undefined)) return null;
    return found.filter(({ resolve }) => resolve !== undefined);
  }
}

/**
 * What leads nowhere does so in each form in which an address of IPv6 may be translated to one of IPv4; what leads anywhere does so only as it is, since others may have an
 * address of IPv6 in which one of IPv4 stands.
 */
function fits(rule: Rule, { protocol, hostname, address, port }: Destination): boolean {
  if (rule.protocol !== null && rule.protocol !== protocol) return false;
  if (rule.ports !== null && !rule.ports.some(([from, to]) => port >= from && port <= to)) {
    return false;
  }
  const { hosts } = rule;
  if (hosts === null || hosts.hasName(hostname)) return true;
  const numbers = address === null ? null : parseIp(address);
  if (numbers === null) return false;
  const forms = leadsNowhere(rule.egress) ? embeddedIpv4(numbers) : [];
  return [numbers, ...forms].some((form) => hosts.hasAddress(form));
}

function ruleOf(rule: EgressRule, index: number): Rule {
  const name = `options.egress[${index}]`;
  const { host, port, protocol, egress } = check.options<EgressRule>(name, rule);
  if (protocol !== undefined) check.oneOf(`${name}.protocol`, ["tcp", "udp"], protocol);
  return {
    hosts: host === undefined ? null : new HostSet(`${name}.host`, host),
    ports: port === undefined ? null : portRanges(`${name}.port`, port),
    protocol: protocol ?? null,
    egress: egressOf(egress, `${name}.egress`),
  };
}

/** Checks what is to be an egress. */
function egressOf(value: unknown, argument = "options.egress"): Egress {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(
      `${argument} must be an egress such as noEgress(), got ${check.show(value)}`,
    );
  }
  const given = value as Record<string, unknown>;
  for (const name of ["tcp", "udp", "resolve", "counters", "close"]) {
    check.callback(`${argument}.${name}`, given[name]);
  }
  return value as Egress;
}

/**
 * Ports and ranges of ports.
 * @throws {TypeError | RangeError} that names `argument`.
 */
export function portRanges(
  argument: string,
  given: number | string | readonly (number | string)[],
): Range[] {
  const list = typeof given === "number" || typeof given === "string" ? [given] : given;
  return check.array<number | string>(argument, list).map((item) => {
    if (typeof item !== "string") {
      const port = check.port(argument, item);
      return [port, port];
    }
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(item) ?? [];
    const range = [Number(first), Number(last)] as const;
    if (!(range[0] >= 1 && range[0] <= range[1] && range[1] <= 65_535)) {
      throw new RangeError(
        `${argument} must be a port or a range like "8000-8999", got ${check.show(item)}`,
      );
    }
    return range;
  });
}
