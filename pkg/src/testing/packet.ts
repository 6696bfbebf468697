/** What is in a frame, as far as tests ask for it: Ethernet, ARP, IP, TCP, UDP and ICMP. Nothing is read before somebody asks. */

import { ipText } from "../ip.js";
import type { Packet, PacketIcmp, PacketTcp, PacketUdp } from "./types.js";

const VLAN = 0x8100;
const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMPV6 = 58;
const FRAGMENT = 44;
/** Hop-by-hop options, routing header, destination options. */
const EXTENSIONS = new Set([0, 43, 60]);

/** An IP header, and where its payload is. */
interface Ip {
  readonly version: 4 | 6;
  readonly source: string;
  readonly destination: string;
  /** Time to live, or hop limit. */
  readonly ttl: number;
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
  /** Not the first fragment of a datagram: there is no transport header. */
  readonly isLater: boolean;
}

/** See {@link Packet}. Bytes that are cut off or make no sense leave null what they would have told. */
export class PacketView implements Packet {
  readonly bytes: Uint8Array;
  readonly time: number;
  readonly from: string;
  readonly to: string;
  readonly #data: DataView;
  #ip: Ip | null | undefined;

  constructor(bytes: Uint8Array, time: number, from: string, to: string) {
    this.bytes = bytes;
    this.time = time;
    this.from = from;
    this.to = to;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #has(length: number): boolean {
    return this.#data.byteLength >= length;
  }

  #mac(at: number): string {
    if (!this.#has(at + 6)) return "";
    const octets = this.bytes.subarray(at, at + 6);
    return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join(":");
  }

  get destinationMac(): string {
    return this.#mac(0);
  }

  get sourceMac(): string {
    return this.#mac(6);
  }

  /** Where the EtherType is, behind a VLAN tag if there is one. */
  get #typeAt(): number {
    return this.#has(18) && this.#data.getUint16(12) === VLAN ? 16 : 12;
  }

  get etherType(): number {
    const at = this.#typeAt;
    return this.#has(at + 2) ? this.#data.getUint16(at) : 0;
  }

  get arp(): { operation: number; sender: string; target: string } | null {
    const at = this.#typeAt + 2;
    if (this.etherType !== ARP || !this.#has(at + 28)) return null;
    const operation = this.#data.getUint16(at + 6);
    return { operation, sender: this.#ipv4(at + 14), target: this.#ipv4(at + 24) };
  }

  #ipv4(at: number): string {
    return this.bytes.subarray(at, at + 4).join(".");
  }

  #ipv6(at: number): string {
    const words = [0, 4, 8, 12].map((word) => this.#data.getUint32(at + word));
    return ipText(words as [number, number, number, number]);
  }

  get ip(): Ip | null {
    if (this.#ip === undefined) this.#ip = this.#parseIp();
    return this.#ip;
  }

  #parseIp(): Ip | null {
    const at = this.#typeAt + 2;
    if (this.etherType === IPV4) return this.#parseIpv4(at);
    return this.etherType === IPV6 ? this.#parseIpv6(at) : null;
  }

  #parseIpv4(at: number): Ip | null {
    if (!this.#has(at + 20)) return null;
    const headerLength = (this.#data.getUint8(at) & 15) * 4;
    const total = this.#data.getUint16(at + 2);
    if (headerLength < 20 || total < headerLength) return null;
    return {
      version: 4,
      source: this.#ipv4(at + 12),
      destination: this.#ipv4(at + 16),
      ttl: this.#data.getUint8(at + 8),
      protocol: this.#data.getUint8(at + 9),
      from: at + headerLength,
      to: Math.min(at + total, this.#data.byteLength),
      isLater: (this.#data.getUint16(at + 6) & 0x1fff) !== 0,
    };
  }

  #parseIpv6(at: number): Ip | null {
    if (!this.#has(at + 40)) return null;
    const to = Math.min(at + 40 + this.#data.getUint16(at + 4), this.#data.byteLength);
    let protocol = this.#data.getUint8(at + 6);
    let from = at + 40;
    let isLater = false;
    while (from + 8 <= to && (EXTENSIONS.has(protocol) || protocol === FRAGMENT)) {
      const isFragment = protocol === FRAGMENT;
      if (isFragment) isLater ||= this.#data.getUint16(from + 2) >> 3 !== 0;
      protocol = this.#data.getUint8(from);
      from += isFragment ? 8 : 8 + 8 * this.#data.getUint8(from + 1);
    }
    return {
      version: 6,
      source: this.#ipv6(at + 8),
      destination: this.#ipv6(at + 24),
      ttl: this.#data.getUint8(at + 7),
      protocol,
      from,
      to,
      isLater,
    };
  }

  /** The IP packet, if it carries this protocol and its first bytes. */
  #transport(protocol: number, length: number): Ip | null {
    const { ip } = this;
    const isWhole = ip !== null && !ip.isLater && ip.from + length <= ip.to;
    return isWhole && ip.protocol === protocol ? ip : null;
  }

  get tcp(): PacketTcp | null {
    const ip = this.#transport(TCP, 20);
    if (ip === null) return null;
    const at = ip.from;
    const bits = this.#data.getUint8(at + 13);
    const header = (this.#data.getUint8(at + 12) >> 4) * 4;
    const data = Math.min(ip.to, at + Math.max(20, header));
    const is = (bit: number): boolean => (bits & bit) !== 0;
    return {
      sourcePort: this.#data.getUint16(at),
      destinationPort: this.#data.getUint16(at + 2),
      seq: this.#data.getUint32(at + 4),
      ack: this.#data.getUint32(at + 8),
      flags: {
        fin: is(1),
        syn: is(2),
        rst: is(4),
        psh: is(8),
        ack: is(16),
        urg: is(32),
        ece: is(64),
        cwr: is(128),
      },
      window: this.#data.getUint16(at + 14),
      payload: this.bytes.subarray(data, ip.to),
    };
  }

  get udp(): PacketUdp | null {
    const ip = this.#transport(UDP, 8);
    if (ip === null) return null;
    return {
      sourcePort: this.#data.getUint16(ip.from),
      destinationPort: this.#data.getUint16(ip.from + 2),
      payload: this.bytes.subarray(ip.from + 8, ip.to),
    };
  }

  get icmp(): PacketIcmp | null {
    const protocol = this.ip?.version === 6 ? ICMPV6 : ICMP;
    const ip = this.#transport(protocol, 4);
    if (ip === null) return null;
    return {
      type: this.#data.getUint8(ip.from),
      code: this.#data.getUint8(ip.from + 1),
      payload: this.bytes.subarray(ip.from + 4, ip.to),
    };
  }

  get payload(): Uint8Array {
    return this.tcp?.payload ?? this.udp?.payload ?? this.icmp?.payload ?? new Uint8Array(0);
  }

  get text(): string {
    return new TextDecoder("utf-8").decode(this.payload);
  }
}

const NEIGHBOR_SOLICITATION = 135;
const NEIGHBOR_ADVERTISEMENT = 136;

/** The addresses that a packet is from and to, of ARP and neighbour discovery those that they are about. */
export function partiesOf(packet: PacketView): { source: string; destination: string } | null {
  const { arp, ip } = packet;
  if (arp !== null) return { source: arp.sender, destination: arp.target };
  return ip === null ? null : { source: ip.source, destination: ip.destination };
}

/** Whether a packet is what neighbours find each other by. */
export function isDiscovery(packet: PacketView): boolean {
  if (packet.arp !== null) return true;
  const type = packet.ip?.version === 6 ? packet.icmp?.type : undefined;
  return type === NEIGHBOR_SOLICITATION || type === NEIGHBOR_ADVERTISEMENT;
}
