/**
 * The public types. Addresses are strings in their usual notation, times are milliseconds, sizes are bytes unless a
 * comment says otherwise. Everything named here is created by a function or a method of the package, never by `new`.
 *
 * @module
 */

import type { SocketError } from "./errors.js";

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
  /** Events that {@link Stack.trace} keeps for whoever takes them. By default 0: there is no trace, and it costs nothing. */
  trace?: number;
  /** Payload memory this stack may take, in bytes. */
  memory?: number;
}

/** When an idle connection asks whether its peer is still there (RFC 9293 §3.8.4). */
export interface KeepAliveOptions {
  /** Silence before the first probe. By default 2 h. */
  idle?: DurationLike;
  /** Between probes. By default 75 s. */
  interval?: DurationLike;
  /** Unanswered probes until the connection ends with ETIMEDOUT. By default 9. */
  probes?: number;
}

/**
 * TCP's settings: of a stack, for the sockets that it makes from then on; of a listener, for the connections that it
 * accepts; of one connection. What is not given stays as it is, at first as the stack has it. What both sides' SYNs agree on
 * (timestamps, SACK, window scaling, ECN) does not change while a connection is open. The names are Linux's, where it has one.
 */
export interface TcpOptions {
  /**
   * What decides how much is in the network: CUBIC (RFC 9438, the default), NewReno (RFC 5681), BBR version 3, which paces what it
   * sends, or `"unlimited"`, nothing: only to show what congestion control is for, never on a network that others use.
   */
  congestionControl?: "cubic" | "reno" | "bbr" | "unlimited";
  /** What ends CUBIC's slow start: HyStart++ (RFC 9406, the default), HyStart as Linux has it, or only a loss. */
  slowStartExit?: "hystart++" | "hystart" | "loss";
  /**
   * What becomes of a congestion window that is not used: it is validated (RFC 7661, the default), decays as in Linux, or is
   * kept.
   */
  unusedWindow?: "validated" | "decays" | "kept";
  /** Segments that may be sent before the first acknowledgement (RFC 6928). By default 10. */
  initialWindow?: number;
  /** Segments by which one acknowledgement may let the window grow; 0 for no limit. By default 8 (RFC 3465). */
  growthLimit?: number;
  /** The most that a connection sends. By default null: no limit. */
  maxPacingRate?: RateLike | null;

  /**
   * Explicit congestion notification (RFC 3168): never, when the peer asks for it (`"passive"`, the default), asked for, or asked
   * for with the exact counts of RFC 9768 (`"accurate"`), which are granted to peers in all modes but `"off"`.
   */
  ecn?: "off" | "passive" | "on" | "accurate";
  /** When segments carry the option of Accurate ECN. By default always, if the peer has sent one. */
  accEcnOption?: "off" | "needed" | "always";
  /** Retransmitted SYNs ask for no ECN, since some middleboxes drop those that do. By default true. */
  ecnFallback?: boolean;
  /** Congestion marks reduce the window less than losses do (RFC 8511). By default false. */
  alternativeBackoff?: boolean;

  /** Offers timestamps (RFC 7323). By default true. */
  timestamps?: boolean;
  /** Offers window scaling (RFC 7323); without it windows end at 64 KiB. By default true. */
  windowScaling?: boolean;
  /** Offers selective acknowledgements (RFC 2018). By default true. */
  sack?: boolean;
  /** Reports what came twice (RFC 2883). By default true. */
  dsack?: boolean;
  /** Tail loss probes (RFC 8985 §7). By default true. */
  tailLossProbe?: boolean;
  /** Spurious retransmission timeouts are found out and undone (RFC 5682). By default true. */
  frto?: boolean;
  /** Segments that may overtake one before it counts as lost. By default 3. */
  reordering?: number;
  /** The most that this grows to when segments arrive out of order. By default 300. */
  maxReordering?: number;

  /** Small segments are sent at once: Nagle's algorithm is off. By default false. */
  noDelay?: boolean;
  /** Only full segments are sent, for as long as it is true (Linux's TCP_CORK). By default false. */
  cork?: boolean;
  /** How long an acknowledgement may wait for company. By default 40 ms. */
  delayedAck?: DurationLike;
  /** Segments out of order that may share an acknowledgement, after three with one each; 0 for none. By default 44. */
  compressedAcks?: number;

  /** The most that a connection holds until it is acknowledged, in bytes: 4 KiB to 4 MiB. By default 4 MiB. */
  sendBuffer?: number;
  /** What it begins with, if that is less. By default 256 KiB. */
  initialSendBuffer?: number;
  /** The most that waits to be read on a connection, in bytes: 4 KiB to 4 MiB. By default 4 MiB. */
  receiveBuffer?: number;
  /** What it begins with, if that is less. By default 256 KiB. */
  initialReceiveBuffer?: number;
  /** Whether buffers grow with the connection's speed. By default true. */
  bufferTuning?: boolean;
  /** The largest window that is offered, in bytes. By default null: what the buffer holds. */
  windowClamp?: number | null;
  /** `writable` takes more while fewer bytes than this are not sent yet. By default null: as much as the buffer takes. */
  notSentLowat?: number | null;

  /** The largest MSS that is announced and believed, in bytes, options included. By default null: what the path carries. */
  maxSegmentSize?: number | null;
  /** Path MTU discovery by reports of routers (RFC 1191, RFC 8201). By default true. */
  pathMtuDiscovery?: boolean;
  /** Path MTU discovery by probes (RFC 4821). By default once packets seem to vanish for their size. */
  mtuProbing?: "off" | "onBlackHole" | "always";
  /** TTL or hop limit. By default null: 64. */
  hopLimit?: number | null;
  /** The octet that IPv4 calls TOS and IPv6 traffic class; its two lower bits are ECN's and do not count. By default 0. */
  trafficClass?: number;

  /** Retransmission timeout before a round trip is measured. By default 1 s (RFC 6298). */
  initialRto?: DurationLike;
  /** The least that a retransmission timeout adds to the round-trip time. By default 200 ms; RFC 6298 says 1 s. */
  minRto?: DurationLike;
  /** The largest retransmission timeout. By default 120 s. */
  maxRto?: DurationLike;
  /** Retransmissions of the SYN before `connect` rejects with ETIMEDOUT. By default 6, about 127 s. */
  synRetries?: number;
  /** Retransmissions of a listener's answer to a SYN. By default 5. */
  synAckRetries?: number;
  /** Retransmissions of data before the connection ends with ETIMEDOUT. By default 15, about 15 min. */
  retries?: number;
  /** The same after `close`. By default 8. */
  orphanRetries?: number;
  /** How long data may stay unacknowledged (RFC 5482). By default null: `retries` decides. */
  userTimeout?: DurationLike | null;
  /** Whether, or when, an idle connection is probed. By default false. */
  keepAlive?: boolean | KeepAliveOptions;
  /** With 0, `close` drops what is not acknowledged and sends a reset; null, the default, and any other time send it first. */
  linger?: DurationLike | null;
  /** How long a closed connection stays in TIME-WAIT. By default 60 s. */
  timeWait?: DurationLike;
  /** How long a closed connection waits for the peer to close too. By default 60 s. */
  finWait2?: DurationLike;

  /** When listeners answer with SYN cookies (RFC 4987). By default under pressure. */
  synCookies?: "off" | "underPressure" | "always";
  /** Least time between two answers to segments that look forged (RFC 5961 §7). By default 500 ms. */
  challengeInterval?: DurationLike;
  /** Resets do not end TIME-WAIT (RFC 1337). By default false. */
  rfc1337?: boolean;
}

/** An option as it is told, which is not a text with a unit. */
type Told<T> = T extends string ? (string extends T ? never : T) : T;

/** All settings as they are: times in milliseconds, rates in bits a second, sizes in bytes. */
export type TcpSettings = {
  readonly [Name in Exclude<keyof TcpOptions, "keepAlive">]-?: Told<
    Exclude<TcpOptions[Name], undefined>
  >;
} & {
  readonly keepAlive:
    | false
    | { readonly idle: number; readonly interval: number; readonly probes: number };
};

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
  /** By default the one that all of this realm shares. */
  engine?: Engine;
}

/** How a route is written. */
export interface RouteOptions {
  /** Destination, such as `"10.1.0.0/16"` or `"default"` (both families decided by `via`). */
  to: string;
  /** The next hop. */
  via: string;
}

/** How an interface is made. */
export interface InterfaceOptions {
  /** By default a locally administered one, taken from the stack's seed. */
  mac?: string;
  /** Such as `["10.0.2.2/24", "fd00::2/64"]`. A link-local IPv6 address is added by itself. */
  addresses?: readonly string[];
  /** IP MTU, 576 to 65535; IPv6 needs 1280. By default 1500. */
  mtu?: number;
  /** Default router, or one for each family. */
  gateway?: string | readonly string[];
  routes?: readonly RouteOptions[];
  /** A name for people and captures; by default the hostname and a number. */
  name?: string;
}

/**
 * One end where Ethernet frames go in and out: of a stack (`Nic`), a cable, a switch, a virtual machine, a relay.
 * A port is plugged into one thing at a time.
 */
export interface Port {
  /** A name for people and captures. */
  readonly name: string;
  /** What this port has counted since it was made. */
  readonly counters: PortCounters;
  /** Unplugs the port and frees what belongs to it. A second call does nothing. */
  close(): void;
  [Symbol.dispose](): void;
}

/** Counters of a port, seen from what owns it: a stack, a virtual machine, a relay. */
export interface PortCounters {
  framesReceived: number;
  bytesReceived: number;
  framesSent: number;
  bytesSent: number;
  /** Frames lost at the port: it was not plugged in, or its owner could not take them. */
  dropped: number;
  /** Messages that are no Ethernet frame: too short, too long, text. */
  invalid: number;
}

/** What can be plugged: a port, or a thing that has one, such as a gateway. */
export type Pluggable = Port | { readonly port: Port };

/** A stack's port with addresses. */
export interface Nic extends Port {
  readonly mac: string;
  /** IP MTU in bytes. */
  readonly mtu: number;
  /** Addresses with prefix length, the link-local one included. */
  readonly addresses: readonly string[];
  /** Resolves once the interface has an address that was asked for. */
  readonly configured: Promise<void>;
  addAddress(prefix: string): void;
  removeAddress(prefix: string): void;
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
}

/** Where a datagram goes. */
export interface DatagramTarget {
  remoteAddress: string;
  remotePort: number;
  /** Source address; by default the stack chooses. */
  localAddress?: string;
  /** Needed for `255.255.255.255` and link-local addresses when the stack has several interfaces. */
  nic?: Nic;
  /** Destination MAC address, which skips neighbour resolution (a DHCP server needs this). */
  mac?: string;
}

/** How a UDP socket is made. */
export interface UdpOptions {
  /** 0 or absent lets the stack choose. */
  port?: number;
  hostname?: string;
}

/** A UDP socket: an async iterable of datagrams. */
export interface UdpSocket extends AsyncIterable<Datagram> {
  readonly address: SocketAddress;
  /** Datagrams as a stream. Those that nobody reads wait in a bounded queue of the stack, which drops the newest. */
  readonly readable: ReadableStream<Datagram>;
  /** Sends one datagram. Throws a {@link SocketError} (EMSGSIZE, ENOBUFS, EHOSTUNREACH). */
  send(data: BufferSource, to: DatagramTarget): void;
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

/** States of a connection (RFC 9293 §3.3.2). */
export type TcpState =
  | "LISTEN"
  | "SYN-SENT"
  | "SYN-RECEIVED"
  | "ESTABLISHED"
  | "FIN-WAIT-1"
  | "FIN-WAIT-2"
  | "CLOSE-WAIT"
  | "CLOSING"
  | "LAST-ACK"
  | "TIME-WAIT"
  | "CLOSED";

/** States of loss recovery, as Linux has them: `"cwr"` is a reduced window for a mark, `"loss"` follows a timeout. */
export type CongestionState = "open" | "disorder" | "cwr" | "recovery" | "loss";

/** What a connection waits for. */
export type TcpTimer =
  /** Segments that may only be late, not lost (RFC 8985). */
  | "reordering"
  /** A tail loss probe. */
  | "tailLoss"
  | "retransmit"
  /** A probe of a closed window. */
  | "persist"
  | "delayedAck"
  | "keepAlive"
  /** `connectTimeout`. */
  | "connect"
  | "finWait2"
  /** Payload memory ran out: time to try again. */
  | "memory"
  /** The next segment may leave at the pacing rate. */
  | "pacing";

/**
 * A connection as `ss -ti` shows it, by the names of `tcp_info` where it has one. Times are milliseconds, sizes bytes, rates bytes
 * a second. Of half-open connections and those in TIME-WAIT only state and ends are known; other figures are 0 or null.
 */
export interface ConnectionInfo {
  /** A number that no other connection of the stack has; null for those that no socket holds. */
  id: number | null;
  state: TcpState;
  local: SocketAddress;
  remote: SocketAddress;

  congestionControl: "cubic" | "reno" | "bbr" | "unlimited";
  /** `tcpi_ca_state`. */
  congestionState: CongestionState;
  /** Congestion window, in bytes (`tcpi_snd_cwnd` counts segments of `mss`). */
  cwnd: number;
  /** Slow start threshold, in bytes; `Infinity` before the first loss. */
  ssthresh: number;
  /** Smoothed round-trip time (`tcpi_rtt`); null before the first measurement. */
  srtt: number | null;
  /** Variation of the round-trip time; null before the first measurement. */
  rttvar: number | null;
  /** The smallest round-trip time of the last five minutes; null before the first measurement. */
  minRtt: number | null;
  /** Retransmission timeout, with its back-off. */
  rto: number;
  /** Timeouts since the last progress. */
  backoff: number;
  /** Probes of a closed window or of a silent peer that are not answered. */
  probes: number;
  /** Retransmission timeouts so far, how many of them came first after progress, and the time from those to the next progress. */
  totalRto: number;
  totalRtoRecoveries: number;
  totalRtoTime: number;

  /** Bytes in the network as far as can be told. */
  bytesInFlight: number;
  /** Segments sent and not acknowledged. */
  unacked: number;
  /** Of these, those that the peer has. */
  sacked: number;
  /** Of these, those believed lost, sent again since or not. */
  lost: number;
  /** Of these, those that were sent again and are in flight. */
  retrans: number;
  /** Segments sent again so far (`tcpi_total_retrans`). */
  retransmits: number;
  /** Segments that may overtake one before it counts as lost. */
  reordering: number;
  /** How often segments were seen to arrive out of order. */
  reordSeen: number;
  /** Segments that the peer reported as duplicates (RFC 2883). */
  dsackDups: number;
  /** Segments with data that arrived out of order. */
  rcvOoopack: number;
  /** Segments that the peer has received, as far as it tells. */
  delivered: number;

  /** Bytes in the send buffer: not sent, or not acknowledged. */
  sendQueue: number;
  /** Bytes that wait to be read. */
  receiveQueue: number;
  /** Bytes that the buffers may hold now. */
  sendBuffer: number;
  receiveBuffer: number;
  /** The peer's window. */
  sendWindow: number;
  /** The window that was offered to the peer. */
  receiveWindow: number;
  /** The round trip as the receiving side sees it, if it does. */
  rcvRtt: number | null;
  /** Bytes that are read in a round trip. */
  rcvSpace: number;

  /** Payload bytes of a full segment (`tcpi_snd_mss`). */
  mss: number;
  /** Payload bytes of the peer's segments, as far as can be told. */
  rcvMss: number;
  /** The MSS that was announced to the peer, options included. */
  advmss: number;
  /** Largest IP packet that the path is believed to carry. */
  pmtu: number;
  /** Whether timestamps were agreed on (RFC 7323). */
  timestamps: boolean;
  /** Whether selective acknowledgements were (RFC 2018). */
  sack: boolean;
  /** Shifts of the peer's window and of the one offered to it; null if window scaling was not agreed on. */
  sndWscale: number | null;
  rcvWscale: number | null;
  /** What of explicit congestion notification was agreed on: nothing, RFC 3168, or RFC 9768. */
  ecn: "off" | "on" | "accurate";
  /** The peer has sent packets that routers may mark. */
  ecnSeen: boolean;
  /** Data in the SYN has arrived (TCP Fast Open). */
  synData: boolean;
  /** What Accurate ECN has counted (RFC 9768): segments that came with a congestion mark, and bytes by codepoint... */
  receivedCe: number;
  receivedE1Bytes: number;
  receivedE0Bytes: number;
  receivedCeBytes: number;
  /** ...and what of ours the peer says it has received. */
  deliveredCe: number;
  deliveredE1Bytes: number;
  deliveredE0Bytes: number;
  deliveredCeBytes: number;

  /** How long an acknowledgement waits for company. */
  ato: number;
  /** How long ago data was sent, data came, and any acceptable segment came. */
  lastDataSent: number;
  lastDataReceived: number;
  lastReceived: number;

  /** The rate at which the window leaves; null before a round trip is measured. */
  pacingRate: number | null;
  /** What the network has delivered of late; 0 before that is measured. */
  deliveryRate: number;
  /** The application, and not the network, was what limited it. */
  deliveryRateAppLimited: boolean;
  /** The bottleneck's rate, if the congestion control estimates it (BBR). */
  bandwidth: number | null;
  /** Payload bytes sent, each once. */
  bytesSent: number;
  /** Bytes that the peer has acknowledged; our FIN counts, and our SYN if we have opened the connection. */
  bytesAcked: number;
  /** Payload bytes sent again. */
  bytesRetrans: number;
  /** Payload bytes received in order. */
  bytesReceived: number;
  /** Segments sent and received, and of these those with payload; they begin anew after 2^32. */
  segsOut: number;
  dataSegsOut: number;
  segsIn: number;
  dataSegsIn: number;
  /** How long there was something to send or unacknowledged... */
  busyTime: number;
  /** ...and of this, how long the peer's window, and how long the send buffer was what held data back. */
  rwndLimited: number;
  sndbufLimited: number;

  /** How long until each timer expires; null for those that do not run. */
  timers: Record<TcpTimer, number | null>;
}

/** A flag of a TCP header. */
export type TcpFlag = "FIN" | "SYN" | "RST" | "PSH" | "ACK" | "URG" | "ECE" | "CWR" | "AE";

/** Why a segment was sent. */
export type SendReason =
  | "handshake"
  | "newData"
  /** New data that tries a larger segment size (RFC 4821). */
  | "mtuProbe"
  /** Acknowledgements told of a loss. */
  | "fastRetransmit"
  /** The retransmission timer did. */
  | "timeout"
  | "tailLossProbe"
  /** A probe of a closed window or of a silent peer. */
  | "probe"
  | "ack"
  /** One that repeats the last, since something came out of order or again. */
  | "duplicateAck"
  | "reset";

/** What all events of a trace have. */
export interface TraceEventBase {
  /** Milliseconds since 1970, with fractions. */
  time: number;
  /** The `id` of the {@link ConnectionInfo}; null for segments of no connection: half-open ones, TIME-WAIT, strangers. */
  connection: number | null;
  localPort: number;
  remotePort: number;
}

/** Something that TCP did; `type` says what, and which fields there are. Times are milliseconds, sizes bytes. */
export type TraceEvent = TraceEventBase &
  (
    | {
        /** A segment left. */
        type: "sent";
        reason: SendReason;
        seq: number;
        /** Payload bytes. */
        length: number;
        flags: TcpFlag[];
      }
    | {
        /** A segment came and was processed. */
        type: "received";
        seq: number;
        ack: number;
        length: number;
        flags: TcpFlag[];
        /** How far it moved what is acknowledged, in sequence numbers. */
        acknowledged: number;
        /** How far it moved what was received in order, in sequence numbers. */
        inOrder: number;
      }
    | { type: "state"; from: TcpState; to: TcpState }
    | { type: "timerSet"; timer: TcpTimer /** Until it expires. */; delay: number }
    | { type: "timerFired"; timer: TcpTimer }
    | {
        /** The congestion window or the threshold of slow start has changed. */
        type: "window";
        cwnd: number;
        /** `Infinity` before the first loss. */
        ssthresh: number;
      }
    | {
        /** Loss recovery changed its state. */
        type: "recovery";
        from: CongestionState;
        to: CongestionState;
      }
    | { type: "lost" /** So many more are believed lost. */; segments: number }
    | {
        /** A reduction of the window was taken back: nothing had been lost. */
        type: "undone";
      }
  );

/**
 * What TCP does, event by event, from the oldest that is kept on and then live until the stack is closed. Each event is given
 * once: two that iterate share them.
 */
export interface Trace extends AsyncIterable<TraceEvent> {
  /** Events that made room for newer ones before anybody took them. */
  readonly dropped: number;
  /** The events that wait, or the oldest `most` of them; they wait no more. Empty without a trace. */
  take(most?: number): TraceEvent[];
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
  addRoute(route: RouteOptions): void;
  removeRoute(to: string): void;
  /** A static neighbour entry. */
  addNeighbor(nic: Nic, address: string, mac: string): void;
  /** Starts a connection. The address is `{ hostname, port }` or `"host:port"`; the host is an IP address. */
  connect(address: ConnectTarget | string, options?: ConnectOptions): Socket;
  listen(options: ListenOptions): Listener;
  /** Throws a {@link SocketError} (EADDRINUSE) when the port is taken. */
  bindUdp(options?: UdpOptions): UdpSocket;
  ping(address: string, options?: PingOptions): Promise<PingReply>;
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
  hostname: string;
  port: number;
}

/** How a switch is made. */
export interface SwitchOptions {
  name?: string;
  engine?: Engine;
}

/** A learning switch. */
export interface Switch {
  readonly name: string;
  readonly engine: Engine;
  /** The ports plugged in now. */
  readonly ports: readonly Port[];
  /** Plugs a port in. Throws if it is plugged in somewhere already. */
  plug(port: Pluggable): void;
  /** Unplugs a port; does nothing if it is not plugged in here. */
  unplug(port: Pluggable): void;
  /** Frames forwarded, flooded, filtered and dropped, by reason. */
  counters(): Record<string, number>;
  close(): void;
  [Symbol.dispose](): void;
}

/** What a cable does to frames; each direction alike. Probabilities are 0 to 1. */
export interface Impairment {
  latency?: DurationLike;
  /** The latency varies evenly by up to this either way; frames don't overtake each other, see `reorder`. */
  jitter?: DurationLike;
  loss?: number;
  duplicate?: number;
  corrupt?: number;
  /** Probability that a frame is held back for a moment, so that those behind overtake it. */
  reorder?: number;
  /** Bits per second on the wire. */
  rate?: RateLike;
  /** Frames that may wait for a wire with a `rate`; more are dropped. By default 1000. */
  queue?: number;
}

/** How a cable is made. */
export interface CableOptions extends Impairment {
  name?: string;
  engine?: Engine;
}

/** A cable with two ends, each a port. */
export interface Cable {
  readonly a: Port;
  readonly b: Port;
  /** Changes what the cable does from now on; what is not named stays. */
  set(impairment: Impairment): void;
  close(): void;
  [Symbol.dispose](): void;
}

/** Two ports joined by `plug(a, b)`. */
export interface Link {
  /** Takes the two ports apart. */
  unplug(): void;
  /** Changes what the link does to frames. */
  set(impairment: Impairment): void;
  [Symbol.dispose](): void;
}

/** How a capture is made. */
export interface CaptureOptions {
  /** Bytes kept of each frame; by default all. */
  snapLength?: number;
  /** Bytes kept in all; the oldest frames go first. By default 64 MiB. */
  memory?: number;
}

/** A frame that a capture saw. */
export interface CapturedFrame {
  /** Counts from 0, without gaps unless frames were dropped before they were looked at. */
  index: number;
  /** Milliseconds since 1970. */
  time: number;
  /** Name of the port that the frame was seen on. */
  port: string;
  /** `"in"`: into the stack, switch or device that owns the port. `"out"`: out of it. */
  direction: "in" | "out";
  /** Length on the wire, which may be more than `data` has. */
  length: number;
  data: Uint8Array<ArrayBuffer>;
  /** One line for people, such as `10.0.2.15:80 → 10.0.2.2:49152 TCP [SYN, ACK] ...`. */
  summary: string;
}

/** Frames seen at a port, or at all ports of a switch (each frame then once for each port that it passes). */
export interface Capture {
  /** Frames kept now. */
  readonly length: number;
  /** Frames that the memory limit has pushed out. */
  readonly dropped: number;
  /**
   * All frames that are kept at the moment of the call, as a pcapng file.
   * Rejects with a TypeError if the capture is closed, with an EngineError if the services' module cannot be loaded.
   */
  pcapng(): Promise<Uint8Array<ArrayBuffer>>;
  /** Frames from the oldest kept one on, then live until `stop`. */
  readonly frames: AsyncIterable<CapturedFrame>;
  /** Stops watching. What was kept can still be read. */
  stop(): void;
  /** Stops, and frees what was kept. */
  close(): void;
  [Symbol.dispose](): void;
}

/** How a port made of functions works. */
export interface FunctionPortOptions {
  /** Takes a frame out of the network. The array is valid during the call only: copy what must stay. */
  send(frame: Uint8Array): void;
  /** Told when the port was closed, by whatever side. */
  closed?(): void;
  name?: string;
}

/** A port made of functions. */
export interface FunctionPort extends Port {
  /** Brings a frame into the network; it is copied. Returns false if it was dropped (not plugged in, full, no frame). */
  receive(frame: Uint8Array): boolean;
}

/** The part of a v86 emulator that a port needs. */
export interface V86Emulator {
  add_listener(event: string, listener: (value: Uint8Array) => void): void;
  remove_listener(event: string, listener: (value: Uint8Array) => void): void;
  bus: { send(event: string, value: Uint8Array): void };
}

/** How a virtual machine is plugged in. */
export interface V86PortOptions {
  /** Number of the virtual machine's network card. By default 0. */
  nic?: number;
  name?: string;
}

/** The part of a WebSocket that a port needs; that of browsers, Node 22 and `ws` have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: never) => void): void;
  removeEventListener(type: string, listener: (event: never) => void): void;
}

/** How a WebSocket is plugged in. */
export interface WebSocketPortOptions {
  name?: string;
  /** Bytes that may wait in the socket's own buffer before frames for it are dropped. By default 1 MiB. */
  queue?: number;
  /** Sub-protocols, when a URL is given. */
  protocols?: string | string[];
}

/** A WebSocket with one Ethernet frame in each binary message. */
export interface WebSocketPort extends Port {
  /** Resolves when the socket is open, rejects if it closes before. */
  readonly opened: Promise<void>;
  /** Resolves when the socket has closed, for whatever reason; the port is unplugged then. */
  readonly closed: Promise<{ code: number; reason: string }>;
}
