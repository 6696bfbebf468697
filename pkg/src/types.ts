/**
 * The public types. Addresses are strings in their usual notation, times are milliseconds, sizes are bytes unless a
 * comment says otherwise. Everything named here is created by a function or a method of the package, never by `new`.
 *
 * @module
 */

import type { SocketError } from "./errors.js";
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

export type * from "./types_mdns.js";
export type * from "./types_network.js";
export type * from "./types_ports.js";
export type * from "./types_routing.js";
export type * from "./types_tcp.js";

/** A span of time: milliseconds, or a number with a unit: `"250us"`, `"40ms"`, `"2s"`, `"1m"`. */
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
  | WebAssembly.Module;

/** What an engine takes time from. Give your own to run a network in virtual time. */
export interface Clock {
  /** Milliseconds since any fixed origin; a value that goes backwards counts as no progress. */
  now(): number;
  /** Calls `callback` once, not before `delay` milliseconds have passed. */
  setTimer(callback: () => void, delay: number): unknown;
  /** Forgets a timer that has not fired. */
  clearTimer(timer: unknown): void;
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
  [Symbol.dispose](): void;
}

/** An address and a port number. */
export interface SocketAddress {
  address: string;
  port: number;
}

/** Largest numbers of things a stack may hold; what is not given has a default that suits a page or a gateway. */
export interface StackLimits {
  interfaces?: number;
  addresses?: number;
  routes?: number;
  neighbors?: number;
  connections?: number;
  listeners?: number;
  /** Half-open incoming connections. */
  synQueue?: number;
  /** Connections remembered in TIME-WAIT. */
  timeWait?: number;
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
  limits?: StackLimits;
  /**
   * Seed of the stack's randomness (initial sequence numbers, ports, identifiers). By default from
   * `crypto.getRandomValues`; give one only where runs must repeat.
   */
  seed?: number | bigint;
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
  vlan?: { on: Nic; id: number };
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
  framesReceived: number;
  bytesReceived: number;
  framesSent: number;
  bytesSent: number;
  /** Frames lost at the port: it was not plugged in, or its owner could not take them. */
  dropped: number;
  /** Frames that the port's hook has dropped. */
  filtered: number;
  /** Messages that are no Ethernet frame: too short, too long, text. */
  invalid: number;
}

/** What can be plugged: a port, or a thing that has one, such as a gateway. */
export type Pluggable = Port | { readonly port: Port };

/** What a DHCP server has granted. */
export interface DhcpLease {
  /** With prefix length. */
  address: string;
  server: string;
  /** The default route, or those of RFC 3442. */
  routes: readonly { to: string; via: string }[];
  dnsServers: readonly string[];
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
  addAddress(prefix: string): void;
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
  localPort?: number;
  /** Only `"off"`: TLS belongs to a layer above. */
  secureTransport?: "off";
}

/** What is known of an open connection: both ends as `"10.0.2.15:80"` or `"[fd00::2]:80"`. */
export interface SocketInfo {
  remoteAddress: string;
  localAddress: string;
}

/**
 * A TCP connection, in the shape of the WinterTC Sockets API. Use either the streams or the layer below them
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
  /** Always false: this socket never changed to TLS. */
  readonly upgraded: boolean;
  /** Always `"off"`. */
  readonly secureTransport: "off";

  /**
   * Closes both directions and lets go: what the stack has accepted is still sent, then FIN; unread data makes that a
   * reset. Resolves as `closed` does. A second call returns the same promise.
   */
  close(reason?: unknown): Promise<void>;
  /** Ends the connection at once with a reset. Pending operations reject with ABORT_ERR. */
  abort(reason?: unknown): void;
  /** Always throws: TLS belongs to a layer above. */
  startTls(): never;

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
  setNoDelay(noDelay: boolean): void;
  /** Changes settings of the open connection; does nothing once it has ended. */
  setTcpOptions(options: TcpOptions): void;
  /** The settings as they are, null once the connection has ended. */
  tcpSettings(): TcpSettings | null;
  /** What the stack knows of the connection, null once it has ended. */
  info(): ConnectionInfo | null;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a listener is made. */
export interface ListenOptions {
  /** 0 lets the stack choose. */
  port: number;
  /** One of the stack's addresses; by default all of them, both families. */
  hostname?: string;
  /** Connections that may wait to be accepted. By default 511, as in Node. */
  backlog?: number;
  /** As in {@link ConnectOptions}, for each accepted socket. */
  allowHalfOpen?: boolean;
  tcp?: TcpOptions;
  noDelay?: boolean;
  /**
   * Connections that may be accepted, and read from, before their handshake ends (TCP Fast Open, RFC 7413): how many at a
   * time. What they send may arrive twice, which the application has to bear. By default 0.
   */
  fastOpen?: number;
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
  readonly closed: Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A datagram that arrived. */
export interface Datagram {
  data: Uint8Array<ArrayBuffer>;
  remoteAddress: string;
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
  remoteAddress: string;
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
  hostname?: string;
}

/** From whom a socket wants what comes to a group: one or the other. */
export interface GroupSources {
  only?: readonly string[];
  except?: readonly string[];
}

/** A UDP socket: an async iterable of datagrams. */
export interface UdpSocket extends AsyncIterable<Datagram> {
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
  leaveGroup(group: string, nic: Nic): void;
  /** The next datagram; rejects with ABORT_ERR when the socket closes. */
  receive(options?: { signal?: AbortSignal }): Promise<Datagram>;
  /** The next datagram that is already there, or null. */
  tryReceive(): Datagram | null;
  /** Called after datagrams arrived. */
  onready: ((socket: UdpSocket) => void) | null;
  /** Told of ICMP errors about datagrams sent from here. */
  onerror: ((error: SocketError, target: SocketAddress) => void) | null;
  close(): Promise<void>;
  readonly closed: Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a ping is sent. */
export interface PingOptions {
  /** Payload bytes, by default 56. */
  size?: number;
  /** By default 5000. */
  timeout?: DurationLike;
  signal?: AbortSignal;
}

/** The answer to a ping. */
export interface PingReply {
  /** Milliseconds, with fractions. */
  rtt: number;
  /** Time to live, or hop limit, of the answer. */
  ttl: number;
  /** Payload bytes in the answer. */
  size: number;
}

/** A neighbour table entry. */
export interface NeighborInfo {
  address: string;
  /** Null while it is being resolved. */
  mac: string | null;
  state: string;
  nic: string;
}

/** One host: interfaces, routes, sockets. */
export interface Stack {
  readonly hostname: string;
  readonly engine: Engine;
  readonly interfaces: readonly Nic[];
  addInterface(options: InterfaceOptions): Nic;
  /** All routes, the networks of the stack's own addresses among them. */
  routes(): RouteInfo[];
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
  listen(options: ListenOptions): Listener;
  /** Throws a {@link SocketError} (EADDRINUSE) when the port is taken. */
  bindUdp(options?: UdpOptions): UdpSocket;
  ping(address: string, options?: PingOptions): Promise<PingReply>;
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
  connections(): ConnectionInfo[];
  /** What TCP does, if `limits.trace` asked for it; iterating throws a TypeError if not. */
  readonly trace: Trace;
  /** Changes TCP's settings for sockets that are made from now on. */
  setTcpOptions(options: TcpOptions): void;
  /** TCP's settings for sockets that are made from now on. */
  tcpSettings(): TcpSettings;
  neighbors(): NeighborInfo[];
  /** Everything the stack has counted, each dropped packet by its reason. */
  counters(): Record<string, number>;
  /** Blocks of payload memory that this stack holds. */
  readonly blocksInUse: number;
  /** Ends all sockets (connections are reset) and removes the interfaces. */
  close(): Promise<void>;
  readonly closed: Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where to connect to. */
export interface ConnectTarget {
  /** An IP address, or a name. */
  hostname: string;
  port: number;
}
