/** Networks of both families as sets of addresses, and which addresses are not those of the public Internet. */

import * as check from "../../arguments.js";
import { type IpNumbers, parseIp } from "../../ip.js";

/** IPv4 addresses are mapped (RFC 4291 §2.5.5.2), and so are the lengths of their prefixes. */
const MAPPED_BITS = 96;
const MAPPED = 0xffff;

/** A network: all numbers in 128 bits. */
interface Prefix {
  readonly numbers: IpNumbers;
  readonly bits: number;
}

/** A set of networks. */
export class PrefixSet {
  readonly #prefixes: readonly Prefix[];

  /** @throws {RangeError} that names `argument` if a text is neither an address nor a network such as `"10.0.0.0/8"`. */
  constructor(texts: readonly string[], argument = "network") {
    this.#prefixes = texts.map((text) => prefixOf(text, argument));
  }

  /** Whether one of the networks has the address. */
  has(address: IpNumbers): boolean {
    return this.#prefixes.some((prefix) => contains(prefix, address));
  }
}

function prefixOf(text: string, argument: string): Prefix {
  const isMapped = !text.includes(":");
  const longest = isMapped ? 32 : 128;
  const [address = "", length = String(longest), ...more] = text.split("/");
  const numbers = parseIp(address);
  if (
    numbers === null ||
    !/^\d{1,3}$/.test(length) ||
    Number(length) > longest ||
    more.length > 0
  ) {
    throw new RangeError(
      `${argument} must be an address or a network like "10.0.0.0/8", got ${check.show(text)}`,
    );
  }
  return { numbers, bits: Number(length) + (isMapped ? MAPPED_BITS : 0) };
}

function contains({ numbers, bits }: Prefix, address: IpNumbers): boolean {
  for (let word = 0; word < 4; word += 1) {
    const left = bits - word * 32;
    if (left <= 0) return true;
    const mask = left >= 32 ? 0xffff_ffff : ~(0xffff_ffff >>> left);
    if ((((numbers[word] ?? 0) ^ (address[word] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

function isIpv4([a, b, c]: IpNumbers): boolean {
  return a === 0 && b === 0 && c === MAPPED;
}

/**
 * What the IANA registries of special-purpose addresses have as not globally reachable (RFC 6890 and its updates), with multicast, the broadcast address
 * and what is reserved.
 */
const NOT_PUBLIC = new PrefixSet([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
]);

/** Of IPv6 only 2000::/3 is given out for use in the Internet, without these. */
const GLOBAL_UNICAST = new PrefixSet(["2000::/3"]);
const NOT_PUBLIC6 = new PrefixSet(["2001::/23", "2001:db8::/32", "3fff::/20"]);

/** RFC 4291 §2.5.5.1: IPv4-compatible. */
const COMPATIBLE = new PrefixSet(["::/96"]);
/** RFC 2765 §2.1: IPv4-translated. */
const TRANSLATED = new PrefixSet(["::ffff:0:0:0/96"]);
/** RFC 6052 §2.1: of all translators. */
const NAT64 = new PrefixSet(["64:ff9b::/96"]);
/** RFC 8215: of a network's own translators, with prefixes of any length. */
const LOCAL_NAT64 = new PrefixSet(["64:ff9b:1::/48"]);
/** RFC 3056 §2. */
const SIX_TO_FOUR = new PrefixSet(["2002::/16"]);
/** RFC 4380 §4: the server's address, and the client's with its bits inverted. */
const TEREDO = new PrefixSet(["2001::/32"]);
/** RFC 5214 §6.1: the interface identifier of ISATAP, whose universal/local bit says whether the IPv4 address is unique. */
const ISATAP = 0x5efe;
const UNIVERSAL = 0x0200_0000;

/** The IPv4 addresses to which a packet for an address of IPv6 may be translated, or in a tunnel to which it may be sent; all that it could be. */
export function embeddedIpv4([a, b, c, d]: IpNumbers): IpNumbers[] {
  const address: IpNumbers = [a, b, c, d];
  const found: number[] = [];
  if (COMPATIBLE.has(address) || TRANSLATED.has(address) || NAT64.has(address)) found.push(d);
  if (LOCAL_NAT64.has(address)) {
    // RFC 6052 §2.2: after 48, 56, 64 or 96 bits, of which 64 to 71 are left out.
    found.push((b << 16) | ((c >>> 8) & 0xffff), (b << 24) | (c & 0xff_ffff));
    found.push((c << 8) | (d >>> 24), d);
  }
  if (SIX_TO_FOUR.has(address)) found.push((a << 16) | (b >>> 16));
  if (TEREDO.has(address)) found.push(b, ~d);
  if ((c & ~UNIVERSAL) === ISATAP) found.push(d);
  return found.map((number) => [0, 0, MAPPED, number >>> 0]);
}

/**
 * Whether an address belongs to the public Internet: not private, loopback, link-local, shared (CGNAT), multicast, unique local, reserved or for
 * documentation, neither by itself nor by an IPv4 address that stands in it.
 */
export function isPublic(address: IpNumbers): boolean {
  if (isIpv4(address)) return !NOT_PUBLIC.has(address);
  const isGlobal = GLOBAL_UNICAST.has(address) && !NOT_PUBLIC6.has(address);
  if (!isGlobal && !NAT64.has(address)) return false;
  return embeddedIpv4(address).every((embedded) => !NOT_PUBLIC.has(embedded));
}

/** Addresses to which no host sends packets by a router: unspecified, loopback, link-local, multicast, reserved. */
const NOT_FORWARDED = new PrefixSet([
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/3",
  "::/127",
  "fe80::/10",
  "ff00::/8",
]);

/** Whether hosts send packets for an address to a router. A mapped address they send nowhere, or as the IPv4 address in it. */
export function isForwardable(address: IpNumbers): boolean {
  return !NOT_FORWARDED.has(address);
}

/** Which hosts are meant by a list of names, globs, addresses and networks. */
export class HostSet {
  readonly #names: readonly RegExp[];
  readonly #wholeNames: ReadonlySet<string>;
  readonly #prefixes: PrefixSet;
  /** Whether it has addresses or networks, and names or globs. */
  readonly hasNames: boolean;

  /** @throws {TypeError | RangeError} that names `argument`. */
  constructor(argument: string, given: string | readonly string[]) {
    const texts = typeof given === "string" ? [given] : check.strings(argument, given);
    const isAddress = (text: string): boolean => parseIp(bare(text).split("/")[0] ?? "") !== null;
    this.#prefixes = new PrefixSet(texts.filter(isAddress).map(bare), argument);
    const names = texts.filter((text) => !isAddress(text));
    const plain = names.map((text) => plainName(argument, text));
    this.#names = plain.map(globOf);
    this.#wholeNames = new Set(plain);
    this.hasNames = names.length > 0;
  }

  /** Whether one of the names or globs is this name. */
  hasName(name: string): boolean {
    return this.#names.some((glob) => glob.test(name));
  }

  /** Whether one of the names is this name, spelled out and not by a glob. */
  hasWholeName(name: string): boolean {
    return this.#wholeNames.has(name);
  }

  /** Whether one of the networks has this address. */
  hasAddress(address: IpNumbers): boolean {
    return this.#prefixes.has(address);
  }
}

/** An address without the brackets that URLs put around IPv6. */
function bare(text: string): string {
  return text.replace(/^\[(.*)\]/, "$1");
}

const GLOB = /^[a-z0-9_*.-]{1,253}$/;
const BEYOND_ASCII = /[^\0-\x7f]/;

/**
 * A name or glob as names are asked for: in small letters, without a dot at its end, and each label in ASCII (RFC 5890 §2.3.2.1).
 * @throws {RangeError} that names `argument`.
 */
export function plainName(argument: string, text: string): string {
  const labels = text.split(/[.\u3002]/).map((label) => {
    if (!BEYOND_ASCII.test(label)) return label.toLowerCase();
    // The A-label tells nothing of parts of the name, so that no glob can.
    const url = `http://${label}.invalid`;
    if (label.includes("*") || !URL.canParse(url)) return "";
    return new URL(url).hostname.replace(/\.invalid$/, "");
  });
  const plain = labels.join(".").replace(/\.$/, "");
  if (!GLOB.test(plain) || plain.split(".").includes("")) {
    throw new RangeError(
      `${argument} must be a name like "*.example.com", an address or a network, got ${check.show(text)}`,
    );
  }
  return plain;
}

/** A pattern in which `*` stands for anything. */
function globOf(name: string): RegExp {
  const pattern = name.replace(/\*+/g, "*").replace(/[.-]/g, "\\$&").replaceAll("*", ".*");
  return new RegExp(`^${pattern}$`);
}
