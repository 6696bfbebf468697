/** What a gateway is told about IPv6, checked and completed. */

import { type Advertisement, advertisementOf } from "../advertising.js";
import * as check from "../arguments.js";
import type { AdvertiseOptions, DurationLike } from "../types.js";
import type { Lease6 } from "./dhcp6.js";

/** The DHCPv6 server of a gateway. */
export interface GatewayDhcp6Options {
  /**
   * First and last address to lease, or null to lease none and only tell name server and domain. By default 65,536 addresses from
   * `::1:0` on in the network.
   */
  range?: readonly [first: string, last: string] | null;
  /** How long an address holds. By default a day; at least a minute. */
  leaseTime?: DurationLike;
  /** Leases of a gateway before this one, as its `leases6()` told them, perhaps kept as JSON. */
  restore?: readonly Lease6[];
}

/** What the options say that are about IPv6. */
export interface Gateway6Options {
  network6?: string;
  address6?: string;
  advertise?: AdvertiseOptions | false;
  dhcp6?: GatewayDhcp6Options | false;
}

/** Options with everything decided. */
export interface GatewaySettings6 {
  /** The network, such as `"fd00::/64"`. */
  prefix: string;
  /** The gateway's address in it. */
  address: string;
  length: number;
  /** Null where nothing is advertised. */
  advertisement: Advertisement | null;
  dhcp: {
    range: readonly [first: string, last: string] | null;
    /** Seconds. */
    preferred: number;
    valid: number;
    restore: readonly Lease6[];
  };
  hasDhcp: boolean;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const SECOND = 1_000;
const LEAST_MTU = 1_280;

/**
 * Checks and completes options; null without a network.
 * @throws {TypeError | RangeError} that names the option and shows its value.
 */
export function gatewaySettings6(
  given: Gateway6Options,
  mtu: number,
  domain: string,
): GatewaySettings6 | null {
  if (given.network6 === undefined) return null;
  if (mtu < LEAST_MTU) {
    throw new RangeError(
      `options.mtu must be ${LEAST_MTU} at least with options.network6, got ${mtu}`,
    );
  }
  const { base, length } = parseNetwork6("options.network6", given.network6);
  const address =
    given.address6 === undefined ? `${base}2` : check.address("options.address6", given.address6);
  const prefix = `${base}/${length}`;
  const dhcp = dhcpSettings6(given.dhcp6, base);
  const hasDhcp = given.dhcp6 !== false;
  const advertisement =
    given.advertise === false
      ? null
      : advertisementOf(
          "options.advertise",
          {
            prefixes: [prefix],
            dnsServers: [address],
            searchDomains: [domain],
            managed: hasDhcp && dhcp.range !== null,
            otherConfig: hasDhcp,
            ...check.options("options.advertise", given.advertise),
          },
          { host: 0, id: 0, mtu, addresses: [] },
        );
  return { prefix, address, length, advertisement, dhcp, hasDhcp };
}

function dhcpSettings6(
  options: GatewayDhcp6Options | false | undefined,
  base: string,
): GatewaySettings6["dhcp"] {
  const given = check.options("options.dhcp6", options === false ? undefined : options);
  const time = check.duration("options.dhcp6.leaseTime", given.leaseTime ?? DAY);
  if (time < MINUTE) {
    throw new RangeError(
      `options.dhcp6.leaseTime must be a minute or more, got ${check.show(given.leaseTime)}`,
    );
  }
  const valid = Math.floor(time / SECOND);
  const range =
    given.range === undefined ? ([`${base}1:0`, `${base}1:ffff`] as const) : given.range;
  if (range !== null) {
    if (!Array.isArray(range) || range.length !== 2) {
      throw new TypeError(`options.dhcp6.range must be two addresses, got ${check.show(range)}`);
    }
    for (const [index, end] of range.entries()) check.address(`options.dhcp6.range[${index}]`, end);
  }
  const restore = check.array("options.dhcp6.restore", given.restore).map((lease, index) => {
    const name = `options.dhcp6.restore[${index}]`;
    const { address, client, iaid, expires } = check.options(name, lease);
    check.address(`${name}.address`, address);
    check.string(`${name}.client`, client);
    check.integer(`${name}.iaid`, iaid, 0, 2 ** 32 - 1);
    if (expires !== null && typeof expires !== "number") {
      throw new TypeError(`${name}.expires must be a number or null, got ${check.show(expires)}`);
    }
    return lease;
  });
  const kept = restore.filter(({ state }) => state !== "declined");
  return { range, preferred: Math.floor(valid / 2), valid, restore: kept };
}

/** The network's first address, and how many bits of it count. */
function parseNetwork6(argument: string, value: unknown): { base: string; length: number } {
  const text = check.string(argument, value);
  const match = /^([0-9a-f:]*::)\/(\d{1,3})$/i.exec(text);
  const length = Number(match?.[2] ?? -1);
  const valid = match !== null && URL.canParse(`http://[${match[1]}]/`);
  if (!valid || length < 8 || length > 64) {
    throw new RangeError(
      `${argument} must be an IPv6 network like "fd00::/64", got ${check.show(value)}`,
    );
  }
  return { base: match[1] ?? "", length };
}
