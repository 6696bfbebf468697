/** A guest's UDP flow as an egress has it: counted, and held to the guest's bandwidth. */

import { guarded } from "../../engine_core.js";
import type { SocketError } from "../../errors.js";
import type { Datagram, SocketAddress, UdpSocket } from "../../types.js";
import type { GuestBuckets } from "./bandwidth.js";
import type { Traffic } from "./flow_record.js";
import type { EgressDatagrams } from "./types.js";

/** See the module's comment. */
export class FlowDatagrams implements EgressDatagrams {
  readonly address: SocketAddress;
  readonly remote: SocketAddress | null;
  readonly closed: Promise<void>;
  onready: ((socket: EgressDatagrams) => void) | null = null;
  onerror: ((error: SocketError, target: SocketAddress) => void) | null = null;
  readonly #socket: UdpSocket;
  readonly #traffic: Traffic;
  readonly #buckets: GuestBuckets;
  readonly #active: () => void;
  readonly #wake = (): void => this.#ready();

  /** `active` is called with each datagram. */
  constructor(socket: UdpSocket, traffic: Traffic, buckets: GuestBuckets, active: () => void) {
    this.#socket = socket;
    this.#traffic = traffic;
    this.#buckets = buckets;
    this.#active = active;
    this.address = socket.address;
    this.remote = socket.remote;
    this.closed = socket.closed;
    socket.onready = this.#wake;
    socket.onerror = (error, target) => this.onerror?.(error, target);
    socket.closed.then(() => buckets.up?.forget(this.#wake));
  }

  #ready(): void {
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  tryReceive(): Datagram | null {
    const { up } = this.#buckets;
    if (up !== null && !up.grantsAny()) {
      // Datagrams wait in the stack's queue, which is bounded.
      up.wait(this.#wake);
      return null;
    }
    const datagram = this.#socket.tryReceive();
    if (datagram === null) return null;
    this.#active();
    this.#traffic.up += datagram.data.byteLength;
    up?.spend(datagram.data.byteLength);
    return datagram;
  }

  send(data: Uint8Array): void {
    const { down } = this.#buckets;
    this.#active();
    if (down !== null && !down.grantsAny()) {
      this.#traffic.dropped += 1;
      return;
    }
    this.#socket.send(data as Uint8Array<ArrayBuffer>);
    this.#traffic.down += data.byteLength;
    down?.spend(data.byteLength);
  }

  close(): Promise<void> {
    return this.#socket.close();
  }
}
