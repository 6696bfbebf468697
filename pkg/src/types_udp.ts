/**
 * UDP sockets and what passes through them. Addresses are strings in their usual notation.
 *
 * @module
 */

import type { SocketError } from "./errors.js";
import type { BufferSource } from "./platform.js";
import type { Nic, SocketAddress } from "./types.js";

/** A datagram that arrived. */
export interface Datagram {
  /** The payload. */
  data: Uint8Array<ArrayBuffer>;
  /** Who has sent it. */
  remoteAddress: string;
  /** The sender's port. */
  remotePort: number;
  /** The address it was sent to; a broadcast or multicast address is possible. */
  localAddress: string;
  /** The interface it came in by. */
  nic: Nic | null;
  /** The sender's MAC address. */
  mac: string | null;
  /** TTL or hop limit that it came with. */
  ttl: number;
  /** TOS or traffic class that it came with. */
  trafficClass: number;
}

/** Where a datagram goes. A {@link Datagram} that came is one too: the answer goes back. */
export interface DatagramTarget {
  /** Whom it is for. */
  remoteAddress: string;
  /** The port there. */
  remotePort: number;
  /** Source address; by default the stack chooses. */
  localAddress?: string;
  /** Needed for `255.255.255.255` and link-local addresses when the stack has several interfaces. */
  nic?: Nic | null;
  /** Destination MAC address, which skips neighbour resolution (a DHCP server needs this). */
  mac?: string | null;
}

/** Settings of a UDP socket, which count for what is sent from then on. */
export interface UdpSettings {
  /** TTL or hop limit of datagrams to one host, null for the stack's, which is 64. By default null. */
  ttl: number | null;
  /** TTL or hop limit of datagrams to groups. By default 1, so that they stay on the link. */
  multicastTtl: number | null;
  /** DSCP and ECN: IPv4's TOS, IPv6's traffic class. By default 0. */
  trafficClass: number;
  /** Whether broadcasts may be sent. By default true. */
  broadcast: boolean;
  /** Whether what is longer than the path takes is an EMSGSIZE; otherwise it is sent in fragments. By default false. */
  dontFragment: boolean;
  /** Whether datagrams over IPv4 have a checksum; over IPv6 all have. By default true. */
  checksum: boolean;
  /** Whether up to 16 sockets that all want it may share an address and port. Counts when the socket is bound. By default false. */
  sharePort: boolean;
  /** Whether datagrams to groups reach this host's own sockets too. By default true. */
  multicastLoop: boolean;
}

/** How a UDP socket is made. */
export interface UdpOptions extends Partial<UdpSettings> {
  /** 0 or absent lets the stack choose. */
  port?: number;
  /** One of the stack's addresses; by default all of them, both families. */
  hostname?: string;
}

/** From whom a socket wants what comes to a group: one or the other. */
export interface GroupSources {
  /** Addresses whose datagrams are wanted, ten at most. */
  only?: readonly string[];
  /** Addresses whose datagrams are not, ten at most. */
  except?: readonly string[];
}

/** An ICMP error, or one of ICMPv6 where the addresses are IPv6's. */
export interface IcmpReport {
  /** Who has sent it: a router on the way, or the host itself. */
  reporter: string;
  /** Type of the message, as in RFC 792 and RFC 4443. */
  type: number;
  /** Code of the message, in the same way. */
  code: number;
}

/** A UDP socket: an async iterable of datagrams. */
export interface UdpSocket extends AsyncIterable<Datagram> {
  /** What it is bound to; the address is `"::"` when it is all. */
  readonly address: SocketAddress;
  /** Datagrams as a stream. Those that nobody reads wait in a bounded queue of the stack, which drops the newest. */
  readonly readable: ReadableStream<Datagram>;
  /**
   * Sends one datagram, to the peer that the socket is connected to where nothing else is said. Throws a {@link SocketError}
   * (EMSGSIZE, ENOBUFS, ENETUNREACH, EACCES).
   */
  send(data: BufferSource, to?: DatagramTarget): void;
  /**
   * Connects the socket, by an IP address and a port: from now on it receives only what this peer sends, and errors about what was sent
   * there. Null receives from all again. Throws a {@link SocketError} (ENETUNREACH).
   */
  connect(peer: SocketAddress | null): void;
  /** The peer that the socket is connected to. */
  readonly remote: SocketAddress | null;
  /** Changes those settings that are given. */
  setOptions(settings: Partial<UdpSettings>): void;
  /** The settings as they are; null once the socket is closed. */
  settings(): UdpSettings | null;
  /**
   * Listens to a multicast group on an interface, from all sources, from some only, or from all but some; routers are told (IGMP, MLD). Again
   * with others, these count. Closing the socket leaves its groups.
   */
  joinGroup(group: string, nic: Nic, sources?: GroupSources): void;
  /** Takes {@link joinGroup} back. */
  leaveGroup(group: string, nic: Nic): void;
  /** The next datagram; rejects with ABORT_ERR when the socket closes. */
  receive(options?: { signal?: AbortSignal }): Promise<Datagram>;
  /** The next datagram that is already there, or null. */
  tryReceive(): Datagram | null;
  /** Called after datagrams arrived. */
  onready: ((socket: UdpSocket) => void) | null;
  /** Told of ICMP errors about datagrams sent from here: what they mean, where the datagram went, and what the message was. */
  onerror: ((error: SocketError, target: SocketAddress, report: IcmpReport) => void) | null;
  /** Closes the socket; what waits to be received is lost. */
  close(): Promise<void>;
  /** Resolves when it was closed. */
  readonly closed: Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
