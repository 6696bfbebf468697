/** What the hosts of a world have sent and received, for assertions and for Wireshark. */

import { AssertionError } from "node:assert";
import type { EngineCore } from "../engine_core.js";
import { EngineError } from "../errors.js";
import { CAPTURED } from "../names.js";
import type { NicImpl } from "../nic.js";
import { fieldsOf } from "../records.js";
import type { Services } from "../services.js";
import { PacketView } from "./packet.js";
import { show } from "./scheduler.js";
import type { CapturedPacket, Expectation, Handshake, WorldCapture } from "./types.js";

type Filter = (packet: CapturedPacket) => boolean | undefined;

/** What the module tells of a captured frame, whose bytes are in the scratch memory. */
interface Seen {
  index: number;
  time: number;
  port: string;
  direction: "in" | "out";
  kept: number;
}

const seenFields = fieldsOf(CAPTURED);
const MICROSECONDS = 1_000;
/** Lines of packets in the message of an expectation that is not met. */
const MOST_LINES = 20;

class CapturedView extends PacketView implements CapturedPacket {
  readonly index: number;
  readonly host: string;
  readonly direction: "out" | "in";
  readonly #services: Services;

  constructor(
    { index, time, direction }: Seen,
    bytes: Uint8Array,
    host: string,
    services: Services,
  ) {
    const isOut = direction === "out";
    super(bytes, time / MICROSECONDS, isOut ? host : "", isOut ? "" : host);
    this.index = index;
    this.host = host;
    this.direction = direction;
    this.#services = services;
  }

  get summary(): string {
    return this.#services.call((wasm) => wasm.frame_summary(this.bytes, false));
  }
}

/** See {@link WorldCapture}. */
export class CaptureOfWorld implements WorldCapture {
  readonly #engine: EngineCore;
  readonly #services: Services;
  /** The date at which the world begins, in milliseconds since 1970. */
  readonly #start: number;
  /** Null if nothing is captured. */
  readonly #id: number | null;
  /** Whose interfaces have which names. */
  readonly #hosts = new Map<string, string>();
  /** What was read so far. */
  #read: CapturedView[] = [];
  #next = 0;

  constructor(
    engine: EngineCore,
    services: Services,
    start: number,
    limits: { memory: number; snapLength: number } | null,
  ) {
    this.#engine = engine;
    this.#services = services;
    this.#start = start;
    this.#id =
      limits === null
        ? null
        : engine.call((wasm) => wasm.add_capture(limits.memory, limits.snapLength));
  }

  /** Whether anything is captured. */
  get isOn(): boolean {
    return this.#id !== null;
  }

  /** Captures what passes an interface. */
  watch(nic: NicImpl, host: string): void {
    const id = this.#id;
    if (id === null) return;
    this.#hosts.set(nic.name, host);
    this.#engine.call((wasm) => wasm.watch(id, nic.attach()));
  }

  get #capture(): number {
    if (this.#id === null) {
      throw new TypeError("nothing is captured: the world was made with `capture: false`");
    }
    return this.#id;
  }

  get #packets(): readonly CapturedView[] {
    const id = this.#capture;
    for (;;) {
      const seen = this.#engine.record<Seen>(seenFields, (wasm) =>
        wasm.capture_frame(id, this.#next),
      );
      if (seen === null) break;
      this.#next = seen.index + 1;
      const bytes = this.#engine.scratchBytes(seen.kept);
      const host = this.#hosts.get(seen.port) ?? seen.port;
      this.#read.push(new CapturedView(seen, bytes, host, this.#services));
    }
    // What had to go there goes here, too.
    const { dropped } = this;
    const first = this.#read.findIndex(({ index }) => index >= dropped);
    if (first > 0) this.#read = this.#read.slice(first);
    return this.#read;
  }

  sent(filter: Filter = () => true): CapturedPacket[] {
    return this.#packets.filter((packet) => packet.direction === "out" && filter(packet));
  }

  received(filter: Filter = () => true): CapturedPacket[] {
    return this.#packets.filter((packet) => packet.direction === "in" && filter(packet));
  }

  retransmissions(filter: Filter = () => true): CapturedPacket[] {
    const flows = new Map<string, Sent>();
    return this.#segments().filter((packet) => {
      const isAgain = wasSentBefore(flows, packet);
      return isAgain && filter(packet);
    });
  }

  /** The TCP segments that end hosts have sent; routers, which send those of others, are left out. */
  #segments(): CapturedPacket[] {
    return this.sent(({ tcp, ip, host }) => {
      return tcp !== null && ip !== null && this.owners?.(ip.source) === host;
    });
  }

  /** Whose an address is. */
  owners: ((address: string) => string | null) | null = null;

  handshakes(): Handshake[] {
    const found = new Map<string, { handshake: Writable<Handshake>; seq: number }>();
    const all: Handshake[] = [];
    for (const packet of this.#segments()) {
      const { tcp, ip } = packet;
      if (tcp === null || ip === null) continue;
      const client = endpoint(ip.source, tcp.sourcePort);
      const server = endpoint(ip.destination, tcp.destinationPort);
      const key = `${client} ${server}`;
      const known = found.get(key);
      if (tcp.flags.syn && !tcp.flags.ack) {
        if (known?.seq === tcp.seq) {
          known.handshake.attempts += 1;
          continue;
        }
        const handshake = { client, server, began: packet.time, ended: null, attempts: 1 };
        found.set(key, { handshake, seq: tcp.seq });
        all.push(handshake);
      } else if (known && known.handshake.ended === null && tcp.flags.ack && !tcp.flags.rst) {
        known.handshake.ended = packet.time;
      }
    }
    return all;
  }

  expect(what: string, filter: Filter): Expectation {
    return new ExpectationOf(what, this.sent(filter), this.sent(), (error) =>
      this.onfailure?.(error),
    );
  }

  /** An expectation is not met. */
  onfailure: ((error: Error) => void) | null = null;

  get dropped(): number {
    const id = this.#capture;
    return this.#engine.call((wasm) => wasm.capture_dropped(id));
  }

  pcapng(): Uint8Array<ArrayBuffer> {
    const id = this.#capture;
    const packets = this.#engine.call((wasm) => wasm.capture_packets(id));
    const file = this.#services.call((wasm) =>
      wasm.pcapng_file(packets, this.#start * MICROSECONDS, ""),
    );
    if (file === undefined) throw new EngineError("the captured packets could not be written");
    return file as Uint8Array<ArrayBuffer>;
  }

  clear(): void {
    void this.#packets;
    this.#read = [];
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** What a side of a connection has sent. */
interface Sent {
  first: number;
  /** Behind the last byte that was sent. */
  end: number;
}

/** Whether nothing in a segment is new; notes what is. */
function wasSentBefore(flows: Map<string, Sent>, { ip, tcp }: CapturedPacket): boolean {
  if (ip === null || tcp === null) return false;
  const { syn, fin } = tcp.flags;
  const length = tcp.payload.byteLength + (syn ? 1 : 0) + (fin ? 1 : 0);
  if (length === 0) return false;
  const from = endpoint(ip.source, tcp.sourcePort);
  const key = `${from} ${endpoint(ip.destination, tcp.destinationPort)}`;
  const end = (tcp.seq + length) >>> 0;
  const flow = flows.get(key);
  if (flow === undefined || (syn && flow.first !== tcp.seq)) {
    flows.set(key, { first: tcp.seq, end });
    return false;
  }
  // Sequence numbers are compared modulo 2^32 (RFC 9293 §3.4).
  if (((end - flow.end) | 0) <= 0) return true;
  flow.end = end;
  return false;
}

function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** See {@link Expectation}. */
class ExpectationOf implements Expectation {
  readonly packets: readonly CapturedPacket[];
  readonly #what: string;
  readonly #all: readonly CapturedPacket[];

  readonly #failed: (error: Error) => void;

  constructor(
    what: string,
    packets: readonly CapturedPacket[],
    all: readonly CapturedPacket[],
    failed: (error: Error) => void,
  ) {
    this.#what = what;
    this.packets = packets;
    this.#all = all;
    this.#failed = failed;
  }

  #check(isMet: boolean, expected: string): readonly CapturedPacket[] {
    const { length } = this.packets;
    if (isMet) return this.packets;
    const shown = length > 0 ? this.packets : this.#all;
    const lines = shown
      .slice(0, MOST_LINES)
      .map(({ time, host, summary }) => `  ${show(time * MICROSECONDS)} ${host}: ${summary}`);
    if (shown.length > MOST_LINES) lines.push(`  and ${shown.length - MOST_LINES} more`);
    const head = `expected ${this.#what} ${expected}, found ${length}`;
    const list = length > 0 ? "" : ` among ${this.#all.length} packets`;
    const error = new AssertionError({
      message: [`${head}${list}${lines.length > 0 ? ":" : ""}`, ...lines].join("\n"),
      actual: length,
      expected,
      operator: "capture.expect",
    });
    this.#failed(error);
    throw error;
  }

  never(): void {
    this.#check(this.packets.length === 0, "never");
  }

  once(): CapturedPacket {
    const [packet] = this.#check(this.packets.length === 1, "once");
    return packet as CapturedPacket;
  }

  times(count: number): readonly CapturedPacket[] {
    return this.#check(this.packets.length === count, `${count} times`);
  }

  atLeast(count: number): readonly CapturedPacket[] {
    return this.#check(this.packets.length >= count, `at least ${count} times`);
  }

  atMost(count: number): readonly CapturedPacket[] {
    return this.#check(this.packets.length <= count, `at most ${count} times`);
  }
}
