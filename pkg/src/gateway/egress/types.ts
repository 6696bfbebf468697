/**
 * What a gateway's ways out are: plain objects that take flows.
 *
 * A guest's connection to an address that is nobody's in the network becomes a flow, which the first rule that fits gives to its egress. The guest's
 * SYN is not answered before the egress has decided: it dials first, and then accepts, refuses, or says what is unreachable.
 *
 * @module
 */

import type { SocketError } from "../../errors.js";
import type {
  Datagram,
  DurationLike,
  FlowEnds,
  FlowUnreachable,
  RateLike,
  Socket,
  SocketAddress,
} from "../../types.js";
import type { DnsAnswer } from "../options.js";

/** Who wants to talk to whom. */
export interface EgressFlowEnds extends FlowEnds {
  /**
   * The name that the guest has looked up for the address, in lower case; the address itself if it has looked up none. Dial this: an address of
   * the gateway's own pool means nothing to anybody else.
   */
  readonly hostname: string;
  /** Aborts when nobody waits for a decision any more, later when the connection or the flow has ended, and when the gateway closes. */
  readonly signal: AbortSignal;
  /** Whether the rules would give a flow to another host, at the same port unless another is named, to this egress as well. */
  leadsTo(hostname: string, port?: number): boolean;
}

/**
 * A TCP connection that a guest wants to open. Exactly one of `accept`, `refuse`, `unreachable` and `drop` is called, within 30 s. A decision after the
 * guest has given up throws, or rejects with, a {@link SocketError} (ECONNRESET).
 */
export interface EgressFlow extends EgressFlowEnds {
  /** Completes the guest's handshake. The socket is metered: it is held back where a guest's bandwidth is. */
  accept(options?: { allowHalfOpen?: boolean }): Promise<Socket>;
  /** The guest gets a reset: ECONNREFUSED there. */
  refuse(): void;
  /** The guest is told by ICMP why the flow leads nowhere. By default that the host does not answer. */
  unreachable(reason?: FlowUnreachable): void;
  /**
   * Nothing is answered, as by a host that is not there: the guest waits for its own time limit. Of more than 64 within 30 s, a guest is told that the oldest
   * one's host does not answer.
   */
  drop(): void;
}

/** The socket of a UDP flow: what the guest sends, and answers to it in the name of whom it has sent to. */
export interface EgressDatagrams {
  /** Whom the guest sends to. */
  readonly address: SocketAddress;
  /** The guest. */
  readonly remote: SocketAddress | null;
  /** The next datagram of the guest that is there, or null. */
  tryReceive(): Datagram | null;
  /** Called, never re-entrantly, after datagrams came. */
  onready: ((socket: EgressDatagrams) => void) | null;
  /** Told of ICMP errors about what was sent to the guest, such as that nobody listens there any more. */
  onerror: ((error: SocketError, target: SocketAddress) => void) | null;
  /**
   * Sends a datagram to the guest. Over the guest's bandwidth it is dropped, and counted. Throws a {@link SocketError} (EMSGSIZE, ENOBUFS), or ABORT_ERR once the
   * flow is closed.
   */
  send(data: Uint8Array): void;
  /** Ends the flow; what waits to be received is lost. */
  close(): Promise<void>;
  /** Resolves when the flow was closed. */
  readonly closed: Promise<void>;
}

/** The datagrams of a guest from one port to one port of a host outside. As {@link EgressFlow}, except where it says otherwise. */
export interface EgressUdpFlow extends EgressFlowEnds {
  /** Makes a socket of it, which has the datagrams that have come. It is closed when both ways were idle for too long, or earlier by the egress. */
  accept(): EgressDatagrams;
  /** The guest is told that nobody listens at the port. */
  refuse(): void;
  /** As {@link EgressFlow.unreachable}. */
  unreachable(reason?: FlowUnreachable): void;
  /** Nothing is answered, and the datagrams are lost. */
  drop(): void;
}

/** A way out of the network. Everything but the two kinds of flows is optional; what is missing is not carried, and told to be unreachable. */
export interface Egress {
  /** For people: in events and counters. */
  readonly name?: string;
  /** Called with each TCP flow. What it throws, or a rejection, refuses the flow if nothing was decided, and is an `error` event of the gateway. */
  tcp?(flow: EgressFlow): void | Promise<void>;
  /** The same for UDP. */
  udp?(flow: EgressUdpFlow): void | Promise<void>;
  /**
   * Looks up a name for a guest: addresses for `"A"` and `"AAAA"`, the data of records for other types. An empty list if there are none of the type, null if
   * there is no such name. Without it guests get addresses of 198.18.0.0/15, which stand for the names that they asked for.
   */
  resolve?(
    name: string,
    type: string,
  ): DnsAnswer | null | undefined | Promise<DnsAnswer | null | undefined>;
  /** Figures of its own. */
  counters?(): Record<string, number>;
  /** Ends everything; called by `gateway.close()`. */
  close?(): void | Promise<void>;
}

/** Which flows go out by which egress. All that is given must fit; a rule without conditions fits all flows. */
export interface EgressRule {
  /**
   * Names such as `"api.test"`, `"*.example.com"` (all names below it, at any depth), `"*"`; addresses and networks such as `"192.0.2.7"` or `"10.0.0.0/8"`. One
   * of them must fit. A name fits a flow whose guest has looked that name up.
   */
  host?: string | readonly string[];
  /** Ports such as `443` or `"8000-8999"`. One of them must fit. */
  port?: number | string | readonly (number | string)[];
  /** By default both. */
  protocol?: "tcp" | "udp";
  /** Where they go. */
  egress: Egress;
}

/** What one guest may send (`up`) and receive (`down`) through all egresses together. What is not given is not limited. */
export interface Bandwidth {
  /** What the guest sends. */
  up?: RateLike;
  /** What it receives. */
  down?: RateLike;
}

/** Bandwidth of the guests: for each what stands at the top, unless it is named in `guests`. */
export interface BandwidthOptions extends Bandwidth {
  /** By MAC or IP address. */
  guests?: Readonly<Record<string, Bandwidth>>;
}

/** How many flows there may be, and for how long. */
export interface FlowLimits {
  /** Open flows of one guest; more are refused. By default 512. */
  perGuest?: number;
  /** Open flows of all guests; more are refused. By default 2048. */
  total?: number;
  /** UDP flows among them; beyond, the one that was idle for longest is closed, of the guest that has most. By default 256. */
  udp?: number;
  /** How long a UDP flow may be idle. By default a minute; 10 s for port 53. */
  udpTimeout?: DurationLike;
}

/** A flow that is open, or was. */
export interface FlowRecord {
  /** What it carries. */
  protocol: "tcp" | "udp";
  /** What the guest wanted to reach: a name if it had looked up one, else the address. */
  hostname: string;
  /** The address and port that it sent to. */
  local: SocketAddress;
  /** The guest. */
  remote: SocketAddress;
  /** The egress's name. */
  egress: string;
  /** Payload from and to the guest. */
  bytesUp: number;
  /** Payload to the guest. */
  bytesDown: number;
  /** Milliseconds since it was decided on, or, of a closed one, until its end. */
  duration: number;
}

/** What has happened to a flow. */
export interface FlowChange {
  /** What has become of it. */
  kind: "opened" | "refused" | "closed";
  /** As it is after that. */
  flow: FlowRecord;
  /** Why it was refused, or ended other than in good order. */
  reason: string | null;
}
