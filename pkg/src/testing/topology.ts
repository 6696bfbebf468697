/**
 * Who is on which link, with which addresses, and by which routers hosts reach each other. A segment is all that is joined by switches and cables without a
 * router between; it has a network of each family, from which hosts get their addresses.
 */

import { ipNumbers, ipText, prefixNumbers } from "../ip.js";

/** A network that addresses are taken from. */
export interface Network {
  /** The numbers of its address, and the length of its prefix. */
  readonly prefix: readonly number[];
}

/** An interface of a host on a segment. */
export interface Member {
  /** The host. */
  readonly host: Node;
  /** Addresses with prefix length, those of its own choice or those that were assigned. */
  addresses: string[];
}

/** A host, as far as routes are concerned. */
export interface Node {
  readonly isRouter: boolean;
  readonly members: readonly { readonly member: Member; readonly segment: Segment }[];
}

/** See the module's comment. */
export class Segment {
  readonly members: Member[] = [];
  readonly networks: readonly [Network, Network];
  #next = 1;

  constructor(networks: readonly [Network, Network]) {
    this.networks = networks;
  }

  /** The next address of each family. */
  assign(): string[] {
    const number = this.#next;
    this.#next += 1;
    return this.networks.map((network) => addressIn(network, number));
  }

  /** The networks on this link, in which all that is on it is reached without a router. */
  get prefixes(): Set<string> {
    const addresses = this.members.flatMap((member) => member.addresses);
    return new Set(addresses.map(networkOf));
  }
}

/** The next networks that nobody has. */
export class NetworkPlan {
  #segments = 0;

  /** A network for each family: those that are given, or the next free ones. */
  next(given?: string, given6?: string): [Network, Network] {
    const number = this.#segments;
    this.#segments += 1;
    if (number > 0xffff) throw new RangeError("a world has 65536 segments at most");
    return [
      network(given ?? `10.${number >> 8}.${number & 0xff}.0/24`),
      network(given6 ?? `fd00:0:0:${number.toString(16)}::/64`),
    ];
  }
}

function network(text: string): Network {
  return { prefix: prefixNumbers(text) };
}

/** The address with this number in a network, with its prefix length. */
function addressIn({ prefix }: Network, number: number): string {
  const length = prefix[4] ?? 0;
  const [a = 0, b = 0, c = 0, d = 0] = prefix;
  const isIpv4 = a === 0 && b === 0 && c === 0xffff;
  const hostBits = (isIpv4 ? 32 : 128) - length;
  // The last address of an IPv4 network is for all of its hosts.
  if (hostBits < 32 && number >= 2 ** hostBits - (isIpv4 ? 1 : 0)) {
    throw new RangeError(
      `the network ${ipText(prefix)}/${length} has no address left: make the switch with a larger one`,
    );
  }
  return `${ipText([a, b, c, (d + number) >>> 0])}/${length}`;
}

/** The network that an address with prefix length is in. */
export function networkOf(address: string): string {
  const [a = 0, b = 0, c = 0, d = 0, length = 0] = prefixNumbers(address);
  const isIpv4 = a === 0 && b === 0 && c === 0xffff;
  const bits = isIpv4 ? 96 + length : length;
  const words = [a, b, c, d].map((word, index) => {
    const kept = Math.min(32, Math.max(0, bits - 32 * index));
    return kept === 0 ? 0 : (word & (0xffff_ffff << (32 - kept))) >>> 0;
  });
  return `${ipText(words)}/${length}`;
}

/** An address without its prefix length. */
export function bare(address: string): string {
  return address.slice(0, address.indexOf("/"));
}

/** A way to a network that a host is not on. */
export interface Way {
  readonly to: string;
  readonly via: string;
}

/** The routes that a host needs, nearest networks first: by the router that is fewest hops from there. */
export function waysFrom(host: Node): Way[] {
  const ways: Way[] = [];
  const seen = new Set<Segment>(host.members.map(({ segment }) => segment));
  const known = new Set([...seen].flatMap((segment) => [...segment.prefixes]));
  /** Segments to look at, and by which router of the host's own links they are reached. */
  const queue = [...seen].map((segment) => ({ segment, via: null as Member | null }));
  for (const { segment, via } of queue) {
    for (const router of segment.members) {
      if (!router.host.isRouter || router.host === host) continue;
      const first = via ?? router;
      for (const { segment: next } of router.host.members) {
        if (seen.has(next)) continue;
        seen.add(next);
        queue.push({ segment: next, via: first });
        for (const to of next.prefixes) {
          const gateway = first.addresses.find((address) => isSameFamily(address, to));
          if (known.has(to) || gateway === undefined) continue;
          known.add(to);
          ways.push({ to, via: bare(gateway) });
        }
      }
    }
  }
  return ways;
}

function isSameFamily(a: string, b: string): boolean {
  return a.includes(":") === b.includes(":");
}

/** An address in its usual notation. */
export function canonical(address: string): string {
  return ipText(ipNumbers(address));
}
