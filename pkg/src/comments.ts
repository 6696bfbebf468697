/**
 * Comments on captured packets, out of the trace of the stack that has sent or received them: why a segment was sent again, what one that came has
 * told of losses. A packet is found by its time, which both have from the engine, its ports and its sequence number.
 */

import type { TraceImpl } from "./trace.js";
import type { SendReason, TraceEvent } from "./types.js";

/** Comments that are kept; the oldest go first. */
const MOST = 65_536;

/** What is said of a segment that was sent for such a reason; nothing of the others. */
const SENT: Partial<Record<SendReason, string>> = {
  mtuProbe: "MTU probe",
  fastRetransmit: "fast retransmit",
  timeout: "retransmission timeout",
  tailLossProbe: "TLP",
  probe: "probe",
  duplicateAck: "duplicate ACK",
};

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
const VLAN_TYPES = [0x8100, 0x88a8];
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TCP = 6;
const IPV6_HEADER = 40;

/** Counts packets that look the same and are of one time. */
class Ordinals {
  #micros = -1;
  readonly #counts = new Map<string, number>();

  /** What a packet is known by. */
  key(micros: number, source: number, destination: number, seq: number): string {
    if (micros !== this.#micros) this.#counts.clear();
    this.#micros = micros;
    const looks = `${source} ${destination} ${seq}`;
    const before = this.#counts.get(looks) ?? 0;
    this.#counts.set(looks, before + 1);
    return `${micros} ${looks} ${before}`;
  }
}

/** See the module's comment. */
export class PacketComments {
  readonly #trace: TraceImpl;
  readonly #comments = new Map<string, string>();
  readonly #ordinals = new Ordinals();
  readonly #unwatch: () => void;
  /** The segment that came last at a connection, whose effects are told after it. */
  #received: { connection: number | null; micros: number; key: string } | null = null;

  constructor(trace: TraceImpl) {
    this.#trace = trace;
    this.#unwatch = trace.watch((event, micros) => this.#add(event, micros));
  }

  /** No more comments; those that there are stay. */
  stop(): void {
    this.#unwatch();
  }

  #add(event: TraceEvent, micros: number): void {
    const { localPort, remotePort, connection } = event;
    switch (event.type) {
      case "sent": {
        const key = this.#ordinals.key(micros, localPort, remotePort, event.seq);
        const comment = SENT[event.reason];
        if (comment !== undefined) this.#comment(key, comment);
        break;
      }
      case "received": {
        const key = this.#ordinals.key(micros, remotePort, localPort, event.seq);
        this.#received = { connection, micros, key };
        break;
      }
      case "lost":
        this.#effect(event, micros, `believed lost: ${event.segments}`);
        break;
      case "recovery":
        this.#effect(event, micros, `recovery: ${event.from} to ${event.to}`);
        break;
      case "undone":
        this.#effect(event, micros, "reduction undone");
        break;
      default:
    }
  }

  /** Says of the segment that came last what it has caused; what a timer has caused is of no segment. */
  #effect({ connection }: TraceEvent, micros: number, text: string): void {
    const received = this.#received;
    if (received?.connection === connection && received.micros === micros) {
      this.#comment(received.key, text);
    }
  }

  #comment(key: string, text: string): void {
    const before = this.#comments.get(key);
    this.#comments.set(key, before === undefined ? text : `${before}; ${text}`);
    if (this.#comments.size <= MOST) return;
    const [oldest] = this.#comments.keys();
    if (oldest !== undefined) this.#comments.delete(oldest);
  }

  /** Looks at packets in the order of their capture, and tells the comment of each. */
  matcher(): (micros: number, data: Uint8Array, isPacket: boolean) => string | null {
    this.#trace.pull();
    const ordinals = new Ordinals();
    return (micros, data, isPacket) => {
      const segment = segmentIn(data, isPacket);
      if (segment === null) return null;
      const { source, destination, seq } = segment;
      return this.#comments.get(ordinals.key(micros, source, destination, seq)) ?? null;
    };
  }

  /** A line for each packet of a capture that has a comment: its number, a space, the comment. */
  linesFor(packed: Uint8Array): string {
    const match = this.matcher();
    const lines: string[] = [];
    eachPacket(packed, (number, micros, data, isPacket) => {
      const comment = match(micros, data, isPacket);
      if (comment !== null) lines.push(`${number} ${comment}`);
    });
    return lines.join("\n");
  }
}

/** Where a TCP segment is from and whom it is for, if a frame has the beginning of one. */
function segmentIn(
  data: Uint8Array,
  isPacket: boolean,
): { source: number; destination: number; seq: number } | null {
  const at = isPacket ? segmentAt(data, 0) : networkAt(data);
  if (at === null || at + 8 > data.byteLength) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return {
    source: view.getUint16(at),
    destination: view.getUint16(at + 2),
    seq: view.getUint32(at + 4),
  };
}

/** Where the segment is in an Ethernet frame, behind VLAN tags. */
function networkAt(data: Uint8Array): number | null {
  const typeAt = (at: number): number => ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0);
  let at = ETHERNET_HEADER;
  while (VLAN_TYPES.includes(typeAt(at - 2)) && at < data.byteLength) at += VLAN_TAG;
  return [IPV4, IPV6].includes(typeAt(at - 2)) ? segmentAt(data, at) : null;
}

/** Where the segment is in an IP packet: the first fragment of one, if it is IPv4, and without extension headers, if it is IPv6. */
function segmentAt(data: Uint8Array, ip: number): number | null {
  const first = data[ip] ?? 0;
  if (first >> 4 === 6) return data[ip + 6] === TCP ? ip + IPV6_HEADER : null;
  const fragment = (((data[ip + 6] ?? 0) & 0x1f) << 8) | (data[ip + 7] ?? 0);
  if (first >> 4 !== 4 || data[ip + 9] !== TCP || fragment !== 0) return null;
  return ip + (first & 0xf) * 4;
}

/** Goes over the packets of a capture on their way to the services' module, as `wasm/shared/src/packets.rs` has packed them. */
function eachPacket(
  packed: Uint8Array,
  visit: (number: number, micros: number, data: Uint8Array, isPacket: boolean) => void,
): void {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const long = (at: number): number => Number(view.getBigUint64(at, true));
  let number = long(4);
  const ports: boolean[] = [];
  let at = 16;
  for (let left = view.getUint32(12, true); left > 0; left -= 1) {
    const port = view.getUint32(at, true);
    ports.push((port & 1) === 1);
    at += 4 + (port >>> 1);
  }
  for (; at + 20 <= packed.byteLength; number += 1) {
    const micros = long(at);
    const port = view.getUint32(at + 8, true) >>> 1;
    const kept = view.getUint32(at + 16, true);
    const data = packed.subarray(at + 20, at + 20 + kept);
    visit(number, micros, data, ports[port] ?? false);
    at += 20 + kept;
  }
}
