/** One flow of a guest, from the question what becomes of it to its end. */

import * as check from "../../arguments.js";
import { holdProgram } from "../../clock.js";
import { SocketError } from "../../errors.js";
import type {
  Clock,
  Flow,
  FlowUnreachable,
  Nic,
  Socket,
  SocketAddress,
  UdpFlow,
} from "../../types.js";
import type { HeadParser } from "../http/head.js";
import type { Securing } from "../https.js";
import { FlowDatagrams } from "./flow_datagrams.js";
import type { Traffic } from "./flow_record.js";
import { FlowSocket } from "./flow_socket.js";
import type { Guest } from "./guests.js";
import type { EgressDatagrams, EgressFlow, EgressUdpFlow, FlowRecord } from "./types.js";

/** Flows of a guest that the stack keeps without an answer, at most: they take the places of those that wait for a decision. */
const MOST_UNANSWERED = 64;

/** Where a flow leads, and who is told what becomes of it. */
export interface FlowPlace {
  readonly guest: Guest;
  readonly hostname: string;
  readonly egress: string;
  readonly clock: Clock;
  /** Parses the heads of HTTP messages. */
  readonly parser: HeadParser;
  /** Ends guests' TLS, where the gateway has an authority. */
  readonly secured: Securing | null;
  leadsTo(hostname: string, port: number): boolean;
  opened(flow: GuestFlow): void;
  /** It was never open. */
  refused(flow: GuestFlow, reason: string): void;
  /** It was open. */
  closed(flow: GuestFlow, reason: string | null): void;
}

/** What {@link TcpGuestFlow} and {@link UdpGuestFlow} have in common. */
export abstract class GuestFlow {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  readonly nic: Nic;
  readonly hostname: string;
  abstract readonly protocol: "tcp" | "udp";
  /** When something passed last. */
  active: number;
  /** @internal */
  readonly place: FlowPlace;
  protected readonly traffic: Traffic = { up: 0, down: 0, dropped: 0 };
  readonly #pending: Flow | UdpFlow;
  #state: "asked" | "decided" | "open" | "over" = "asked";
  #began: number;
  #controller: AbortController | null = null;
  #patience: unknown = null;

  constructor(pending: Flow | UdpFlow, place: FlowPlace) {
    this.#pending = pending;
    this.place = place;
    this.local = pending.local;
    this.remote = pending.remote;
    this.nic = pending.nic;
    this.hostname = place.hostname;
    this.active = place.clock.now();
    this.#began = this.active;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#state === "over") this.#abort("the flow is over");
    }
    return this.#controller.signal;
  }

  leadsTo(hostname: string, port: number = this.local.port): boolean {
    return this.place.leadsTo(
      check.string("hostname", hostname).toLowerCase().replace(/\.$/, ""),
      check.port("port", port),
    );
  }

  refuse(): void {
    this.#end("refused", () => this.#pending.refuse());
  }

  unreachable(reason: FlowUnreachable = "host"): void {
    this.#end(`${reason} unreachable`, () => this.#pending.unreachable(reason));
  }

  drop(): void {
    this.#end("not answered", () => {
      const { unanswered } = this.place.guest;
      unanswered.push(() => this.#pending.unreachable("host"));
      if (unanswered.length <= MOST_UNANSWERED) return;
      try {
        unanswered.shift()?.();
      } catch {
        // The stack has forgotten it.
      }
    });
  }

  /** Has it refused if nobody has decided on it in so many milliseconds. */
  await(milliseconds: number): void {
    if (this.#state !== "asked") return;
    const { clock } = this.place;
    this.#patience = clock.setTimer(() => this.giveUp("not decided in time"), milliseconds);
    holdProgram(this.#patience, false);
  }

  /** Refuses it, for a reason of the gateway's, if nothing was decided. */
  giveUp(reason: string): void {
    if (this.#state !== "asked") return;
    try {
      this.#pending.refuse();
    } catch {
      // The guest has given up before.
    }
    this.over(reason);
  }

  /** It has ended, or never began. */
  over(reason: string | null): void {
    if (this.#state === "over") return;
    const wasOpen = this.#state === "open";
    this.place.clock.clearTimer(this.#patience);
    this.#state = "over";
    this.#abort(reason ?? "the flow has ended");
    if (wasOpen) this.place.closed(this, reason);
    else this.place.refused(this, reason ?? "not decided");
  }

  record(): FlowRecord {
    return {
      protocol: this.protocol,
      hostname: this.hostname,
      local: this.local,
      remote: this.remote,
      egress: this.place.egress,
      bytesUp: this.traffic.up,
      bytesDown: this.traffic.down,
      duration: this.place.clock.now() - this.#began,
    };
  }

  /** Datagrams that were dropped. */
  get dropped(): number {
    return this.traffic.dropped;
  }

  /** Whether nobody has decided on it. */
  get isAsked(): boolean {
    return this.#state === "asked";
  }

  /** Ends the flow at once; called when the gateway closes, or has no room. */
  abstract end(reason: string): void;

  protected decide(): void {
    if (this.#state === "over") {
      const text = `${check.hostPort(this.hostname, this.local.port)}: nobody waits for this flow any more`;
      throw new SocketError("ECONNRESET", text);
    }
    if (this.#state !== "asked") throw new TypeError("it was decided on this flow before");
    this.#state = "decided";
    this.place.clock.clearTimer(this.#patience);
  }

  /** False if it was over before it could open. */
  protected begin(): boolean {
    if (this.#state !== "decided") return false;
    this.#state = "open";
    this.#began = this.place.clock.now();
    this.place.opened(this);
    return true;
  }

  #end(reason: string, answer: () => void): void {
    this.decide();
    try {
      answer();
    } finally {
      this.over(reason);
    }
  }

  #abort(reason: string): void {
    this.#controller?.abort(new SocketError("ABORT_ERR", reason));
  }
}

/** See {@link EgressFlow}. */
export class TcpGuestFlow extends GuestFlow implements EgressFlow {
  readonly protocol = "tcp";
  readonly #flow: Flow;
  #socket: Socket | null = null;

  constructor(flow: Flow, place: FlowPlace) {
    super(flow, place);
    this.#flow = flow;
  }

  async accept(options?: { allowHalfOpen?: boolean }): Promise<Socket> {
    const { allowHalfOpen: given } = check.options("options", options);
    const allowHalfOpen = check.boolean("options.allowHalfOpen", given, false);
    this.decide();
    let socket: Socket;
    try {
      socket = await this.#flow.accept({ allowHalfOpen: true });
    } catch (error) {
      this.over(messageOf(error));
      throw error;
    }
    const metered = new FlowSocket(socket, this.traffic, this.place.guest.buckets, allowHalfOpen);
    this.#socket = socket;
    if (!this.begin()) {
      socket.abort();
      throw new SocketError("ABORT_ERR", "the flow was ended");
    }
    socket.closed.then(
      () => this.over(null),
      (error: unknown) => this.over(messageOf(error)),
    );
    return metered;
  }

  end(reason: string): void {
    this.giveUp(reason);
    this.#socket?.abort(new Error(reason));
    this.over(reason);
  }
}

/** See {@link EgressUdpFlow}. */
export class UdpGuestFlow extends GuestFlow implements EgressUdpFlow {
  readonly protocol = "udp";
  readonly #flow: UdpFlow;
  #socket: EgressDatagrams | null = null;

  constructor(flow: UdpFlow, place: FlowPlace) {
    super(flow, place);
    this.#flow = flow;
  }

  accept(): EgressDatagrams {
    this.decide();
    const { traffic, place } = this;
    try {
      const socket = this.#flow.accept();
      this.#socket = new FlowDatagrams(socket, traffic, place.guest.buckets, () => {
        this.active = place.clock.now();
      });
    } catch (error) {
      this.over(messageOf(error));
      throw error;
    }
    this.begin();
    void this.#socket.closed.then(() => this.over(null));
    return this.#socket;
  }

  end(reason: string): void {
    this.giveUp(reason);
    this.over(reason);
    void this.#socket?.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
