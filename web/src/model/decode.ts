/** The headers of a frame as names and values, for people who look at one frame. */

/** One header. */
export interface Layer {
  name: string;
  fields: [name: string, value: string][];
}

const ETHERTYPES: Readonly<Record<number, string>> = {
  2048: "IPv4",
  2054: "ARP",
  34525: "IPv6",
};
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMPv6",
};
/** In the order of their bits, the lowest first. */
const TCP_FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

/** Decodes as far as the bytes go; what is cut off or unknown is left out. */
export function decode(bytes: Uint8Array): Layer[] {
  const layers: Layer[] = [];
  try {
    ethernet(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), layers);
  } catch (error) {
    // DataView's way of telling that the frame ends within a header.
    if (!(error instanceof RangeError)) throw error;
  }
  return layers;
}

function ethernet(view: DataView, layers: Layer[]): void {
  const type = view.getUint16(12);
  layers.push({
    name: "Ethernet",
    fields: [
      ["destination", mac(view, 0)],
      ["source", mac(view, 6)],
      ["type", named(ETHERTYPES, type, 4)],
    ],
  });
  const rest = from(view, 14);
  if (type === 0x0800) ipv4(rest, layers);
  else if (type === 0x86dd) ipv6(rest, layers);
  else if (type === 0x0806) arp(rest, layers);
}

/** RFC 826 */
function arp(view: DataView, layers: Layer[]): void {
  const operation = view.getUint16(6);
  layers.push({
    name: "ARP",
    fields: [
      ["operation", operation === 1 ? "request" : operation === 2 ? "reply" : String(operation)],
      ["sender", `${address4(view, 14)} at ${mac(view, 8)}`],
      ["target", `${address4(view, 24)} at ${mac(view, 18)}`],
    ],
  });
}

/** RFC 791 §3.1 */
function ipv4(view: DataView, layers: Layer[]): void {
  const headerLength = (view.getUint8(0) & 0x0f) * 4;
  const length = view.getUint16(2);
  const fragment = view.getUint16(6);
  const protocol = view.getUint8(9);
  layers.push({
    name: "IPv4",
    fields: [
      ["source", address4(view, 12)],
      ["destination", address4(view, 16)],
      ["protocol", named(PROTOCOLS, protocol, 2)],
      ["length", String(length)],
      ["identification", String(view.getUint16(4))],
      ["don't fragment", fragment & 0x4000 ? "yes" : "no"],
      ["time to live", String(view.getUint8(8))],
      ["checksum", hexadecimal(view.getUint16(10), 4)],
    ],
  });
  if ((fragment & 0x1fff) === 0) transport(protocol, until(view, headerLength, length), layers);
}

/** RFC 8200 §3; extension headers are not looked into. */
function ipv6(view: DataView, layers: Layer[]): void {
  const length = view.getUint16(4);
  const next = view.getUint8(6);
  layers.push({
    name: "IPv6",
    fields: [
      ["source", address6(view, 8)],
      ["destination", address6(view, 24)],
      ["next header", named(PROTOCOLS, next, 2)],
      ["payload length", String(length)],
      ["hop limit", String(view.getUint8(7))],
    ],
  });
  transport(next, until(view, 40, 40 + length), layers);
}

function transport(protocol: number, view: DataView, layers: Layer[]): void {
  if (protocol === 6) tcp(view, layers);
  else if (protocol === 17) udp(view, layers);
  else if (protocol === 1 || protocol === 58) icmp(PROTOCOLS[protocol] ?? "", view, layers);
}

/** RFC 9293 §3.1 */
function tcp(view: DataView, layers: Layer[]): void {
  const headerLength = (view.getUint8(12) >> 4) * 4;
  const bits = view.getUint8(13);
  const flags = TCP_FLAGS.filter((_, bit) => bits & (1 << bit));
  layers.push({
    name: "TCP",
    fields: [
      ["source port", String(view.getUint16(0))],
      ["destination port", String(view.getUint16(2))],
      ["sequence", String(view.getUint32(4))],
      ["acknowledgment", String(view.getUint32(8))],
      ["flags", flags.join(", ") || "none"],
      ["window", String(view.getUint16(14))],
      ["checksum", hexadecimal(view.getUint16(16), 4)],
      ["options", `${Math.max(0, headerLength - 20)} bytes`],
      ["data", `${Math.max(0, view.byteLength - headerLength)} bytes`],
    ],
  });
}

/** RFC 768 */
function udp(view: DataView, layers: Layer[]): void {
  layers.push({
    name: "UDP",
    fields: [
      ["source port", String(view.getUint16(0))],
      ["destination port", String(view.getUint16(2))],
      ["length", String(view.getUint16(4))],
      ["checksum", hexadecimal(view.getUint16(6), 4)],
    ],
  });
}

/** RFC 792, RFC 4443 §2.1 */
function icmp(name: string, view: DataView, layers: Layer[]): void {
  layers.push({
    name,
    fields: [
      ["type", String(view.getUint8(0))],
      ["code", String(view.getUint8(1))],
      ["checksum", hexadecimal(view.getUint16(2), 4)],
      ["data", `${view.byteLength - 4} bytes`],
    ],
  });
}

function from(view: DataView, offset: number): DataView {
  return new DataView(view.buffer, view.byteOffset + offset, view.byteLength - offset);
}

/** Up to `end` or to where the bytes end: short frames are padded, long ones may be cut off. */
function until(view: DataView, offset: number, end: number): DataView {
  const length = Math.min(end, view.byteLength) - offset;
  return new DataView(view.buffer, view.byteOffset + offset, length);
}

function mac(view: DataView, offset: number): string {
  return Array.from({ length: 6 }, (_, at) => digits(view.getUint8(offset + at), 2)).join(":");
}

function address4(view: DataView, offset: number): string {
  return Array.from({ length: 4 }, (_, at) => view.getUint8(offset + at)).join(".");
}

/** Written as RFC 5952 wants it, which is how URLs write it. */
function address6(view: DataView, offset: number): string {
  const groups = Array.from({ length: 8 }, (_, at) => view.getUint16(offset + at * 2).toString(16));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

function named(names: Readonly<Record<number, string>>, value: number, width: number): string {
  const name = names[value];
  return name === undefined ? hexadecimal(value, width) : `${name} (${hexadecimal(value, width)})`;
}

function hexadecimal(value: number, width: number): string {
  return `0x${digits(value, width)}`;
}

function digits(value: number, width: number): string {
  return value.toString(16).padStart(width, "0");
}
