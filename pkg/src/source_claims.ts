/**
 * What a frame of an isolated guest says of its sender, and what only routers and servers may say.
 *
 * Each address that a frame names as its sender's, in whatever header, is a claim. What is put together here is what switches
 * call port security, DHCP snooping, ARP inspection, IP source guard and RA guard (RFC 6105, RFC 6620, RFC 7113).
 */

/** Says whether the sender may have what it claims; it then has it. */
export interface Claims {
  /** A MAC address, as {@link macAt} reads it. It is asked first for each frame. */
  mac(mac: number): boolean;
  /** An IPv4 address as a number. */
  ipv4(address: number): boolean;
  /** The IPv6 address there. */
  ipv6(frame: Uint8Array, at: number): boolean;
  /** A client identifier of DHCP, in hexadecimal digits. */
  client(identifier: string): boolean;
}

/** Why a frame does not pass: its sender's address is another's, or it says what guests may not. */
export type Objection = "spoofed" | "rogue";

const SENDER = 6;
const TYPE = 12;
const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const VLAN_TAGS = [0x8100, 0x88a8];

/** What is wrong with a frame, which is one by its length; null if nothing. */
export function objectionTo(frame: Uint8Array, claims: Claims): Objection | null {
  const sender = macAt(frame, SENDER);
  if (!claims.mac(sender)) return "spoofed";
  let at = TYPE;
  while (VLAN_TAGS.includes(u16(frame, at))) at += 4;
  const type = u16(frame, at);
  const packet = at + 2;
  if (type === IPV4) return objectionToIpv4(frame, packet, sender, claims);
  if (type === IPV6) return objectionToIpv6(frame, packet, sender, claims);
  return type === ARP ? objectionToArp(frame, packet, sender, claims) : null;
}

const ARP_LENGTH = 28;
const ARP_SENDER_CARD = 8;
const ARP_SENDER_ADDRESS = 14;

function objectionToArp(
  frame: Uint8Array,
  at: number,
  sender: number,
  claims: Claims,
): Objection | null {
  if (frame.length < at + ARP_LENGTH) return null;
  if (macAt(frame, at + ARP_SENDER_CARD) !== sender) return "spoofed";
  const address = u32(frame, at + ARP_SENDER_ADDRESS);
  // RFC 5227 §1.1: a probe asks whether anybody has an address, and claims none.
  if (address === 0) return null;
  return isHost(address) && claims.ipv4(address) ? null : "spoofed";
}

const IPV4_LENGTH = 20;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
const IGMP = 2;
const UDP = 17;
const UDP_LENGTH = 8;
const IGMP_QUERY = 0x11;
const DHCP_SERVER_PORT = 67;
const DHCP_CLIENT_PORT = 68;

function objectionToIpv4(
  frame: Uint8Array,
  at: number,
  sender: number,
  claims: Claims,
): Objection | null {
  if (frame.length < at + IPV4_LENGTH) return null;
  const fragment = u16(frame, at + 6);
  const isFirst = (fragment & FRAGMENT_OFFSET) === 0;
  const protocol = frame[at + 9];
  const body = at + (u8(frame, at) & 15) * 4;
  const port = isFirst && protocol === UDP ? u16(frame, body + 2) : null;
  const source = u32(frame, at + 12);
  if (source === 0) {
    // Who has no address yet asks for one (RFC 2131 §4.1), and may join groups (RFC 4541 §2.1.1).
    if (port !== DHCP_SERVER_PORT && protocol !== IGMP) return "spoofed";
  } else if (!isHost(source) || !claims.ipv4(source)) {
    return "spoofed";
  }
  if (protocol === IGMP && isFirst && frame[body] === IGMP_QUERY) return "rogue";
  if (port === DHCP_CLIENT_PORT) return "rogue";
  if (port !== DHCP_SERVER_PORT) return null;
  // What is in later fragments would not be seen.
  if ((fragment & MORE_FRAGMENTS) !== 0) return "rogue";
  return objectionToDhcp(frame, body + UDP_LENGTH, sender, claims);
}

/** Whether an IPv4 address can be a host's (RFC 1122 §3.2.1.3). */
function isHost(address: number): boolean {
  const high = address >>> 24;
  return high !== 0 && high !== 127 && high < 224;
}

const RELAY_ADDRESS = 24;
const CLIENT_CARD = 28;
const DHCP_OPTIONS = 240;
const PAD = 0;
const END = 255;
const OVERLOAD = 52;
const CLIENT_IDENTIFIER = 61;

/** RFC 2131: whoever asks for a lease asks for himself, and not through a relay. */
function objectionToDhcp(
  frame: Uint8Array,
  at: number,
  sender: number,
  claims: Claims,
): Objection | null {
  if (frame.length < at + DHCP_OPTIONS || u32(frame, at + RELAY_ADDRESS) !== 0) return "rogue";
  if (macAt(frame, at + CLIENT_CARD) !== sender) return "spoofed";
  let identifier: Uint8Array | null = null;
  for (let option = at + DHCP_OPTIONS; option < frame.length; ) {
    const code = frame[option];
    if (code === END) break;
    if (code === PAD) {
      option += 1;
      continue;
    }
    const value = option + 2;
    const end = value + u8(frame, option + 1);
    // An identifier in pieces (RFC 3396) or among overloaded fields (RFC 2132 §9.3) has no use but to be overlooked.
    if (code === OVERLOAD || (code === CLIENT_IDENTIFIER && identifier !== null)) return "rogue";
    if (code === CLIENT_IDENTIFIER) identifier = frame.subarray(value, end);
    option = end;
  }
  // RFC 2132 §9.14: an identifier of type 1 is a MAC address. Others are whose who uses them first.
  if (identifier === null) return null;
  const isCard = identifier[0] === 1 && identifier.length === 7;
  const isOwn = isCard ? macAt(identifier, 1) === sender : claims.client(hexOf(identifier));
  return isOwn ? null : "spoofed";
}

const IPV6_LENGTH = 40;
const IPV6_SOURCE = 8;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const ICMPV6 = 58;
const DESTINATION = 60;
/** More headers than any packet has that means well. */
const MOST_HEADERS = 8;
const DHCPV6_CLIENT_PORT = 546;

function objectionToIpv6(
  frame: Uint8Array,
  at: number,
  sender: number,
  claims: Claims,
): Objection | null {
  if (frame.length < at + IPV6_LENGTH) return null;
  const source = at + IPV6_SOURCE;
  const hasSource = !isUnspecified(frame, source);
  if (hasSource && !(isHost6(frame, source) && claims.ipv6(frame, source))) return "spoofed";
  let next = u8(frame, at + 6);
  let body = at + IPV6_LENGTH;
  let isFragment = false;
  for (let headers = 0; EXTENSIONS.includes(next); headers += 1) {
    // RFC 7112 §5: all headers are in the first fragment.
    if (headers === MOST_HEADERS || body + 8 > frame.length) return "rogue";
    if (next === FRAGMENT) {
      isFragment = true;
      if ((u16(frame, body + 2) & 0xfff8) !== 0) return hasSource ? null : "spoofed";
    }
    const length = u8(frame, body + 1);
    const size =
      next === FRAGMENT ? 8 : next === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
    next = u8(frame, body);
    body += size;
  }
  const isCut = body + 4 > frame.length;
  if (isFragment && isCut) return "rogue";
  if (next === UDP && u16(frame, body + 2) === DHCPV6_CLIENT_PORT) return "rogue";
  if (next !== ICMPV6 || isCut) return hasSource ? null : "spoofed";
  return objectionToIcmpv6(frame, body, sender, claims, hasSource, isFragment);
}

const EXTENSIONS = [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION];

const LISTENER_QUERY = 130;
const LISTENER_REPORT = 131;
const LISTENER_DONE = 132;
const ROUTER_SOLICITATION = 133;
const ROUTER_ADVERTISEMENT = 134;
const NEIGHBOR_SOLICITATION = 135;
const NEIGHBOR_ADVERTISEMENT = 136;
const REDIRECT = 137;
const LISTENER_REPORT_2 = 143;
/** What a host sends before it has an address (RFC 4861 §4.1, RFC 4862 §5.4.2, RFC 3590). */
const WITHOUT_SOURCE = [
  LISTENER_REPORT,
  LISTENER_DONE,
  ROUTER_SOLICITATION,
  NEIGHBOR_SOLICITATION,
  LISTENER_REPORT_2,
];
const OF_ROUTERS = [LISTENER_QUERY, ROUTER_ADVERTISEMENT, REDIRECT];
const TARGET = 8;
const ND_LENGTH = 24;

function objectionToIcmpv6(
  frame: Uint8Array,
  at: number,
  sender: number,
  claims: Claims,
  hasSource: boolean,
  isFragment: boolean,
): Objection | null {
  const type = u8(frame, at);
  if (OF_ROUTERS.includes(type)) return "rogue";
  if (!hasSource && !WITHOUT_SOURCE.includes(type)) return "spoofed";
  if (type < ROUTER_SOLICITATION || type > NEIGHBOR_ADVERTISEMENT) return null;
  // RFC 6980 §5: neighbour discovery is never fragmented.
  if (isFragment) return "rogue";
  if (type === ROUTER_SOLICITATION) return objectionToCards(frame, at + TARGET, sender);
  if (frame.length < at + ND_LENGTH) return null;
  // RFC 4862 §5.4: who asks whether an address is free, without one of his own, wants it.
  const isClaim = type === NEIGHBOR_ADVERTISEMENT || !hasSource;
  if (isClaim && !claims.ipv6(frame, at + TARGET)) return "spoofed";
  return objectionToCards(frame, at + ND_LENGTH, sender);
}

/** The options of neighbour discovery that tell a card's address (RFC 4861 §4.6.1). */
function objectionToCards(frame: Uint8Array, from: number, sender: number): Objection | null {
  for (let at = from; at + 8 <= frame.length; ) {
    const size = u8(frame, at + 1) * 8;
    const isCard = frame[at] === 1 || frame[at] === 2;
    if (isCard && macAt(frame, at + 2) !== sender) return "spoofed";
    if (size === 0) break;
    at += size;
  }
  return null;
}

function isUnspecified(frame: Uint8Array, at: number): boolean {
  for (let index = 0; index < 16; index += 4) if (u32(frame, at + index) !== 0) return false;
  return true;
}

/** Whether an IPv6 address can be a host's: no group's, not the loopback's, and none that stands for IPv4 (RFC 4291 §2.5.3, §2.5.5, §2.7). */
function isHost6(frame: Uint8Array, at: number): boolean {
  if (frame[at] === 0xff) return false;
  return (u32(frame, at) | u32(frame, at + 4)) !== 0;
}

/** A MAC address as a number. */
export function macAt(frame: Uint8Array, at: number): number {
  return u16(frame, at) * 2 ** 32 + u32(frame, at + 2);
}

/** Four bytes as a number. */
export function u32(frame: Uint8Array, at: number): number {
  return u16(frame, at) * 2 ** 16 + u16(frame, at + 2);
}

function u16(frame: Uint8Array, at: number): number {
  return u8(frame, at) * 256 + u8(frame, at + 1);
}

/** What is behind the end is 0. */
function u8(frame: Uint8Array, at: number): number {
  return frame[at] ?? 0;
}

function hexOf(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}
