/** Between a guest's flow and a Wisp stream: one relay for each. */

import { holdProgram } from "../../clock.js";
import type { Clock, Socket } from "../../types.js";
import type { EgressDatagrams, EgressFlow, EgressUdpFlow } from "./types.js";
import type { WispClient } from "./wisp_client.js";
import { HEADER_BYTES, type WispTransport } from "./wisp_packets.js";
import {
  MOST_PAYLOAD,
  payloadOf,
  type StreamEnd,
  type StreamEvents,
  type WispStream,
} from "./wisp_stream.js";

/** What every relay does: it asks for a stream, and lets go of it when the flow is over. */
abstract class Relay<F extends EgressFlow | EgressUdpFlow> implements StreamEvents {
  protected readonly flow: F;
  /** Null while there is none, and afterwards. */
  protected stream: WispStream | null = null;
  readonly #onAbort = () => this.abandon();

  constructor(flow: F, client: WispClient, transport: WispTransport) {
    this.flow = flow;
    const { hostname, local, signal } = flow;
    if (signal.aborted) return;
    this.stream = client.open({ transport, hostname, port: local.port }, this);
    if (this.stream === null) this.decide("offline");
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Answers a guest whose flow leads nowhere, unless it has given up before. */
  protected decide(end: StreamEnd): void {
    const { flow } = this;
    try {
      if (end === "unreachable") flow.unreachable("host");
      else if (end === "prohibited") flow.unreachable("prohibited");
      else if (end === "offline") flow.unreachable("network");
      else if (end === "timeout") flow.drop();
      else flow.refuse();
    } catch {
      // Nobody waits for the answer.
    }
  }

  /** The stream is over, for both. */
  protected letGo(): void {
    this.flow.signal.removeEventListener("abort", this.#onAbort);
    this.stream = null;
  }

  /** The guest is gone, or the gateway ends. */
  protected abandon(): void {
    this.stream?.close();
    this.letGo();
  }

  abstract opened(): void;
  abstract readable(): void;
  abstract writable(): void;
  abstract ended(end: StreamEnd): void;
}

/** A guest's TCP connection. Bytes are read from it only while the server has room for them, so that its window closes when there is none. */
export class TcpRelay extends Relay<EgressFlow> {
  readonly #clock: Clock;
  /** How long the server may be silent after the guest's FIN, in milliseconds: Wisp has nothing to tell it of that. */
  readonly #patience: number;
  #socket: Socket | null = null;
  #isAccepting = false;
  #isFinished = false;
  #guestHasEnded = false;
  #timer: unknown = null;

  constructor(flow: EgressFlow, client: WispClient, clock: Clock, patience: number) {
    super(flow, client, "tcp");
    this.#clock = clock;
    this.#patience = patience;
  }

  opened(): void {
    this.#isAccepting = true;
    this.flow.accept({ allowHalfOpen: true }).then(
      (socket) => this.#start(socket),
      () => this.abandon(),
    );
  }

  #start(socket: Socket): void {
    if (this.stream === null) {
      socket.abort();
      return;
    }
    this.#socket = socket;
    socket.closed.then(
      () => this.abandon(),
      () => this.abandon(),
    );
    socket.onready = () => this.#move();
    this.#move();
  }

  #move(): void {
    try {
      this.#down();
      this.#up();
    } catch {
      // The connection has ended, which `closed` tells as well.
      this.abandon();
    }
  }

  readable(): void {
    if (this.#guestHasEnded) this.#wait();
    if (this.#socket !== null) this.#move();
  }

  writable(): void {
    if (this.#socket !== null) this.#move();
  }

  /** From the server to the guest. */
  #down(): void {
    for (;;) {
      const chunk = this.stream?.peek();
      if (this.#socket === null || chunk === undefined || chunk === null) break;
      const taken = this.#socket.tryWrite(chunk);
      this.stream?.consume(taken);
      if (taken < chunk.byteLength) return;
    }
    if (this.#isFinished) this.#close();
  }

  /** From the guest to the server. */
  #up(): void {
    while (!this.#guestHasEnded && this.#socket !== null && this.stream?.canSend) {
      // At least a byte is asked for: the refusal is what makes the socket tell of the next.
      const length = Math.min(MOST_PAYLOAD, Math.max(1, this.#socket.readableBytes));
      const packet = this.stream.packet(length);
      const count = this.#socket.tryRead(payloadOf(packet));
      if (count < 0) return;
      if (count === 0) {
        this.#guestHasEnded = true;
        this.#wait();
      } else {
        this.stream.send(count === length ? packet : packet.subarray(0, HEADER_BYTES + count));
      }
    }
  }

  /** Gives the server time for what it has still to send. */
  #wait(): void {
    this.#stopWaiting();
    this.#timer = this.#clock.setTimer(() => {
      // What has come is the guest's, however slowly it takes it.
      if (this.stream !== null && this.stream.peek() !== null) this.#wait();
      else this.#close();
    }, this.#patience);
    holdProgram(this.#timer, false);
  }

  #stopWaiting(): void {
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
    this.#timer = null;
  }

  /** Ends both, in good order. */
  #close(): void {
    const socket = this.#socket;
    this.abandon();
    socket?.close().catch(() => {});
  }

  ended(end: StreamEnd): void {
    if (end === "finished" && this.#isAccepting) {
      this.#isFinished = true;
      if (this.#socket !== null) this.#move();
      return;
    }
    const socket = this.#socket;
    if (!this.#isAccepting) this.decide(end);
    this.letGo();
    socket?.abort();
  }

  protected override letGo(): void {
    super.letGo();
    this.#stopWaiting();
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) socket.onready = null;
  }
}

/** A guest's datagrams to one port of one host. What does not fit anywhere is dropped, as in any network. */
export class UdpRelay extends Relay<EgressUdpFlow> {
  readonly #dropped: () => void;
  #socket: EgressDatagrams | null = null;

  constructor(flow: EgressUdpFlow, client: WispClient, dropped: () => void) {
    super(flow, client, "udp");
    this.#dropped = dropped;
  }

  opened(): void {
    try {
      const socket = this.flow.accept();
      this.#socket = socket;
      socket.closed.then(() => this.abandon());
      socket.onready = () => this.writable();
      this.writable();
    } catch {
      this.decide("prohibited");
      this.abandon();
    }
  }

  writable(): void {
    for (;;) {
      const datagram = this.#socket?.tryReceive();
      if (datagram === undefined || datagram === null) return;
      if (this.stream?.canSend !== true) {
        this.#dropped();
        continue;
      }
      const packet = this.stream.packet(datagram.data.byteLength);
      payloadOf(packet).set(datagram.data);
      this.stream.send(packet);
    }
  }

  readable(): void {
    const data = this.stream?.peek();
    if (data === undefined || data === null) return;
    this.stream?.consume(data.byteLength);
    try {
      this.#socket?.send(data as Uint8Array<ArrayBuffer>);
    } catch {
      this.#dropped();
    }
  }

  ended(end: StreamEnd): void {
    const socket = this.#socket;
    if (socket === null) this.decide(end);
    this.letGo();
    socket?.close();
  }

  protected override letGo(): void {
    super.letGo();
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) socket.onready = null;
  }

  protected override abandon(): void {
    const socket = this.#socket;
    super.abandon();
    socket?.close();
  }
}
