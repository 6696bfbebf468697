/** A stream of a Wisp connection: a TCP connection or a flow of UDP datagrams that the server makes for its client. */

import {
  CloseReason,
  emptyPacket,
  HEADER_BYTES,
  PacketType,
  type WispTransport,
} from "./wisp_packets.js";

/** Payload of a DATA packet: with the header less than the 64 KiB that some servers take at most. */
export const MOST_PAYLOAD = 32 * 1024;

/** What a packet that waits is taken to cost beyond its payload, in bytes: many small ones have a bound as well. */
export const PACKET_COST = 256;

/** Stands in a queue for what was taken out of it. */
const TAKEN = new Uint8Array(0);
/** A queue is made shorter once half of it, and at least so many packets, were taken. */
const LEAST_TAKEN = 64;

/** How a stream has ended. */
export type StreamEnd =
  /** The other end has finished, or was closed by its server for no reason that it told. */
  | "finished"
  /** It broke, or was reset. */
  | "reset"
  /** The host refuses connections there. */
  | "refused"
  /** The host cannot be reached, or its name is unknown. */
  | "unreachable"
  /** The host did not answer. */
  | "timeout"
  /** The server does not want it. */
  | "prohibited"
  /** There is no connection to the server. */
  | "offline";

/** Whom a stream tells. */
export interface StreamEvents {
  /** The server has opened it or, if it does not tell so, was asked to. */
  opened(): void;
  /** There is something to `peek`. */
  readable(): void;
  /** Credit has come, or the WebSocket has room. */
  writable(): void;
  /**
   * Nothing more comes; what is queued can still be read after `"finished"`. Told once, unless `close` was called before; a second time, with `"reset"`, where
   * what is queued then had to be dropped.
   */
  ended(end: StreamEnd): void;
}

/** What a stream needs of its connection. */
export interface StreamHost {
  /** Whether the WebSocket takes no more data for now. */
  readonly isFull: boolean;
  send(stream: WispStream, packet: Uint8Array<ArrayBuffer>): void;
  /** Bytes of the queue are free again. */
  consumed(stream: WispStream, bytes: number): void;
  /** The application closes it. */
  close(stream: WispStream, reason: number): void;
}

/** A stream. Its connection calls what the second half has. */
export class WispStream {
  readonly id: number;
  readonly transport: WispTransport;
  readonly hostname: string;
  readonly port: number;
  readonly events: StreamEvents;
  readonly #host: StreamHost;
  #phase: "opening" | "open" | "over" = "opening";
  /** What waits, from `#first` on: an array of many that is shifted moves them all. */
  #queue: Uint8Array[] = [];
  #first = 0;
  #queued = 0;
  /** DATA packets that the server has room for. */
  #credit = 0;
  #hasReceived = false;

  constructor(
    host: StreamHost,
    id: number,
    target: { transport: WispTransport; hostname: string; port: number },
    events: StreamEvents,
  ) {
    this.#host = host;
    this.id = id;
    this.transport = target.transport;
    this.hostname = target.hostname;
    this.port = target.port;
    this.events = events;
  }

  /** Whether a DATA packet may be sent now. If not, `writable` tells when. */
  get canSend(): boolean {
    if (this.#phase !== "open") return false;
    return (this.transport === "udp" || this.#credit > 0) && !this.#host.isFull;
  }

  /** Bytes that wait to be read, with what their packets cost. */
  get queued(): number {
    return this.#queued;
  }

  /** A DATA packet to be filled from {@link HEADER_BYTES} on, at most {@link MOST_PAYLOAD} bytes for TCP. */
  packet(length: number): Uint8Array<ArrayBuffer> {
    return emptyPacket(PacketType.data, this.id, length);
  }

  /** Sends a packet; only while `canSend`. */
  send(packet: Uint8Array<ArrayBuffer>): void {
    this.#credit -= 1;
    this.#host.send(this, packet);
  }

  /** What waits first; null if nothing does. */
  peek(): Uint8Array | null {
    return this.#queue[this.#first] ?? null;
  }

  /** Takes the first bytes of what `peek` gives; all of them, if there are none, is an empty datagram. */
  consume(bytes: number): void {
    const first = this.peek();
    if (first === null) return;
    const isAll = bytes >= first.byteLength;
    this.#queue[this.#first] = isAll ? TAKEN : first.subarray(bytes);
    if (isAll) this.#takeFirst();
    const freed = isAll ? bytes + PACKET_COST : bytes;
    this.#queued -= freed;
    this.#host.consumed(this, freed);
  }

  #takeFirst(): void {
    this.#first += 1;
    const isEmpty = this.#first === this.#queue.length;
    if (!isEmpty && (this.#first < LEAST_TAKEN || this.#first * 2 < this.#queue.length)) return;
    this.#queue.splice(0, this.#first);
    this.#first = 0;
  }

  /** Ends it from this side, at once; what is queued is dropped. */
  close(reason: number = CloseReason.voluntary): void {
    if (this.#phase === "over") {
      this.#drop();
      return;
    }
    this.#phase = "over";
    this.#drop();
    this.#host.close(this, reason);
  }

  #drop(): void {
    const bytes = this.#queued;
    this.#queue = [];
    this.#first = 0;
    this.#queued = 0;
    if (bytes > 0) this.#host.consumed(this, bytes);
  }

  // What its connection calls.

  /** It may be written to, with room for so many packets. */
  open(credit: number): void {
    if (this.#phase !== "opening") return;
    this.#phase = "open";
    this.#credit = credit;
    this.events.opened();
  }

  /** The server has room for so many packets. */
  replenish(credit: number): void {
    if (this.#phase === "opening") {
      this.open(credit);
    } else if (this.#phase === "open") {
      this.#credit = credit;
      if (this.canSend) this.events.writable();
    }
  }

  /** The WebSocket has room again. */
  proceed(): void {
    if (this.canSend) this.events.writable();
  }

  /** Data has come. */
  receive(data: Uint8Array): void {
    this.#hasReceived = true;
    this.#queue.push(data);
    this.#queued += data.byteLength + PACKET_COST;
    this.events.readable();
  }

  /** Ends it. What has ended badly has nothing more to be read. */
  end(end: StreamEnd): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    if (end !== "finished") this.#drop();
    this.events.ended(end);
  }

  /** Drops what is queued of one that has finished, which is a reset then. */
  discard(): void {
    this.#drop();
    this.events.ended("reset");
  }

  /** What a server's reason means to this stream. */
  endOf(reason: number): StreamEnd {
    if (this.#phase === "opening") return OPENING_ENDS[reason] ?? "refused";
    if (reason === CloseReason.voluntary) return "finished";
    // Servers without the better reasons say this of whatever ends, a connection that was never open included.
    if (reason === CloseReason.unknown) return this.#hasReceived ? "finished" : "reset";
    return "reset";
  }
}

/** What the reasons mean to one that was never open. */
const OPENING_ENDS: Readonly<Record<number, StreamEnd>> = {
  [CloseReason.invalid]: "prohibited",
  [CloseReason.unreachable]: "unreachable",
  [CloseReason.timeout]: "timeout",
  [CloseReason.refused]: "refused",
  [CloseReason.blocked]: "prohibited",
  [CloseReason.throttled]: "prohibited",
};

/** Where the payload of a packet is. */
export function payloadOf(packet: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return packet.subarray(HEADER_BYTES);
}
