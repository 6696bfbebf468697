/** What a gateway is told, checked and completed. */

import * as check from "../arguments.js";
import type {
  AdvertiseOptions,
  CertificateAuthority,
  DurationLike,
  Engine,
  StackLimits,
  TcpOptions,
} from "../types.js";
import type { Lease } from "./dhcp.js";
import type { Lease6 } from "./dhcp6.js";
import { type EgressOptions, type EgressSettings, egressSettings } from "./egress/options.js";
import type { SavedGuest } from "./guests.js";
import { type HttpLimits, httpLimits } from "./http/limits.js";
import type { SavedAuthority } from "./https.js";
import { type GatewayDhcp6Options, type GatewaySettings6, gatewaySettings6 } from "./options6.js";

/** An address that is kept for one network card. */
export interface StaticLease {
  /** The card's MAC address. */
  mac: string;
  /** The address, in the gateway's network. */
  address: string;
  /** Told to the client, and resolved to the address. */
  hostname?: string;
}

/** The DHCP server of a gateway. */
export interface GatewayDhcpOptions {
  /** First and last address to lease. By default from the network's 15th address on, or what a small network has. */
  range?: readonly [first: string, last: string];
  /** Addresses that are kept for network cards. */
  leases?: readonly StaticLease[];
  /**
   * Leases of a gateway before this one, as its `leases()` told them, perhaps kept as JSON: their clients keep their addresses. Those
   * that cannot be any more are left out.
   */
  restore?: readonly Lease[];
  /** By default a day; at least a minute. */
  leaseTime?: DurationLike;
}

/** Finds what the gateway's own names do not answer. */
export type DnsResolver = (
  name: string,
  type: string,
) => DnsAnswer | null | undefined | Promise<DnsAnswer | null | undefined>;

/**
 * Addresses for A and AAAA, for other types the data of records as `DnsRecord.data` has it: a name for PTR, CNAME and NS, `"10 mail.test"` for
 * MX, a text for TXT. An empty list: the name exists, but has no such record.
 */
export type DnsAnswer = readonly string[];

/** The DNS server of a gateway. */
export interface GatewayDnsOptions {
  /** Addresses of names. They win over served origins and leases. */
  hosts?: Readonly<Record<string, string | readonly string[]>>;
  /** Asked about other names; null or undefined means that there is no such name, or that `upstream` is to be asked. */
  resolve?: DnsResolver;
  /** Name servers that are asked about what is neither the gateway's nor in its domain, for records of any type; up to four. */
  upstream?: string | readonly string[];
  /** How long answers may be kept. By default a minute. */
  ttl?: DurationLike;
}

/** What `save` of a gateway tells. Times are absolute, so that leases go on to run out. */
export interface GatewayState {
  /** The gateway's MAC address. */
  mac: string;
  /** As `leases()` tells them. */
  leases: readonly Lease[];
  /** As `leases6()` tells them. */
  leases6: readonly Lease6[];
  /** Names that were added, with their addresses. */
  hosts: Readonly<Record<string, readonly string[]>>;
  /** The attached machines' cards, with the addresses that they had. */
  guests?: readonly SavedGuest[];
  /** The authority that guests have come to trust, with its private key; absent without one. */
  authority?: SavedAuthority;
}

/** How a gateway is made. */
export interface GatewayOptions extends EgressOptions {
  /** IPv4 network of /8 to /29. By default `"10.0.2.0/24"`. */
  network?: string;
  /** The gateway's address in it. By default the second, such as 10.0.2.2. */
  address?: string;
  /**
   * IPv6 network of at most 64 bits, such as `"fd00::/64"`. Its hosts make themselves addresses there (with a length of 64), or lease
   * them. By default none. It is never translated.
   */
  network6?: string;
  /** The gateway's address in it. By default `::2` there, such as `fd00::2`. */
  address6?: string;
  /**
   * What router advertisements say in `network6` where that is not the usual: the prefix, the gateway as router and name server, the domain, the
   * MTU. False for none.
   */
  advertise?: AdvertiseOptions | false;
  /** The DHCPv6 server in `network6`. */
  dhcp6?: GatewayDhcp6Options | false;
  /** By default a locally administered one. */
  mac?: string;
  /** IP MTU of the gateway, and announced to its clients. 576 to 65535, by default 1500. */
  mtu?: number;
  /** Domain of the network's names. By default `"lan"`. */
  domain?: string;
  /** The gateway's own name. By default `"gateway"`. */
  hostname?: string;
  /** The DHCP server; false for none. */
  dhcp?: GatewayDhcpOptions | false;
  /** The DNS server. */
  dns?: GatewayDnsOptions;
  /**
   * Whether guests are kept apart: those on the gateway's switch reach the gateway and not each other, by no kind of frame, and none can pose as the
   * gateway, as its servers, or as another guest by its MAC, IPv4 or IPv6 address. By default false.
   */
  isolate?: boolean;
  /**
   * What another gateway's `save` has told, perhaps kept as JSON beside saved machines. Its MAC address, leases and hosts are taken over where other options do not
   * say more: machines that are restored find their router where it was.
   */
  restore?: GatewayState;
  /**
   * Ends guests' TLS, for `serve("https://...")` and for egresses such as `fetchEgress`: an authority of `createAuthority`, or true for a new one. Guests have
   * to trust its certificate, which they find at `http://GATEWAY/ca.pem`: {@link Gateway.trustCommand} is the line for that. By default what `restore` brings, else none.
   */
  authority?: boolean | CertificateAuthority;
  /** Limits of the web server. */
  http?: Partial<HttpLimits>;
  /** As in `createStack`. */
  seed?: number | bigint;
  /** By default the one that all of this realm shares. */
  engine?: Engine;
  /** How much the gateway's stack may hold. */
  limits?: StackLimits;
  /** TCP's settings of the gateway's stack. */
  tcp?: TcpOptions;
}

/** Options with everything decided. */
export interface GatewaySettings {
  /** Machines that were attached to the gateway that was saved. */
  guests: readonly SavedGuest[];
  network: string;
  address: string;
  prefixLength: number;
  /** Null where there is no IPv6. */
  six: GatewaySettings6 | null;
  mtu: number;
  domain: string;
  hostname: string;
  /** Null where no DHCP server is wanted. */
  dhcp: {
    first: string;
    last: string;
    leases: readonly StaticLease[];
    restore: readonly Lease[];
    /** Seconds. */
    leaseTime: number;
  } | null;
  dns: {
    hosts: ReadonlyMap<string, readonly string[]>;
    resolve: DnsResolver | null;
    upstream: readonly string[];
    /** Seconds. */
    ttl: number;
  };
  isolate: boolean;
  http: HttpLimits;
  outside: EgressSettings;
}

const DAY = 24 * 3_600_000;
const MINUTE = 60_000;
const DEFAULT_MTU = 1_500;
const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/i;

/** Options with what `restore` adds to them. @throws {TypeError | RangeError} that names what is wrong with it. */
export function restoring(options: GatewayOptions): GatewayOptions {
  const given = check.options("options", options) as GatewayOptions;
  if (given.restore === undefined) return given;
  const { mac, leases, leases6, hosts } = check.options("options.restore", given.restore);
  const { dhcp, dhcp6, dns } = given;
  return {
    ...given,
    ...(mac === undefined || given.mac !== undefined ? {} : { mac }),
    ...(dhcp === false ? {} : { dhcp: { restore: leases ?? [], ...dhcp } }),
    ...(dhcp6 === false ? {} : { dhcp6: { restore: leases6 ?? [], ...dhcp6 } }),
    dns: { ...dns, hosts: { ...hosts, ...dns?.hosts } },
  };
}

/**
 * Checks and completes options.
 * @throws {TypeError | RangeError} that names the option and shows its value.
 */
export function gatewaySettings(options: GatewayOptions | undefined): GatewaySettings {
  const given = check.options("options", options);
  const network = parseNetwork("options.network", given.network ?? "10.0.2.0/24");
  const size = 2 ** (32 - network.length);
  const address =
    given.address === undefined
      ? network.base + 2
      : host("options.address", given.address, network);
  const dns = check.options("options.dns", given.dns);
  const text = (name: "domain" | "hostname", fallback: string) =>
    given[name] === undefined ? fallback : domainName(`options.${name}`, given[name]);
  const mtu = check.integer("options.mtu", given.mtu ?? DEFAULT_MTU, 576, 65_535);
  const domain = text("domain", "lan");
  return {
    network: `${formatIpv4(network.base)}/${network.length}`,
    address: formatIpv4(address),
    prefixLength: network.length,
    six: gatewaySettings6(given, mtu, domain),
    mtu,
    domain,
    hostname: text("hostname", "gateway"),
    dhcp: given.dhcp === false ? null : dhcpSettings(given.dhcp, network, size, address),
    dns: {
      hosts: hosts(dns.hosts),
      resolve: check.callback("options.dns.resolve", dns.resolve),
      upstream: upstreamServers(dns.upstream),
      ttl: Math.floor(check.duration("options.dns.ttl", dns.ttl ?? MINUTE) / 1_000),
    },
    isolate: check.boolean("options.isolate", given.isolate, false),
    guests: savedGuests(given.restore?.guests),
    http: httpLimits(check.options("options.http", given.http)),
    outside: egressSettings(given),
  };
}

function upstreamServers(given: GatewayDnsOptions["upstream"]): readonly string[] {
  const servers = typeof given === "string" ? [given] : given;
  return check
    .array<string>("options.dns.upstream", servers)
    .map((server, index) => check.address(`options.dns.upstream[${index}]`, server));
}

function savedGuests(guests: readonly SavedGuest[] | undefined): readonly SavedGuest[] {
  return check.array<SavedGuest>("options.restore.guests", guests).map((guest, index) => {
    const name = `options.restore.guests[${index}]`;
    const { mac, address } = check.options(name, guest);
    return {
      mac: check.macText(check.mac(`${name}.mac`, mac)),
      address: check.address(`${name}.address`, address),
    };
  });
}

/** Leases that were granted, or remembered, by another gateway. */
function restored(leases: readonly Lease[] | undefined): readonly Lease[] {
  const given = check.array("options.dhcp.restore", leases).map((lease, index) => {
    const name = `options.dhcp.restore[${index}]`;
    const { mac, address, client, hostname, expires, state } = check.options(name, lease);
    check.mac(`${name}.mac`, mac);
    check.address(`${name}.address`, address);
    check.string(`${name}.client`, client);
    check.string(`${name}.hostname`, hostname);
    check.string(`${name}.state`, state);
    if (expires !== null && typeof expires !== "number") {
      throw new TypeError(`${name}.expires must be a number or null, got ${check.show(expires)}`);
    }
    return lease;
  });
  return given.filter(({ state }) => state === "bound" || state === "expired");
}

interface Network {
  base: number;
  length: number;
}

function dhcpSettings(
  options: GatewayDhcpOptions | undefined,
  network: Network,
  size: number,
  address: number,
): GatewaySettings["dhcp"] {
  const given = check.options("options.dhcp", options);
  const last = network.base + size - 2;
  let range: [number, number] = [network.base + (size > 32 ? 15 : 1), last];
  if (range[0] === address && address < last) range[0] += 1;
  if (given.range !== undefined) {
    if (!Array.isArray(given.range) || given.range.length !== 2) {
      throw new TypeError(
        `options.dhcp.range must be two addresses, got ${check.show(given.range)}`,
      );
    }
    const [from, to] = given.range as [string, string];
    range = [
      host("options.dhcp.range[0]", from, network),
      host("options.dhcp.range[1]", to, network),
    ];
    if (range[0] > range[1])
      throw new RangeError(`options.dhcp.range ends before it begins: ${from}, ${to}`);
  }
  const leaseTime = check.duration("options.dhcp.leaseTime", given.leaseTime ?? DAY);
  if (leaseTime < MINUTE) {
    throw new RangeError(
      `options.dhcp.leaseTime must be a minute or more, got ${check.show(given.leaseTime)}`,
    );
  }
  const leases = check.array("options.dhcp.leases", given.leases).map((lease, index) => {
    const name = `options.dhcp.leases[${index}]`;
    if (typeof lease !== "object" || lease === null) {
      throw new TypeError(`${name} must be an object, got ${check.show(lease)}`);
    }
    check.mac(`${name}.mac`, lease.mac);
    host(`${name}.address`, lease.address, network);
    if (lease.hostname !== undefined) domainName(`${name}.hostname`, lease.hostname);
    return lease;
  });
  return {
    first: formatIpv4(range[0]),
    last: formatIpv4(range[1]),
    leases,
    restore: restored(given.restore),
    leaseTime: Math.floor(leaseTime / 1_000),
  };
}

function hosts(given: GatewayDnsOptions["hosts"]): ReadonlyMap<string, readonly string[]> {
  const table = new Map<string, readonly string[]>();
  for (const [name, value] of Object.entries(check.options("options.dns.hosts", given))) {
    const argument = `options.dns.hosts[${JSON.stringify(name)}]`;
    const list = typeof value === "string" ? [value] : check.array<string>(argument, value);
    const addresses = list.map((address) => check.address(argument, address));
    table.set(domainName("a name in options.dns.hosts", name), addresses);
  }
  return table;
}

/** A host name, in lower case. */
export function domainName(argument: string, value: unknown): string {
  const text = check.string(argument, value);
  if (!NAME.test(text)) {
    throw new RangeError(
      `${argument} must be a host name like "shop.test", got ${check.show(value)}`,
    );
  }
  return text.toLowerCase();
}

function parseNetwork(argument: string, value: unknown): Network {
  const text = check.string(argument, value);
  const [address = "", bits = ""] = text.split("/");
  const base = parseIpv4(address);
  const length = /^\d{1,2}$/.test(bits) ? Number(bits) : -1;
  if (base === null || length < 8 || length > 29) {
    throw new RangeError(
      `${argument} must be an IPv4 network of /8 to /29 like "10.0.2.0/24", got ${check.show(value)}`,
    );
  }
  const size = 2 ** (32 - length);
  return { base: Math.floor(base / size) * size, length };
}

function host(argument: string, value: unknown, network: Network): number {
  const number = parseIpv4(check.string(argument, value));
  const first = network.base + 1;
  const last = network.base + 2 ** (32 - network.length) - 2;
  if (number === null || number < first || number > last) {
    const range = `${formatIpv4(first)} to ${formatIpv4(last)}`;
    throw new RangeError(`${argument} must be an address from ${range}, got ${check.show(value)}`);
  }
  return number;
}

function parseIpv4(text: string): number | null {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return null;
  const octets = text.split(".").map(Number);
  if (octets.some((octet) => octet > 255)) return null;
  return octets.reduce((number, octet) => number * 256 + octet, 0);
}

function formatIpv4(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}
