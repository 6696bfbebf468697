/**
 * Packets out of recordings: pcapng (draft-ietf-opsawg-pcapng) and pcap (draft-ietf-opsawg-pcap), of both byte orders.
 *
 * A packet is a view into the file, which is read as packets are asked for. A file that is cut off or damaged gives the packets before that.
 */

import type { RecordedPacket } from "../types.js";

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const OLD_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type and length before a block, and the length again behind it. */
const BLOCK_HEADER = 8;
const BLOCK_TRAILER = 4;
const OPTION_TSRESOL = 9;
const OPTION_TSOFFSET = 14;

const PCAP_MICROSECONDS = 0xa1b2c3d4;
const PCAP_NANOSECONDS = 0xa1b23c4d;
const PCAP_HEADER = 24;
const PCAP_PACKET_HEADER = 16;
const TWO_TO_32 = 2 ** 32;

interface RecordedInterface {
  linkType: number;
  /** Of each packet; 0 for no limit. */
  snapLength: number;
  /** Ticks of its clock in a millisecond. */
  ticks: number;
  /** To be added to its times, in milliseconds. */
  offset: number;
}

/** Goes over the packets of a recording. */
export class Recording {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #isComplete = false;

  /** @throws TypeError if this is neither pcapng nor pcap. */
  constructor(argument: string, bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.#pcapngOrder(0) === null && this.#pcapForm() === null) {
      throw new TypeError(
        `${argument} must be a recording in pcapng or pcap, and begins otherwise`,
      );
    }
  }

  /** Whether the packets were read to the end of the file, which is whole. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  packets(): Generator<RecordedPacket, void, undefined> {
    return this.#pcapngOrder(0) === null ? this.#pcap() : this.#pcapng();
  }

  /** Whether the section at `at` is little-endian; null if there is none. */
  #pcapngOrder(at: number): boolean | null {
    if (this.#bytes.byteLength < at + BLOCK_HEADER + 4) return null;
    if (this.#view.getUint32(at) !== SECTION_HEADER) return null;
    if (this.#view.getUint32(at + BLOCK_HEADER, true) === BYTE_ORDER_MAGIC) return true;
    return this.#view.getUint32(at + BLOCK_HEADER) === BYTE_ORDER_MAGIC ? false : null;
  }

  *#pcapng(): Generator<RecordedPacket, void, undefined> {
    const view = this.#view;
    let little = true;
    let interfaces: RecordedInterface[] = [];
    let index = 0;
    /** Of the packet before, for those that have none of their own. */
    let time = 0;
    let at = 0;
    while (at + BLOCK_HEADER + BLOCK_TRAILER <= view.byteLength) {
      // The magic of a section says in which order its own length is.
      const order = this.#pcapngOrder(at);
      if (order !== null) {
        little = order;
        interfaces = [];
      }
      const type = view.getUint32(at, little);
      const length = view.getUint32(at + 4, little);
      const isBlock = length >= BLOCK_HEADER + BLOCK_TRAILER && length % 4 === 0;
      if (!isBlock || at + length > view.byteLength) return;
      if (view.getUint32(at + length - BLOCK_TRAILER, little) !== length) return;
      const body = at + BLOCK_HEADER;
      const end = at + length - BLOCK_TRAILER;
      at += length;
      if (type === INTERFACE_DESCRIPTION && end - body >= 8) {
        interfaces.push(this.#interface(body, end, little));
        continue;
      }
      const packet = this.#packet(type, body, end, little, interfaces, time);
      if (packet === null) continue;
      ({ time } = packet);
      yield { index, ...packet };
      index += 1;
    }
    this.#isComplete = at === view.byteLength;
  }

  #interface(body: number, end: number, little: boolean): RecordedInterface {
    const view = this.#view;
    const found: RecordedInterface = {
      linkType: view.getUint16(body, little),
      snapLength: view.getUint32(body + 4, little),
      ticks: 1_000,
      offset: 0,
    };
    for (let at = body + 8; at + 4 <= end; ) {
      const code = view.getUint16(at, little);
      const length = view.getUint16(at + 2, little);
      const value = at + 4;
      if (code === 0 || value + length > end) break;
      if (code === OPTION_TSRESOL && length === 1) {
        const resolution = view.getUint8(value);
        const base = (resolution & 0x80) === 0 ? 10 : 2;
        found.ticks = base ** (resolution & 0x7f) / 1_000;
      } else if (code === OPTION_TSOFFSET && length === 8) {
        found.offset = Number(view.getBigInt64(value, little)) * 1_000;
      }
      at = value + ((length + 3) & -4);
    }
    return found;
  }

  /** The packet in a block; null if there is none, or none that is whole. */
  #packet(
    type: number,
    body: number,
    end: number,
    little: boolean,
    interfaces: readonly RecordedInterface[],
    before: number,
  ): Omit<RecordedPacket, "index"> | null {
    const view = this.#view;
    const room = end - body;
    if (type === SIMPLE_PACKET && room >= 4) {
      const on = interfaces[0];
      if (on === undefined) return null;
      const length = view.getUint32(body, little);
      const kept = Math.min(length, on.snapLength === 0 ? length : on.snapLength);
      if (kept > room - 4) return null;
      const data = this.#bytes.subarray(body + 4, body + 4 + kept);
      return { time: before, interface: 0, linkType: on.linkType, length, data };
    }
    if ((type !== ENHANCED_PACKET && type !== OLD_PACKET) || room < 20) return null;
    // The old kind has 16 bits for the interface, and a count of drops behind it.
    const id =
      type === ENHANCED_PACKET ? view.getUint32(body, little) : view.getUint16(body, little);
    const on = interfaces[id];
    const kept = view.getUint32(body + 12, little);
    if (on === undefined || kept > room - 20) return null;
    const ticks = view.getUint32(body + 4, little) * TWO_TO_32 + view.getUint32(body + 8, little);
    return {
      time: ticks / on.ticks + on.offset,
      interface: id,
      linkType: on.linkType,
      length: view.getUint32(body + 16, little),
      data: this.#bytes.subarray(body + 20, body + 20 + kept),
    };
  }

  /** Byte order of a pcap file, and the fractions of its times in a millisecond. */
  #pcapForm(): { little: boolean; fractions: number } | null {
    if (this.#bytes.byteLength < PCAP_HEADER) return null;
    for (const little of [true, false]) {
      const magic = this.#view.getUint32(0, little);
      if (magic === PCAP_MICROSECONDS) return { little, fractions: 1_000 };
      if (magic === PCAP_NANOSECONDS) return { little, fractions: 1_000_000 };
    }
    return null;
  }

  *#pcap(): Generator<RecordedPacket, void, undefined> {
    const form = this.#pcapForm();
    if (form === null) return;
    const { little, fractions } = form;
    const view = this.#view;
    // The upper bits tell of a frame check sequence.
    const linkType = view.getUint32(20, little) & 0xffff;
    let at = PCAP_HEADER;
    for (let index = 0; at + PCAP_PACKET_HEADER <= view.byteLength; index += 1) {
      const kept = view.getUint32(at + 8, little);
      const from = at + PCAP_PACKET_HEADER;
      if (from + kept > view.byteLength) return;
      const seconds = view.getUint32(at, little);
      yield {
        index,
        time: seconds * 1_000 + view.getUint32(at + 4, little) / fractions,
        interface: 0,
        linkType,
        length: view.getUint32(at + 12, little),
        data: this.#bytes.subarray(from, from + kept),
      };
      at = from + kept;
    }
    this.#isComplete = at === view.byteLength;
  }
}
