/**
 * What a host that carries packets for others is told and tells. Addresses are strings in their usual notation, times are
 * milliseconds.
 *
 * @module
 */

import type { DurationLike, Nic, Socket, SocketAddress, UdpSocket } from "./types.js";
import type { TcpOptions } from "./types_tcp.js";

/** How a route is written. */
export interface RouteOptions {
  /** Destination, such as `"10.1.0.0/16"` or `"default"` (of `via`'s family, else IPv4). */
  to: string;
  /** The next hop; without one, the hosts of the destination are neighbours on `nic`. */
  via?: string;
  /** The interface through which it leads; needed without `via`, and where a link-local `via` could be on several links. */
  nic?: Nic;
  /** Of several routes to one destination, the one with the lowest metric is used. By default 0. */
  metric?: number;
}

/** A route as the stack has it. */
export interface RouteInfo {
  /** The destination, such as `"10.1.0.0/16"`. */
  to: string;
  /** Null: the destination's hosts are neighbours. */
  via: string | null;
  /** The name of the interface. */
  nic: string;
  /** Of several routes to one destination, the one with the lowest is used. */
  metric: number;
  /** Decides between equal metrics (RFC 4191). */
  preference: "low" | "medium" | "high";
  /** Who looks after it; `connected` is the network of an address of the stack's own. */
  origin: "connected" | "static" | "advertised" | "redirected" | "dhcp";
  /** Milliseconds since 1970; null for a route without end. */
  expires: number | null;
}

/** What an interface does with packets that are for others. They are forwarded between two interfaces that both do. */
export interface ForwardingOptions {
  /** Whether IPv4 packets are forwarded. */
  ipv4?: boolean;
  /** Whether IPv6 packets are. */
  ipv6?: boolean;
  /**
   * How the sources of packets that come in are checked (RFC 3704): `"strict"`, the default, wants the route to them to lead through the
   * interface, `"loose"` any route.
   */
  reversePath?: "off" | "loose" | "strict";
  /** Tells hosts on the link of a better first hop. */
  redirects?: boolean;
}

/** {@link ForwardingOptions} with everything decided. */
export type ForwardingSettings = Required<ForwardingOptions>;

/** How the IPv4 addresses of hosts behind this one are translated (RFC 4787, RFC 5382, RFC 5508). IPv6 never is. */
export interface NatOptions {
  /** The interface whose first IPv4 address stands for all hosts behind the others. */
  outside: Nic;
  /**
   * Whose packets come in by a mapping: by default only those of an address and port that the inside host has sent to; `"none"` lets
   * everybody's in.
   */
  filtering?: "addressAndPort" | "none";
  /** Flows that one inside host may have at once. By default a quarter of `limits.natFlows`. */
  flowsPerHost?: number;
  /** How long a UDP flow may be idle. By default five minutes. */
  udpTimeout?: DurationLike;
  /** How long an ICMP query waits for answers. By default a minute. */
  icmpTimeout?: DurationLike;
  /** How long an open TCP connection may be idle. By default two hours and four minutes. */
  tcpTimeout?: DurationLike;
  /** The same of one that is being opened, or is closed. By default four minutes. */
  tcpTransitoryTimeout?: DurationLike;
}

/** A flow that is translated. The ports of `"icmp"` are identifiers of queries. */
export interface NatFlow {
  /** What it carries. */
  protocol: "tcp" | "udp" | "icmp";
  /** The host behind this one. */
  inside: SocketAddress;
  /** What the remote host sees of it. */
  outside: SocketAddress;
  /** Whom it talks to. */
  remote: SocketAddress;
  /** A TCP connection between its handshake and its end. */
  established: boolean;
  /** Milliseconds without a packet, to about a second. */
  idle: number;
}

/** A port of the outside address that leads to a host inside. */
export interface PortForward {
  /** Whose port it is. */
  protocol: "tcp" | "udp";
  /** The port outside. */
  port: number;
  /** Where it leads, such as `"10.0.1.15:80"`. */
  to: string;
}

/** A prefix that hosts are told of. */
export interface AdvertisedPrefix {
  /** Such as `"fd00::/64"`. */
  prefix: string;
  /** How long it holds: infinite for ever. By default 90 minutes (RFC 9096). */
  valid?: DurationLike;
  /** How long its addresses are used for what begins. By default 45 minutes. */
  preferred?: DurationLike;
  /** Hosts may make themselves addresses of it, which takes a length of 64 (RFC 4862). By default true if it has that length. */
  autonomous?: boolean;
  /** Its addresses are neighbours. By default true. */
  onLink?: boolean;
}

/** A network that hosts reach through this router even if it is not their default router (RFC 4191). */
export interface AdvertisedRoute {
  /** Such as `"fd01::/48"`. */
  to: string;
  /** How long it holds: infinite for ever. By default that of the router. */
  lifetime?: DurationLike;
  /** How it compares with other routes there. By default `"medium"`. */
  preference?: "low" | "medium" | "high";
}

/** What a router tells the hosts of a link (RFC 4861 §6.2.1, RFC 8106). */
export interface AdvertiseOptions {
  /** By default the networks of the interface's own addresses. */
  prefixes?: readonly (string | AdvertisedPrefix)[];
  /** Networks that are reached through this router besides. By default none. */
  routes?: readonly AdvertisedRoute[];
  /** How long hosts may use this as their default router, 0 for not at all. By default three times the interval. */
  routerLifetime?: DurationLike;
  /** How it compares with other default routers. By default `"medium"`. */
  preference?: "low" | "medium" | "high";
  /** IPv6 addresses of name servers. By default none. */
  dnsServers?: readonly string[];
  /** Domains that complete short names. By default none. */
  searchDomains?: readonly string[];
  /** By default that of the interface; null tells none. */
  mtu?: number | null;
  /** Addresses come from a DHCPv6 server. By default false. */
  managed?: boolean;
  /** Other settings come from a DHCPv6 server. By default false. */
  otherConfig?: boolean;
  /** Hop limit for what hosts send. By default 64. */
  hopLimit?: number;
  /** The longest time between two advertisements, 4 s to 30 min. By default ten minutes. */
  interval?: DurationLike;
}

/** Why a flow leads nowhere, for its peer to be told by ICMP. */
export type FlowUnreachable = "network" | "host" | "port" | "prohibited";

/** Who wants to talk to an address that is nobody's on this host. */
export interface FlowEnds {
  /** Whom the peer wants to reach. */
  readonly local: SocketAddress;
  /** The peer. */
  readonly remote: SocketAddress;
  /** The interface that it came in by. */
  readonly nic: Nic;
}

/**
 * A TCP connection that somebody wants to open to an address that is nobody's on this host, and whose SYN is not answered before you
 * have decided. A decision after the peer has given up throws a {@link SocketError} (ECONNRESET).
 */
export interface Flow extends FlowEnds {
  /** Takes the connection in the name of `local`. Rejects with ECONNRESET or ETIMEDOUT if the peer does not complete the handshake. */
  accept(options?: { allowHalfOpen?: boolean }): Promise<Socket>;
  /** Answers with a reset, as a host does on whose port nobody listens. */
  refuse(): void;
  /** Tells why it leads nowhere. By default the host does not answer. */
  unreachable(reason?: FlowUnreachable): void;
}

/**
 * UDP datagrams from one port to one port of an address that is nobody's on this host. They wait until you have decided; those that do not fit into
 * 66 KiB are dropped.
 */
export interface UdpFlow extends FlowEnds {
  /**
   * Makes a socket of the flow, with its addresses, connected to the peer, and with the datagrams that have come. What the peer sends to anybody
   * else is another flow. Datagrams have no end: close the socket when the flow has been idle for long enough. Throws ENOBUFS if no socket is left;
   * the flow then stays pending.
   */
  accept(): UdpSocket;
  /** Answers as a host does on whose port nobody listens: that the port is unreachable. */
  refuse(): void;
  /** Tells why it leads nowhere. By default the host does not answer. */
  unreachable(reason?: FlowUnreachable): void;
}

/** How a stack stands in for everybody whom the hosts on a link want to reach. */
export interface AcceptAnyOptions {
  /**
   * Called with each flow, once. What it throws, or a rejection, refuses the flow if nothing was decided, and is reported as an uncaught
   * error.
   */
  onflow: (flow: Flow) => void | Promise<void>;
  /** The same for each flow of UDP datagrams. Without it they are not taken. */
  onudpflow?: ((flow: UdpFlow) => void | Promise<void>) | null;
  /** Flows of one source, TCP's and UDP's, that may wait for a decision. By default 64. */
  perSource?: number;
  /** How long a flow may wait for a decision. By default 30 s. */
  timeout?: DurationLike;
  /** Connections that may be between decision and `accept`'s result. By default 511. */
  backlog?: number;
  /** Settings of the accepted connections, where they are not the stack's. */
  tcp?: TcpOptions;
}

/** Takes flows until it is closed. */
export interface AnyAddress {
  /** Takes no more flows. Connections that were accepted go on; what is pending is forgotten. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}
