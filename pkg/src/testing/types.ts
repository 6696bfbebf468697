/**
 * The public types of `ethertab/testing`. Times are milliseconds of virtual time, sizes are bytes, addresses are strings.
 *
 * @module
 */

import type * as http from "node:http";
import type * as https from "node:https";
import type { SecureRequestInit } from "../gateway/http/opening.js";
import type { Handler } from "../gateway/http/routes.js";
import type { Dgram } from "../node/dgram.js";
import type { Dns } from "../node/dns.js";
import type { Net } from "../node/net.js";
import type {
  ConnectOptions,
  ConnectTarget,
  DurationLike,
  Impairment,
  Listener,
  ListenOptions,
  NameServers,
  PingOptions,
  PingReply,
  Socket,
  Stack,
  StackLimits,
  TcpOptions,
  UdpOptions,
  UdpSocket,
  WasmSource,
} from "../types.js";

/** How a world is made. */
export interface WorldOptions {
  /**
   * All that is random in the world depends on it, 0 to 2^64 - 1. The environment variable `ETHERTAB_SEED` counts more, so that a failure can be run
   * again; with neither, a seed is drawn, which {@link World.seed} tells, and assertions that fail in {@link World.run} and its like.
   */
  seed?: number | bigint;
  /** The date at which the world begins, in milliseconds since 1970 or as a `Date`. By default 2026-01-01T00:00:00Z. */
  start?: number | Date;
  /**
   * Moves `setTimeout`, `setInterval`, `Date`, `Intl`, `performance.now` and `process.hrtime` of the whole process onto the world's clock until it is closed, also those of
   * `node:timers` and `node:timers/promises`, and `AbortSignal.timeout`. One world at a time can have them. By default false.
   */
  fakeTimers?: boolean;
  /**
   * What the test runner hands to the test or to its `beforeEach`: `t` of node:test, the context of Vitest. If the test fails, the seed is printed and the capture written, and
   * at its end the world is closed. Jest hands nothing and needs none: if a test fails there, the same is told of the worlds that were open in it.
   */
  test?: TestContext;
  /** What is captured; `false` for nothing. By default the last 16 MiB of frames, whole. */
  capture?:
    | false
    | {
        /** Bytes of frames that are kept; older ones go. */
        memory?: number;
        /** Bytes that are kept of each frame. */
        snapLength?: number;
      };
  /** Where captures of failures are written. By default `ETHERTAB_FAILURES`, or `ethertab-failures` in the current folder; null for nowhere. */
  failures?: string | null;
  /** Payload memory that the hosts share, in bytes. By default 128 MiB: address space at once, memory as it is used. */
  memory?: number;
  /** Where `ethertab_bg.wasm` is, if not next to the package's files. */
  wasm?: WasmSource;
  /** Where `services_bg.wasm` is. */
  servicesWasm?: WasmSource;
}

/** As much as is needed of node:test's context of a test, or of Vitest's. */
export interface TestContext {
  /** The test's name. */
  readonly name?: string;
  /** node:test: calls back at the test's end. */
  after?(callback: () => unknown): void;
  /** node:test: whether the test has passed. */
  readonly passed?: boolean;
  /** Vitest: the test, which has a name. */
  readonly task?: {
    /** What the test is called. */
    readonly name: string;
  };
  /** Vitest: calls back if the test fails. */
  onTestFailed?(callback: () => unknown): void;
  /** Vitest: calls back at the test's end. */
  onTestFinished?(callback: () => unknown): void;
}

/** A host, or its name. */
export type HostLike = Host | string;

/** What a cable's end is plugged into, or its name. */
export type NodeLike = Host | WorldSwitch | string;

/** How a host is made. */
export interface HostOptions {
  /** Addresses of its first interface, such as `["192.168.1.5/24"]`; by default they are assigned when a cable is plugged in. */
  addresses?: readonly string[];
  /** IP MTU of its interfaces, 576 to 65535; IPv6 needs 1280. By default 1500. */
  mtu?: number;
  /** Settings of its TCP. */
  tcp?: TcpOptions;
  /** The largest numbers of things that its stack may hold. */
  limits?: StackLimits;
  /** Who is asked for names. By default the world's name server. */
  dns?: NameServers;
  /** The host's program: called when time first goes on, and again after each {@link Host.restart}. */
  boot?: (host: Host) => unknown;
}

/** How a switch is made. */
export interface WorldSwitchOptions {
  /** The IPv4 network that hosts get addresses of. By default the next free `/24` of `10.0.0.0/8`. */
  network?: string;
  /** The IPv6 network that hosts get addresses of. By default the next free `/64` of `fd00::/48`. */
  network6?: string;
}

/** A clock in virtual time. */
export interface WorldClock {
  /** Milliseconds since the world began, with fractions. */
  now(): number;
  /** Milliseconds since 1970. */
  date(): number;
  /** Calls back once when so much time has passed, by default none. Returns what `clearTimeout` takes. */
  setTimeout(callback: () => void, delay?: DurationLike): unknown;
  /** Forgets a timer that has not fired. */
  clearTimeout(timer: unknown): void;
  /** Resolves when so much virtual time has passed; rejects with the signal's reason if it aborts. */
  sleep(delay: DurationLike, options?: { signal?: AbortSignal }): Promise<void>;
}

/** A host of a world. What is under it is a new stack after {@link restart}, so take `net` and the others from here each time. */
export interface Host {
  /** Its name, by which it is also found. */
  readonly name: string;
  /** Whether it forwards packets. */
  readonly isRouter: boolean;
  /** Whether it has not been killed, or was restarted. */
  readonly isAlive: boolean;
  /** Its stack, in this life. */
  readonly stack: Stack;
  /** The first IPv4 address, without prefix length; empty before a cable is plugged in. */
  readonly address: string;
  /** The first IPv6 address of its network. */
  readonly address6: string;
  /** All of its addresses, without the link-local ones. */
  readonly addresses: readonly string[];
  /** What `node:net` is for this host. */
  readonly net: Net;
  /** What `node:dgram` is for this host. */
  readonly dgram: Dgram;
  /** What `node:dns` is for this host. */
  readonly dns: Dns;
  /** An agent for `http.request`, without keep-alive. */
  readonly agent: http.Agent;
  /** An agent for `https.request`, without keep-alive. */
  readonly httpsAgent: https.Agent;
  /** The host's own clock, which {@link Faults.clockSkew} puts wrong. */
  readonly clock: WorldClock;
  /** Aborts when the host is killed. */
  readonly signal: AbortSignal;
  /** `fetch` from this host: connections are kept for the next request; no cookies, no cache. `init.tls.ca` are the authorities that `https:` trusts. */
  fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response>;
  /** Serves HTTP on a port with a function, or with a server of `node:http`, which gets the connections. */
  serve(
    port: number,
    handler: Handler | http.Server,
  ): {
    /** Takes no connections any more. */
    close(): void;
  };
  /** Starts a connection, as {@link Stack.connect} does. */
  connect(address: ConnectTarget | string, options?: ConnectOptions): Socket;
  /** Takes connections, as {@link Stack.listen} does. */
  listen(options: ListenOptions): Listener;
  /** Makes a UDP socket, as {@link Stack.bindUdp} does. */
  bindUdp(options?: UdpOptions): UdpSocket;
  /** Pings an address or a name. */
  ping(host: string, options?: PingOptions): Promise<PingReply>;
  /** The addresses of a name. */
  resolve(hostname: string): Promise<string[]>;
  /** Takes the power from the host: nothing more leaves it, no FIN and no reset. What its program waits for never comes. */
  kill(): void;
  /** A new stack with the same addresses at the same cables, and `boot` again. A host that lives is killed before. */
  restart(): void;
}

/** A switch of a world. */
export interface WorldSwitch {
  /** Its name, by which it is also found. */
  readonly name: string;
}

/** What a cable does to frames, in both directions. */
export interface Weather extends Impairment {
  /**
   * Loss in bursts (Gilbert and Elliott): for each frame, a good line turns bad with probability `start`, a bad one good with `stop`, and while it is
   * bad a frame is lost with probability `loss`, by default 1. Null for none.
   */
  burstLoss?: {
    /** Probability, for each frame, that a good line turns bad. */
    start: number;
    /** Probability, for each frame, that a bad line turns good. */
    stop: number;
    /** Probability that a frame is lost while the line is bad. By default 1. */
    loss?: number;
  } | null;
}

/** How a cable is laid. */
export interface WorldCableOptions extends Weather {
  /** Addresses of the two ends by host name, where they are not to be assigned. */
  addresses?: Readonly<Record<string, readonly string[]>>;
}

/** A cable of a world. */
export interface WorldCable {
  /** Such as `"a-b"`. */
  readonly name: string;
  /** Changes what the cable does to frames from now on; what is not named stays. Frames on the way are not touched. */
  set(weather: Weather): void;
  /**
   * Drops the frames for which `filter` returns true, which it must do at once, on their way from one end to the other. `times` is how many at most.
   */
  drop(filter: (packet: Packet) => boolean | undefined, options?: { times?: number }): Fault;
  /** Pulls the cable: frames on the way are lost. */
  unplug(): void;
  /** Plugs it in again. */
  plug(): void;
}

/** Something that goes wrong until it is healed. */
export interface Fault {
  /** Whether it still goes wrong. */
  readonly isActive: boolean;
  /** How many frames it dropped, connections it reset, or questions it answered so far. */
  readonly count: number;
  /** Ends the fault; a second call does nothing. */
  heal(): void;
  /** Heals it. */
  [Symbol.dispose](): void;
}

/** Which connections or packets are meant; by default all. */
export interface Where {
  /** One of the two hosts, */
  from?: HostLike;
  /** and the other one. Both directions are meant. */
  to?: HostLike;
  /** A TCP or UDP port of either end. */
  port?: number;
}

/** Faults of a world. */
export interface Faults {
  /** Each TCP connection is reset, for both ends, when so many bytes of payload have passed in it, both directions together. */
  resetAfter(bytes: number, where?: Where): Fault;
  /** Packets vanish without a word: those of these hosts and ports, in both directions, or with `oneWay` only those that go `from` → `to`. */
  blackhole(where?: Where & { oneWay?: boolean }): Fault;
  /** The name server takes its time, for all names or one, and for all hosts or one. */
  slowDns(delay: DurationLike, about?: { name?: string; host?: HostLike }): Fault;
  /**
   * The name server answers wrongly: with these addresses, that there is no such name, that it has failed, or not at all. Nobody keeps its answers.
   */
  wrongDns(
    name: string,
    answer: readonly string[] | "no such name" | "server failure" | "no answer",
    about?: { host?: HostLike },
  ): Fault;
  /** A host's clock ({@link Host.clock}) is ahead by `offset`, which may be negative, and goes `rate` times as fast. */
  clockSkew(host: HostLike, skew: { offset?: DurationLike; rate?: number }): Fault;
  /** Heals all of them. */
  heal(): void;
}

/** What is in a TCP segment. */
export interface PacketTcp {
  /** The sender's port. */
  readonly sourcePort: number;
  /** The receiver's port. */
  readonly destinationPort: number;
  /** The sequence number, absolute. */
  readonly seq: number;
  /** The acknowledgment number, absolute. */
  readonly ack: number;
  /** The control bits. */
  readonly flags: Readonly<
    Record<"fin" | "syn" | "rst" | "psh" | "ack" | "urg" | "ece" | "cwr", boolean>
  >;
  /** As in the header, without the scale. */
  readonly window: number;
  /** What it carries. */
  readonly payload: Uint8Array;
}

/** What is in a UDP datagram. */
export interface PacketUdp {
  /** The sender's port. */
  readonly sourcePort: number;
  /** The receiver's port. */
  readonly destinationPort: number;
  /** What it carries. */
  readonly payload: Uint8Array;
}

/** What is in an ICMP or ICMPv6 message. */
export interface PacketIcmp {
  /** The message's type. */
  readonly type: number;
  /** The message's code. */
  readonly code: number;
  /** What is behind type, code and checksum. */
  readonly payload: Uint8Array;
}

/** A frame, read. What it does not carry is null. */
export interface Packet {
  /** The frame as it is. */
  readonly bytes: Uint8Array;
  /** Milliseconds since the world began. */
  readonly time: number;
  /** The host or switch that it left, */
  readonly from: string;
  /** and the one that it goes to; empty where that is not known, in captures. */
  readonly to: string;
  /** Whose card it is from. */
  readonly sourceMac: string;
  /** Whose card it is for. */
  readonly destinationMac: string;
  /** What it carries, behind a VLAN tag if it has one. */
  readonly etherType: number;
  /** What an ARP message says. */
  readonly arp: {
    /** 1 is a request, 2 an answer. */
    readonly operation: number;
    /** The sender's IPv4 address. */
    readonly sender: string;
    /** The address that it is about. */
    readonly target: string;
  } | null;
  /** The IP header. */
  readonly ip: {
    /** Its family. */
    readonly version: 4 | 6;
    /** Its sender's address. */
    readonly source: string;
    /** Its receiver's address. */
    readonly destination: string;
    /** Time to live, or hop limit. */
    readonly ttl: number;
    /** What it carries: 6 is TCP, 17 UDP. */
    readonly protocol: number;
  } | null;
  /** The TCP segment. */
  readonly tcp: PacketTcp | null;
  /** The UDP datagram. */
  readonly udp: PacketUdp | null;
  /** The ICMP or ICMPv6 message. */
  readonly icmp: PacketIcmp | null;
  /** What TCP, UDP or ICMP carry. */
  readonly payload: Uint8Array;
  /** The payload as UTF-8. */
  readonly text: string;
}

/** A packet of a capture. */
export interface CapturedPacket extends Packet {
  /** Its number in the capture. */
  readonly index: number;
  /** The host at whose interface it was seen, */
  readonly host: string;
  /** as sent by it, or as received. */
  readonly direction: "out" | "in";
  /** One line for people. */
  readonly summary: string;
}

/** A TCP handshake. */
export interface Handshake {
  /** As `"10.0.0.1:49152"`. */
  readonly client: string;
  /** The other end. */
  readonly server: string;
  /** When the first SYN was sent. */
  readonly began: number;
  /** When the client sent the ACK that ends it; null if it never did. */
  readonly ended: number | null;
  /** SYNs that the client sent. */
  readonly attempts: number;
}

/** Says how many packets there have to be. Each throws an AssertionError that lists what was found. */
export interface Expectation {
  /** The packets that match. */
  readonly packets: readonly CapturedPacket[];
  /** There is none. */
  never(): void;
  /** There is one, which is returned. */
  once(): CapturedPacket;
  /** There are so many, no more and no less. */
  times(count: number): readonly CapturedPacket[];
  /** There are so many, or more. */
  atLeast(count: number): readonly CapturedPacket[];
  /** There are so many, or fewer. */
  atMost(count: number): readonly CapturedPacket[];
}

/** All that the interfaces of a world's hosts have sent and received. */
export interface WorldCapture {
  /** The packets that were sent, before any cable could lose them. */
  sent(filter?: (packet: CapturedPacket) => boolean | undefined): CapturedPacket[];
  /** The packets that have arrived. */
  received(filter?: (packet: CapturedPacket) => boolean | undefined): CapturedPacket[];
  /** Segments that were sent again: all of what they carry, or their SYN or FIN, was sent before. */
  retransmissions(filter?: (packet: CapturedPacket) => boolean | undefined): CapturedPacket[];
  /** The TCP handshakes, in the order in which they began. */
  handshakes(): Handshake[];
  /** Expects something of the packets that were sent. */
  expect(what: string, filter: (packet: CapturedPacket) => boolean | undefined): Expectation;
  /** Packets that had to go, since the capture was full. */
  readonly dropped: number;
  /** A file for Wireshark, with one interface for each of the hosts'. */
  pcapng(): Uint8Array<ArrayBuffer>;
  /** Forgets all packets so far. */
  clear(): void;
}

/** How time is let go on. */
export interface RunOptions {
  /** How much virtual time it may take, after which it rejects. By default one day. */
  limit?: DurationLike;
}

/** A network in virtual time. */
export interface World {
  /** What makes the run come again. */
  readonly seed: bigint;
  /** Virtual time. */
  readonly clock: WorldClock;
  /** What can be made to go wrong. */
  readonly faults: Faults;
  /** What was sent and received. */
  readonly capture: WorldCapture;
  /** Hosts and routers, in the order in which they were made. */
  readonly hosts: readonly Host[];
  /** The host of this name, which is made if there is none. */
  host(name: string, options?: HostOptions): Host;
  /** A host that forwards packets between its cables. All hosts get the routes they need. */
  router(name: string, options?: HostOptions): Host;
  /** The switch of this name, which is made if there is none. */
  switch(name: string, options?: WorldSwitchOptions): WorldSwitch;
  /** Lays a cable between hosts, routers and switches. */
  cable(a: NodeLike, b: NodeLike, options?: WorldCableOptions): WorldCable;
  /** A name that the name server knows besides those of hosts. */
  name(name: string, addresses: readonly string[]): void;
  /** Answers questions about the world's names on UDP port 53 of a host, for those that ask there. */
  serveNames(host: HostLike): void;
  /** From 0 to 1 without 1, by the seed. */
  random(): number;
  /** Lets time go on until the promise, or that of the function, has settled. */
  run<T>(work: Promise<T> | (() => Promise<T> | T), options?: RunOptions): Promise<T>;
  /** Lets time go on until the condition is true, which is looked at whenever the program has settled. */
  until(condition: () => unknown, options?: RunOptions): Promise<void>;
  /** Lets so much time go on, and no more. */
  step(duration: DurationLike): Promise<void>;
  /** Time stands still until the promise has settled: for work outside of the world, such as the thread pool's, files and real sockets. */
  hold<T>(promise: Promise<T>, label?: string): Promise<T>;
  /** Hosts of different groups reach each other no more; those in none are not touched. Until it is healed. */
  partition(...groups: readonly (readonly HostLike[])[]): Fault;
  /** Heals all partitions. */
  heal(): void;
  /** {@link Host.kill}. */
  kill(host: HostLike): void;
  /** {@link Host.restart}. */
  restart(host: HostLike): void;
  /** Who waits for what now, a line each. */
  waits(): string[];
  /** Ends everything. What still waits waits for ever. */
  close(): void;
  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}
