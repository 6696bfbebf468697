/** TCP resets in the name of others, as firewalls and load balancers send them. */

import type { PacketView } from "./packet.js";

const MAC = 6;
const TCP_HEADER = 20;
const TTL = 64;
const TCP = 6;

/** The resets that end the connection of a segment which was not delivered, for both ends (RFC 9293 §3.10.7.4: both are exactly what is expected next). */
export function resetsFor(packet: PacketView): { toSender: Uint8Array; toReceiver: Uint8Array } {
  const { ip, tcp } = packet;
  if (ip === null || tcp === null) throw new TypeError("only a TCP segment can be answered so");
  return {
    toSender: reset(packet, true, tcp.ack),
    toReceiver: reset(packet, false, tcp.seq),
  };
}

/** A reset with the addresses and ports of a segment, or with these the other way round. */
function reset({ bytes, ip, tcp }: PacketView, isBack: boolean, seq: number): Uint8Array {
  if (ip === null || tcp === null) return new Uint8Array(0);
  const headerLength = ip.version === 4 ? 20 : 40;
  const link = ipStart(bytes);
  const frame = new Uint8Array(link + headerLength + TCP_HEADER);
  const view = new DataView(frame.buffer);
  frame.set(bytes.subarray(0, link));
  if (isBack) {
    frame.set(bytes.subarray(MAC, 2 * MAC), 0);
    frame.set(bytes.subarray(0, MAC), MAC);
  }
  const size = ip.version === 4 ? 4 : 16;
  const addresses = ip.version === 4 ? 12 : 8;
  frame.set(bytes.subarray(link, link + addresses), link);
  const source = bytes.subarray(link + addresses, link + addresses + size);
  const destination = bytes.subarray(link + addresses + size, link + addresses + 2 * size);
  frame.set(isBack ? destination : source, link + addresses);
  frame.set(isBack ? source : destination, link + addresses + size);
  if (ip.version === 4) {
    view.setUint8(link, 0x45);
    view.setUint16(link + 2, headerLength + TCP_HEADER);
    view.setUint16(link + 4, 0);
    view.setUint16(link + 6, 0x4000);
    view.setUint8(link + 8, TTL);
    view.setUint16(link + 10, 0);
    view.setUint16(link + 10, checksum(frame.subarray(link, link + headerLength), 0));
  } else {
    view.setUint16(link + 4, TCP_HEADER);
    view.setUint8(link + 6, TCP);
    view.setUint8(link + 7, TTL);
  }
  const at = link + headerLength;
  view.setUint16(at, isBack ? tcp.destinationPort : tcp.sourcePort);
  view.setUint16(at + 2, isBack ? tcp.sourcePort : tcp.destinationPort);
  view.setUint32(at + 4, seq);
  view.setUint8(at + 12, (TCP_HEADER / 4) << 4);
  view.setUint8(at + 13, 4);
  const pseudo =
    sumOf(frame.subarray(link + addresses, link + addresses + 2 * size)) + TCP + TCP_HEADER;
  view.setUint16(at + 16, checksum(frame.subarray(at), pseudo));
  return frame;
}

/** Where the IP header is: behind Ethernet's, with or without a VLAN tag. */
function ipStart(bytes: Uint8Array): number {
  return bytes[12] === 0x81 && bytes[13] === 0 ? 18 : 14;
}

/** RFC 1071, of an even number of bytes. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  }
  return sum;
}

function checksum(bytes: Uint8Array, start: number): number {
  let sum = start + sumOf(bytes);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
