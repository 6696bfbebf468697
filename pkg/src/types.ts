/// <reference lib="esnext.disposable" preserve="true" />

/**
 * The public types. Addresses are strings in their usual notation, times are milliseconds, sizes are bytes unless a
 * comment says otherwise. Everything named here is created by a function or a method of the package, never by `new`.
 *
 * @module
 */

import type { SocketError } from "./errors.js";
import type { BufferSource, CompiledModule } from "./platform.js";
import type { Mdns, MdnsOptions } from "./types_mdns.js";
import type {
  AcceptAnyOptions,
  AdvertiseOptions,
  AnyAddress,
  ForwardingOptions,
  ForwardingSettings,
  NatFlow,
  NatOptions,
  PortForward,
  RouteInfo,
  RouteOptions,
} from "./types_routing.js";
import type { ConnectionInfo, TcpOptions, TcpSettings, Trace } from "./types_tcp.js";
import type { TlsInfo, TlsOptions, TlsServerOptions } from "./types_tls.js";
import type { UdpOptions, UdpSocket } from "./types_udp.js";

export type { BufferSource, ChannelPort, CompiledModule, KeyPair } from "./platform.js";
export type * from "./types_mdns.js";
export type * from "./types_network.js";
export type * from "./types_ports.js";
export type * from "./types_routing.js";
export type * from "./types_tcp.js";
export type * from "./types_tls.js";
export type * from "./types_udp.js";

/** A span of time: milliseconds, or a number with a unit: `"250us"`, `"40ms"`, `"2s"`, `"1m"`, `"1h"`. */
export type DurationLike = number | string;

/** A rate: bits per second, or a number with a unit: `"64kbit"`, `"10mbit"`, `"1gbit"`. */
export type RateLike = number | string;

/** A URL or path of the module, a response that carries it, its bytes, or the compiled module. */
export type WasmSource =
  | string
  | URL
  | Response
  | Promise<Response>
  | BufferSource
  | CompiledModule;

/** What an engine takes time from. Give your own to run a network in virtual time. */
export interface Clock {
  /** Milliseconds since any fixed origin; a value that goes backwards counts as no progress. */
  now(): number;
  /** Calls `callback` once, not before `delay` milliseconds, which may be a fraction, have passed. */
  setTimer(callback: () => void, delay: number): unknown;
  /** Forgets a timer that has not fired. */
  clearTimer(timer: unknown): void;
  /** Milliseconds since 1970: for captures, ends of leases and time servers. By default `Date.now()`. */
  date?(): number;
  /**
   * Calls `work` once, as soon as the engine may do what calls have given it to do. By default that is a microtask after them, and at most 8 ms
   * in a turn of the event loop, which depends on how fast the machine is; with `defer` all that is due is done at once, whatever it takes. Sockets of such
   * an engine that nobody holds any more stay open: when they are collected depends on the machine, too.
   */
  defer?(work: () => void): void;
  /**
   * What the engine goes on with when something has come that takes none of this time, such as a module that is loaded: a virtual clock stands still until then. By default
   * the promise itself.
   */
  hold?<T>(promise: Promise<T>): Promise<T>;
}

/** How an engine is made. */
export interface EngineOptions {
  /** Where `ethertab_bg.wasm` is, the engine; by default next to this package's own files. */
  wasm?: WasmSource;
  /**
   * Where `services_bg.wasm` is, the DHCP, DNS and HTTP of gateways and what captures are read with; loaded by the first
   * `createGateway` with this engine, or by the first look into a capture. By default next to this package's own files.
   */
  servicesWasm?: WasmSource;
  /** Where `tls_bg.wasm` is; loaded by the first connection with TLS. By default next to this package's own files. */
  tlsWasm?: WasmSource;
  /** By default real time. */
  clock?: Clock;
  /**
   * Payload memory that the stacks of this engine share, in bytes: address space at once, memory as it is used. By default
   * 128 MiB.
   */
  memory?: number;
  /** Seed of what cables do at random, so that a run in virtual time repeats. By default from `crypto.getRandomValues`. */
  seed?: number | bigint;
}

/** One WebAssembly instance: stacks, switches and cables in it exchange frames without passing through JavaScript. */
export interface Engine {
  /** Bytes of WebAssembly memory now held. */
  readonly memoryBytes: number;
  /** Blocks of payload memory in use by all stacks of this engine. */
  readonly blocksInUse: number;
  /** Resolves when `close` was called; rejects with an {@link EngineError} if the module trapped. */
  readonly closed: Promise<void>;
  /** Ends everything in this engine: pending operations reject, ports are detached. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** An address and a port number. */
export interface SocketAddress {
  /** An IP address in its usual notation, IPv6 without brackets. */
  address: string;
  /** 1 to 65535; 0 where none is meant. */
  port: number;
}

/** Largest numbers of things a stack may hold; what is not given has a default that suits a page or a gateway. */
export interface StackLimits {
  /** Interfaces, VLANs and the loopback interface among them. */
  interfaces?: number;
  /** Addresses of all interfaces, those that routers advertise among them. */
  addresses?: number;
  /** Routes, those of the addresses' own networks among them. */
  routes?: number;
  /** Neighbours that are known, or being resolved, on all interfaces. */
  neighbors?: number;
  /** Open TCP connections, and those that are being opened. */
  connections?: number;
  /** TCP ports that are listened on. */
  listeners?: number;
  /** Half-open incoming connections. */
  synQueue?: number;
  /** Connections remembered in TIME-WAIT. */
  timeWait?: number;
  /** UDP sockets, those that the package has for itself (DHCP, DNS) among them. */
  udpSockets?: number;
  /** Pings waiting for an answer. */
  pings?: number;
  /** Flows to any address that wait for a decision ({@link Stack.acceptAny}). */
  pendingFlows?: number;
  /** Flows that are translated ({@link Stack.setNat}), and ports that are forwarded. */
  natFlows?: number;
  /** Events that {@link Stack.trace} keeps for whoever takes them. By default 0: there is no trace, and it costs nothing. */
  trace?: number;
  /** Payload memory this stack may take, in bytes. */
  memory?: number;
}

/** How a stack is made. */
export interface StackOptions {
  /** A name for people: in captures and in the page. */
  hostname?: string;
  /** How much it may hold. */
  limits?: StackLimits;
  /**
   * Seed of the stack's randomness (initial sequence numbers, ports, identifiers). By default from
   * `crypto.getRandomValues`; give one only where runs must repeat.
   */
  seed?: number | bigint;
  /** TCP's settings for all its sockets, where nothing else is said. */
  tcp?: TcpOptions;
  /** Who is asked for names. What is not given, the leases of interfaces with `dhcp` tell. */
  dns?: NameServers;
  /** By default the one that all of this realm shares. */
  engine?: Engine;
}

/** Who is asked for names. */
export interface NameServers {
  /** Addresses of servers that recurse, at most four, most preferred first. */
  servers?: readonly string[];
  /** Domains that complete names without a dot. */
  search?: readonly string[];
}

/** How a name is looked up. */
export interface ResolveOptions {
  /** Only addresses of one family; by default of both. */
  family?: 4 | 6;
  /** Rejects when it aborts, with its reason as `cause`. */
  signal?: AbortSignal;
}

/** A DNS record. */
export interface DnsRecord {
  /** Whose record it is: another name than the one asked for where that is an alias. */
  name: string;
  /** `"MX"`, `"TXT"`, or `"TYPE65"` for what has no name here (RFC 3597). */
  type: string;
  /** How long it may be kept, in seconds. */
  ttl: number;
  /**
   * As in master files (RFC 1035 §5.1): an address; a name; `"10 mail.test"` for MX, `"0 5 80 host.test"` for SRV; a text for TXT;
   * `"\\# 2 0a0b"` for types that have no other form (RFC 3597 §5).
   */
  data: string;
}

/** How an interface is made. */
export interface InterfaceOptions {
  /**
   * What its port carries: Ethernet frames, by default; with `"ip"`, IP packets without a header around them, as TUN devices do. `"loopback"` is the
   * stack itself: `127.0.0.0/8`, `::1` and all of its own addresses; a stack has one at most, and its port carries nothing.
   */
  medium?: "ethernet" | "ip" | "loopback";
  /** A VLAN (IEEE 802.1Q) on another interface of the stack, whose port carries its frames with this id, 1 to 4094. */
  vlan?: {
    /** The interface whose port carries the frames. */
    on: Nic;
    /** The VLAN's number. */
    id: number;
  };
  /** By default a locally administered one, taken from the stack's seed. A VLAN has that of the interface that it is on. */
  mac?: string;
  /** Such as `["10.0.2.2/24", "fd00::2/64"]`. A link-local IPv6 address is added by itself. */
  addresses?: readonly string[];
  /**
   * Ask for an IPv6 address and name servers by DHCPv6 (RFC 9915), or with `"stateless"` for name servers only. By default what routers say
   * is done with `slaac` (RFC 4861 §4.2, the flags M and O), and nothing without. {@link Nic.configured} resolves when there is an address.
   */
  dhcp6?: boolean | "stateless";
  /**
   * Ask for an IPv4 address, routes and name servers by DHCP (RFC 2131): {@link Nic.configured} resolves when there is one, and
   * {@link Nic.lease} tells which. By default false.
   */
  dhcp?: boolean;
  /**
   * Make IPv6 addresses of the prefixes that routers advertise, and use those routers and their name servers (RFC 4862, RFC 8106):
   * {@link Nic.configured} resolves when there is such an address. With `dhcp`, what comes first resolves it. Needs an MTU of 1280.
   * By default false.
   */
  slaac?: boolean;
  /** IP MTU, 576 to 65535; IPv6 needs 1280. By default 1500, of VLANs that of the other interface, of the loopback interface 65535. */
  mtu?: number;
  /** Default router, or one for each family. */
  gateway?: string | readonly string[];
  /** More static routes by this interface. */
  routes?: readonly RouteOptions[];
  /** Whether packets for others are forwarded, or how, as {@link Nic.setForwarding} has it. By default not. */
  forwarding?: boolean | ForwardingOptions;
  /** A name for people and captures; by default the hostname and a number. */
  name?: string;
}

/**
 * One end where Ethernet frames, or IP packets, go in and out: of a stack (`Nic`), a cable, a switch, a virtual machine, a relay.
 * A port is plugged into one thing at a time.
 */
export interface Port {
  /** A name for people and captures. */
  readonly name: string;
  /** What this port has counted since it was made. */
  readonly counters: PortCounters;
  /** Whether the port is plugged into something. */
  readonly isPlugged: boolean;
  /**
   * Sees each frame that passes the port, and may change or drop it: see {@link FrameHook}. By default null. A hook at a stack's interface or at a cable's end
   * makes each frame pass through JavaScript; setting the first there, or removing it, loses the frames that are on the way.
   */
  hook: FrameHook | null;
  /** Takes the port out of what it is plugged into; does nothing if that is nothing. It can be plugged in again. */
  unplug(): void;
  /** Unplugs the port and frees what belongs to it. A second call does nothing. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** Which way a frame passes a port: `"in"` to what owns it (a stack, a virtual machine, a relay), `"out"` from there. */
export type FrameDirection = "in" | "out";

/**
 * Sees a frame that passes a port. The array is a copy, which may be kept or changed in place: the frame goes on as it is then. Returning other bytes
 * replaces the frame; `false` or null drops it, as does an error, which is reported as uncaught. It must answer at once, so an async function is no hook.
 */
export type FrameHook = (
  frame: Uint8Array<ArrayBuffer>,
  direction: FrameDirection,
  // biome-ignore lint/suspicious/noConfusingVoidType: a hook that only looks returns nothing
) => Uint8Array | boolean | null | undefined | void;

/** Counters of a port, seen from what owns it: a stack, a virtual machine, a relay. */
export interface PortCounters {
  /** Frames that went in. */
  framesReceived: number;
  /** Bytes of these, headers included. */
  bytesReceived: number;
  /** Frames that went out. */
  framesSent: number;
  /** Bytes of these, headers included. */
  bytesSent: number;
  /** Frames lost at the port: it was not plugged in, or its owner could not take them. */
  dropped: number;
  /** Frames that the port's hook has dropped. */
  filtered: number;
  /** Messages that are no Ethernet frame: too short, too long, text. */
  invalid: number;
}

/** What can be plugged: a port, or a thing that has one, such as a gateway. */
export type Pluggable =
  | Port
  | {
      /** What is plugged in. */
      readonly port: Port;
    };

/** What a DHCP server has granted. */
export interface DhcpLease {
  /** With prefix length. */
  address: string;
  /** The server's address. */
  server: string;
  /** The default route, or those of RFC 3442. */
  routes: readonly {
    /** The destination: `"0.0.0.0/0"` for the default route. */
    to: string;
    /** The router. */
    via: string;
  }[];
  /** Addresses of name servers, most preferred first. */
  dnsServers: readonly string[];
  /** Addresses of time servers. */
  ntpServers: readonly string[];
  /** The domain of unqualified names; may be empty. */
  domain: string;
  /** Milliseconds since 1970; null for a lease without end. It is renewed long before. */
  expires: number | null;
}

/** What a DHCPv6 server has told. */
export interface Dhcp6Lease {
  /** The address that was granted, if one was asked for. */
  address: string | null;
  /** Until when it should be used for what begins, in milliseconds since 1970; null for ever. */
  preferredUntil: number | null;
  /** Until when it may be used. It is renewed long before. */
  expires: number | null;
  /** Addresses of name servers, most preferred first. */
  dnsServers: readonly string[];
  /** Domains of short names. */
  search: readonly string[];
}

/** An address of an interface. */
export interface AddressInfo {
  /** Such as `"fd00::2/64"`. */
  prefix: string;
  /**
   * Others are asked whether they have it (`tentative` before it is used, `optimistic` while it is: RFC 4862, RFC 4429); then it is
   * `preferred`, later `deprecated` and no more used for what begins, or `duplicate` if somebody else has it.
   */
  state: "tentative" | "optimistic" | "preferred" | "deprecated" | "duplicate";
  /** Who has given it: the application, the interface itself, a router's prefix, a DHCP server. */
  origin: "static" | "linkLocal" | "advertised" | "temporary" | "dhcp";
}

/** A stack's port with addresses. */
export interface Nic extends Port {
  /** The MAC address, as `"02:00:00:00:00:01"`. */
  readonly mac: string;
  /** IP MTU in bytes. */
  readonly mtu: number;
  /** Addresses with prefix length, the link-local one included. */
  readonly addresses: readonly string[];
  /** Resolves once the interface has an address that was asked for; rejects if it is closed before. */
  readonly configured: Promise<void>;
  /** The addresses with what else is known of them. */
  addressInfo(): AddressInfo[];
  /** What a DHCP server has granted; null without `dhcp`, and while there is nothing. */
  readonly lease: DhcpLease | null;
  /** What a DHCPv6 server has told; null while that is nothing. */
  readonly lease6: Dhcp6Lease | null;
  /** Why the DHCP client could not begin, such as that port 68 is taken; null if it could. */
  readonly dhcpError: Error | null;
  /** Adds an address with prefix length, such as `"10.0.2.2/24"`. Throws a RangeError if it is none, or there is no room. */
  addAddress(prefix: string): void;
  /** Removes an address, given as {@link addAddress} has it. */
  removeAddress(prefix: string): void;
  /** Says what becomes of packets for others, as far as it is given: `true` is all with the usual check of sources, `false` nothing. */
  setForwarding(forwarding: boolean | ForwardingOptions): ForwardingSettings;
  /** What becomes of packets for others. */
  forwarding(): ForwardingSettings;
  /**
   * Advertises the stack as IPv6 router to the link's hosts (RFC 4861), or with null no more. Resolves when that has begun. Whether packets are
   * forwarded is another matter.
   */
  advertise(options?: AdvertiseOptions | null): Promise<void>;
  /**
   * Listens to a multicast group, whatever socket its datagrams are for, and tells the routers (IGMP, MLD). Calls are counted: each wants a
   * {@link leaveGroup}. {@link UdpSocket.joinGroup} is for one socket.
   */
  joinGroup(group: string): void;
  /** Takes one {@link joinGroup} back. */
  leaveGroup(group: string): void;
  /**
   * Asks the network which multicast groups are listened to, as a router does (IGMPv3, MLDv2), so that switches with snooping know where groups are; false ends that.
   * While another router with a lower address asks, this one is silent. By default nothing is asked.
   */
  setGroupQuerier(isOn: boolean): void;
}

/** What a connection attempt may be told. */
export interface ConnectOptions {
  /** Aborts the attempt, or the connection, with a reset; promises reject with the signal's reason as `cause`. */
  signal?: AbortSignal;
  /** Rejects with ETIMEDOUT after this time; by default the stack's own retransmission limit decides. */
  connectTimeout?: DurationLike;
  /** The connection's own settings, where they are not the stack's. */
  tcp?: TcpOptions;
  /** The same as `tcp.noDelay`, which counts if both are given. */
  noDelay?: boolean;
  /**
   * TCP Fast Open (RFC 7413): when the server has given a cookie before, the SYN waits for the first `tryWrite` and carries what
   * that takes. The server may get such data twice. By default false.
   */
  fastOpen?: boolean;
  /**
   * By default false, as in the Sockets API: when the readable side has delivered the end of the stream, the writable
   * side is closed too. True leaves that to the caller.
   */
  allowHalfOpen?: boolean;
  /** Source address and port, where the choice matters. */
  localAddress?: string;
  /** Source port; by default the stack chooses one that is free. */
  localPort?: number;
  /** `"on"` speaks TLS from the beginning, `"starttls"` when {@link Socket.startTls} is called. By default `"off"`. */
  secureTransport?: "off" | "on" | "starttls";
  /** The name that the server is asked for, and that its certificate must be for. By default the host name of the address. */
  sni?: string;
  /** Protocols to choose from, the preferred one first, such as `["h2", "http/1.1"]`. */
  alpn?: readonly string[];
  /** Whom to trust and who to be. Only where `secureTransport` is not `"off"`. */
  tls?: TlsOptions;
}

/** What {@link Socket.startTls} may be told. What is not given is as the socket was made with. */
export interface StartTlsOptions {
  /** As `sni` of {@link ConnectOptions}. */
  expectedServerHostname?: string;
  /** Protocols that are offered, most preferred first. */
  alpn?: readonly string[];
  /** Whom to trust, and what else a client has. */
  tls?: TlsOptions;
}

/** What is known of an open connection: both ends as `"10.0.2.15:80"` or `"[fd00::2]:80"`. */
export interface SocketInfo {
  /** The peer; the host as it was asked for. */
  remoteAddress: string;
  /** This end; null if the connection was over before it was looked at. */
  localAddress: string | null;
  /** The protocol that both ends of TLS agreed on; null without TLS or without such an agreement. */
  alpn: string | null;
  /** What both ends have agreed on, with TLS. */
  tls?: TlsInfo;
}

/**
 * A TCP connection, or one with TLS over it, in the shape of the WinterTC Sockets API. Use either the streams or the layer below them
 * (`tryRead`, `tryWrite`, `onready`), not both on the same side.
 */
export interface Socket {
  /** The peer. */
  readonly remote: SocketAddress;
  /** This end; null before the connection is open. */
  readonly local: SocketAddress | null;
  /** Byte stream of what the peer sends; nothing is read from the stack before somebody asks. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Takes bytes; a write settles when the send buffer has taken all of them. Closing it sends FIN. */
  readonly writable: WritableStream<BufferSource>;
  /** Resolves when the connection is open, rejects with a {@link SocketError} when it could not be. */
  readonly opened: Promise<SocketInfo>;
  /** Resolves when the connection has ended in good order, rejects with the {@link SocketError} that ended it. */
  readonly closed: Promise<void>;
  /** Whether {@link startTls} was called of it; true too of the socket that it returned. */
  readonly upgraded: boolean;
  /** As it was made. */
  readonly secureTransport: "off" | "on" | "starttls";

  /**
   * Closes both directions and lets go: what the stack has accepted is still sent, then FIN; unread data makes that a
   * reset. `readable` ends, `writable` and pending writes fail with the reason, as does `opened` where it is pending; without a
   * reason, with ABORT_ERR. Returns `closed`, which resolves. A second call changes nothing.
   */
  close(reason?: unknown): Promise<void>;
  /** Ends the connection at once with a reset. Pending operations reject with ABORT_ERR. */
  abort(reason?: unknown): void;
  /**
   * Speaks TLS from here on, over the socket that it returns: this one is closed in good order, its streams end, and what the peer sent and nobody has
   * read goes to the other. Of a socket that was accepted, this is the server's side. What was written must have been taken.
   * @throws {SocketError} ERR_INVALID_STATE unless `secureTransport` is `"starttls"` and the socket is neither closed nor changed.
   */
  startTls(options?: StartTlsOptions): Socket;

  /** Called, never re-entrantly, after something changed: bytes or their end arrived, room came, opened, closed. */
  onready: ((socket: Socket) => void) | null;
  /** Copies what has arrived into `into`. Returns the count, 0 at the end of the stream, -1 if there is nothing yet. */
  tryRead(into: Uint8Array): number;
  /** Hands bytes to the stack. Returns how many it took; 0 means the send buffer is full and `onready` follows. */
  tryWrite(from: Uint8Array): number;
  /** Sends FIN after what was written; reading goes on. */
  shutdown(): void;
  /** How many bytes `tryRead` would give. */
  readonly readableBytes: number;
  /** How many bytes `tryWrite` would take. */
  readonly writableBytes: number;
  /** Whether small segments leave at once (true) or wait for company (Nagle's algorithm). */
  setNoDelay(noDelay: boolean): void;
  /** Changes settings of the open connection; does nothing once it has ended. */
  setTcpOptions(options: TcpOptions): void;
  /** The settings as they are, null once the connection has ended. */
  tcpSettings(): TcpSettings | null;
  /** What the stack knows of the connection, null once it has ended. */
  info(): ConnectionInfo | null;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a listener is made. */
export interface ListenOptions {
  /** 0 lets the stack choose. */
  port: number;
  /** One of the stack's addresses, or `"0.0.0.0"` for all of IPv4; by default all of both families, as with `"::"`. */
  hostname?: string;
  /** Where all addresses are meant, those of IPv6 only: connections over IPv4 are refused. By default false. */
  ipv6Only?: boolean;
  /**
   * Connections that may wait to be accepted. By default 511, as in Node. With `tls` as many handshakes may be unfinished at a time: the oldest is reset when one more
   * begins.
   */
  backlog?: number;
  /** As in {@link ConnectOptions}, for each accepted socket. */
  allowHalfOpen?: boolean;
  /** Settings of accepted connections, where they are not the stack's. */
  tcp?: TcpOptions;
  /** The same as `tcp.noDelay`, which counts if both are given. */
  noDelay?: boolean;
  /**
   * Connections that may be accepted, and read from, before their handshake ends (TCP Fast Open, RFC 7413): how many at a
   * time. What they send may arrive twice, which the application has to bear. By default 0.
   */
  fastOpen?: number;
  /**
   * The certificates of a server with TLS. Sockets are given out before their handshake: `opened` tells how that has ended, and a failure is about
   * that socket only.
   */
  tls?: TlsServerOptions;
  /** By default `"on"` with `tls` and `"off"` without; with `"starttls"` accepted sockets change to TLS when {@link Socket.startTls} is called. */
  secureTransport?: "off" | "on" | "starttls";
}

/** Waits for connections: `for await (const socket of listener)`. */
export interface Listener extends AsyncIterable<Socket> {
  /** Resolves when connections are taken; rejects with a {@link SocketError} (EADDRINUSE, ...). */
  readonly listening: Promise<SocketAddress>;
  /** Null before `listening` and if it rejected. The address is `"::"` when all are served. */
  readonly address: SocketAddress | null;
  /** The next connection; rejects with ABORT_ERR when the listener closes. */
  accept(options?: { signal?: AbortSignal }): Promise<Socket>;
  /** The next connection if one waits, else null; the layer below promises and iteration. */
  tryAccept(): Socket | null;
  /** Called, never re-entrantly, after connections came, and once when the listener has ended. */
  onready: ((listener: Listener) => void) | null;
  /** Changes the settings of connections to come; does nothing once it is closed. */
  setTcpOptions(options: TcpOptions): void;
  /** The settings as they are, null once it is closed. */
  tcpSettings(): TcpSettings | null;
  /** Stops listening. Connections that wait unaccepted are reset; iterations end. */
  close(): Promise<void>;
  /** Resolves when it was closed. */
  readonly closed: Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a ping is sent. */
export interface PingOptions {
  /** Payload bytes, by default 56. */
  size?: number;
  /** How long the answer is waited for, once the address is known: by default 5000. */
  timeout?: DurationLike;
  /** TTL or hop limit, 1 to 255; by default the stack's, which is 64. */
  ttl?: number;
  /** Rejects when it aborts, with its reason as `cause`. */
  signal?: AbortSignal;
}

/** The answer to a ping. */
export interface PingReply {
  /** The address that was asked. */
  address: string;
  /** Milliseconds, with fractions. */
  rtt: number;
  /** Time to live, or hop limit, of the answer. */
  ttl: number;
  /** Payload bytes in the answer. */
  size: number;
}

/** How the way to a host is traced. */
export interface TracerouteOptions {
  /** UDP datagrams to ports where nobody listens, echo requests, or SYNs. By default `"udp"`. */
  method?: "udp" | "icmp" | "tcp";
  /** By UDP the port of the first probe, each later one has the next: by default 33434. By TCP the port of all: by default 80. */
  port?: number;
  /** Payload bytes of a probe by UDP or ICMP, by default 32. */
  size?: number;
  /** Hop limit of the first probes, by default 1. */
  firstHop?: number;
  /** Hop limit of the last ones, 1 to 255, by default 30. */
  maxHops?: number;
  /** Probes for each hop, 1 to 10, by default 3. */
  probes?: number;
  /** How long an answer is waited for, by default 3000. */
  timeout?: DurationLike;
  /** Ends the iteration with an ABORT_ERR when it aborts. */
  signal?: AbortSignal;
}

/** What came of one probe. */
export interface TracerouteProbe {
  /** Who answered; null if nobody did. */
  address: string | null;
  /** Milliseconds, with fractions; null without an answer. */
  rtt: number | null;
  /**
   * `"exceeded"`: a router told that its hop limit was used up. `"reached"`: the host itself answered. `"unreachable"`: `address` says that
   * the host cannot be reached. `"timeout"`: no answer in time.
   */
  result: "exceeded" | "reached" | "unreachable" | "timeout";
  /** Why the host is unreachable. */
  error: SocketError | null;
}

/** What is so many hops away. */
export interface TracerouteHop {
  /** The hop limit of the probes. */
  hop: number;
  /** What became of each probe. */
  probes: TracerouteProbe[];
  /** Whether this is the host itself. */
  reached: boolean;
}

/** A neighbour table entry. */
export interface NeighborInfo {
  /** The neighbour's IP address. */
  address: string;
  /** Null while it is being resolved. */
  mac: string | null;
  /** `"incomplete"`, `"reachable"`, `"stale"`, `"delay"`, `"probe"` (RFC 4861 §7.3.2), `"unreachable"` (RFC 7048), `"failed"`, `"permanent"`. */
  state: string;
  /** The name of the interface. */
  nic: string;
}

/** One host: interfaces, routes, sockets. */
export interface Stack {
  /** Its name for people. */
  readonly hostname: string;
  /** The engine that it is in. */
  readonly engine: Engine;
  /** Its interfaces. */
  readonly interfaces: readonly Nic[];
  /** Makes an interface, whose port is to be plugged in. Throws a RangeError that names what is wrong. */
  addInterface(options: InterfaceOptions): Nic;
  /** All routes, the networks of the stack's own addresses among them. */
  routes(): RouteInfo[];
  /** Adds a static route. Throws a RangeError if it cannot be. */
  addRoute(route: RouteOptions): void;
  /** Removes the routes to a destination, or only those that lead the way that is given. */
  removeRoute(route: string | RouteOptions): void;
  /**
   * Translates the IPv4 addresses of hosts behind this one to that of the outside interface, or with null no more. Flows so far are
   * forgotten. Needs forwarding on the interfaces.
   */
  setNat(options: NatOptions | null): void;
  /** The flows that are translated. */
  natFlows(): NatFlow[];
  /** Lets a port of the outside address lead to a host inside. Throws a {@link SocketError} (EADDRINUSE, EMFILE). */
  forwardPort(forward: PortForward): void;
  /** Takes that back, and ends the flows that came of it. */
  unforwardPort(forward: Omit<PortForward, "to">): void;
  /** The ports that are forwarded. */
  portForwards(): PortForward[];
  /**
   * Takes the TCP connections and UDP flows that come in by an interface to addresses which are nobody's on this host: each waits until it is
   * accepted, refused or told to be unreachable. How user-mode NAT is built.
   */
  acceptAny(nic: Nic, options: AcceptAnyOptions): AnyAddress;
  /** Speaks multicast DNS on an interface: a name without a server, and services to publish and to find. Once for each interface. */
  mdns(nic: Nic, options?: MdnsOptions): Promise<Mdns>;
  /** A static neighbour entry. */
  addNeighbor(nic: Nic, address: string, mac: string): void;
  /**
   * Starts a connection. The address is `{ hostname, port }` or `"host:port"`; the host is an IP address, or a name, whose addresses
   * are tried one soon after the other until one answers (RFC 8305).
   */
  connect(address: ConnectTarget | string, options?: ConnectOptions): Socket;
  /** Waits for connections to a port. That the port is taken is told by `listening`. */
  listen(options: ListenOptions): Listener;
  /** Throws a {@link SocketError} (EADDRINUSE) when the port is taken. */
  bindUdp(options?: UdpOptions): UdpSocket;
  /**
   * Sends an ICMP echo request to an address, or the first one of a name, and waits for the answer. Rejects with a {@link SocketError}
   * (ETIMEDOUT, EHOSTUNREACH, ENOTFOUND, ...).
   */
  ping(hostname: string, options?: PingOptions): Promise<PingReply>;
  /**
   * The routers on the way to a host, one hop after the other until the host is reached, is said to be unreachable, or `maxHops` are over:
   * `for await (const { hop, probes } of stack.traceroute("10.0.2.15"))`. Takes a name, too. Iterating throws a {@link SocketError} (ENETUNREACH,
   * ENOTFOUND, ABORT_ERR).
   */
  traceroute(
    hostname: string,
    options?: TracerouteOptions,
  ): AsyncGenerator<TracerouteHop, void, undefined>;
  /**
   * The addresses of a name in the order in which they are to be tried (RFC 6724), by asking the DNS servers of `dns`, of leases and of
   * routers; at least one. Rejects with a {@link SocketError} (ENOTFOUND) if there is none, or nobody to ask.
   */
  resolve(hostname: string, options?: ResolveOptions): Promise<string[]>;
  /**
   * The records of a type, such as `"MX"`, `"TXT"`, `"SRV"`, `"PTR"` or `"TYPE65"`, at least one; the name is asked for as it is. Rejects as
   * {@link resolve} does.
   */
  resolveRecords(
    hostname: string,
    type: string,
    options?: { signal?: AbortSignal },
  ): Promise<DnsRecord[]>;
  /** All connections, half-open ones and those in TIME-WAIT among them. */
  connections(): ConnectionInfo[];
  /** What TCP does, if `limits.trace` asked for it; iterating throws a TypeError if not. */
  readonly trace: Trace;
  /** Changes TCP's settings for sockets that are made from now on. */
  setTcpOptions(options: TcpOptions): void;
  /** TCP's settings for sockets that are made from now on. */
  tcpSettings(): TcpSettings;
  /** The neighbour tables of all interfaces. */
  neighbors(): NeighborInfo[];
  /** Everything the stack has counted, each dropped packet by its reason. */
  counters(): Record<string, number>;
  /** Blocks of payload memory that this stack holds. */
  readonly blocksInUse: number;
  /** Ends all sockets (connections are reset) and removes the interfaces. */
  close(): Promise<void>;
  /** Resolves when the stack was closed. */
  readonly closed: Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where to connect to. */
export interface ConnectTarget {
  /** An IP address, or a name. */
  hostname: string;
  /** 1 to 65535. */
  port: number;
}
