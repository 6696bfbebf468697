/** The types of a stack in a worker: those of a stack, except that what is told at once there is promised here. */

import type { BufferSource } from "../platform.js";
import type {
  ConnectionInfo,
  ConnectOptions,
  ConnectTarget,
  Datagram,
  DatagramTarget,
  GroupSources,
  InterfaceOptions,
  Listener,
  ListenOptions,
  Nic,
  Socket,
  SocketAddress,
  Stack,
  TcpSettings,
  Trace,
  TraceEvent,
  UdpOptions,
  UdpSettings,
  UdpSocket,
} from "../types.js";
import type { LinkPort } from "../types_ports.js";
import type { NIC_METHODS, NIC_PROPERTIES, STACK_METHODS } from "./protocol.js";

/** Methods and properties that answer by promises, whatever they did before; interfaces are those of the worker's stack. */
type Promised<T, K extends keyof T> = {
  readonly [M in K]: T[M] extends (...args: infer A) => infer R
    ? (...args: { [I in keyof A]: WithNics<A[I]> }) => Promise<Awaited<R>>
    : Promise<T[M]>;
};

type WithNics<A> = A extends Nic
  ? WorkerNic
  : A extends { nic?: Nic } | { outside: Nic }
    ? { [K in keyof A]: Exclude<A[K], undefined> extends Nic ? WorkerNic : A[K] }
    : A;

/** A connection; `info` and `tcpSettings` answer by promises. */
export interface WorkerSocket extends Omit<Socket, "info" | "tcpSettings" | "onready"> {
  /** As {@link Socket.onready}. */
  onready: ((socket: WorkerSocket) => void) | null;
  /** As {@link Socket.info}, by a promise. */
  info(): Promise<ConnectionInfo | null>;
  /** As {@link Socket.tcpSettings}, by a promise. */
  tcpSettings(): Promise<TcpSettings | null>;
}

/** A listener; up to 16 accepted connections wait in this thread. */
export interface WorkerListener
  extends Omit<
      Listener,
      "accept" | "tryAccept" | "tcpSettings" | "onready" | typeof Symbol.asyncIterator
    >,
    AsyncIterable<WorkerSocket> {
  /** As {@link Listener.accept}. */
  accept(options?: { signal?: AbortSignal }): Promise<WorkerSocket>;
  /** As {@link Listener.tryAccept}. */
  tryAccept(): WorkerSocket | null;
  /** As {@link Listener.onready}. */
  onready: ((listener: WorkerListener) => void) | null;
  /** As {@link Listener.tcpSettings}, by a promise. */
  tcpSettings(): Promise<TcpSettings | null>;
}

/** A datagram that arrived. */
export interface WorkerDatagram extends Omit<Datagram, "nic"> {
  /** The interface it came in by. */
  nic: WorkerNic | null;
}

/** A UDP socket; up to 64 datagrams wait in this thread. What a call throws elsewhere, it rejects with here. */
export interface WorkerUdpSocket extends AsyncIterable<WorkerDatagram> {
  /** As {@link UdpSocket.address}. */
  readonly address: SocketAddress;
  /** As {@link UdpSocket.readable}. */
  readonly readable: ReadableStream<WorkerDatagram>;
  /** As {@link UdpSocket.send}, by a promise. */
  send(data: BufferSource, to?: DatagramTarget | WorkerDatagram): Promise<void>;
  /** As {@link UdpSocket.connect}, by a promise. */
  connect(peer: SocketAddress | null): Promise<void>;
  /** As {@link UdpSocket.remote}. */
  readonly remote: SocketAddress | null;
  /** As {@link UdpSocket.setOptions}, by a promise. */
  setOptions(settings: Partial<UdpSettings>): Promise<void>;
  /** As {@link UdpSocket.settings}, by a promise. */
  settings(): Promise<UdpSettings | null>;
  /** As {@link UdpSocket.joinGroup}, by a promise. */
  joinGroup(group: string, nic: WorkerNic, sources?: GroupSources): Promise<void>;
  /** As {@link UdpSocket.leaveGroup}, by a promise. */
  leaveGroup(group: string, nic: WorkerNic): Promise<void>;
  /** As {@link UdpSocket.receive}. */
  receive(options?: { signal?: AbortSignal }): Promise<WorkerDatagram>;
  /** As {@link UdpSocket.tryReceive}. */
  tryReceive(): WorkerDatagram | null;
  /** As {@link UdpSocket.onready}. */
  onready: ((socket: WorkerUdpSocket) => void) | null;
  /** As {@link UdpSocket.onerror}. */
  onerror: UdpSocket["onerror"];
  /** As {@link UdpSocket.close}. */
  close(): Promise<void>;
  /** As {@link UdpSocket.closed}. */
  readonly closed: Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * An interface of a stack in a worker. It can be plugged in as any port: its frames cross in messages, in memory that moves with them.
 */
export interface WorkerNic
  extends Promised<Nic, (typeof NIC_METHODS)[number] | (typeof NIC_PROPERTIES)[number]> {
  /** As {@link Nic.name}. */
  readonly name: string;
  /** As {@link Nic.mac}. */
  readonly mac: string;
  /** As {@link Nic.mtu}. */
  readonly mtu: number;
  /** Resolves once the interface has an address that was asked for; rejects if it is closed before. */
  readonly configured: Promise<void>;
  /** Why the DHCP client could not begin. */
  readonly dhcpError: Promise<Error | null>;
  /** Where its frames go in and out in this thread, made when it is first asked for: the interface is plugged into it in the worker. */
  readonly port: LinkPort;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How an interface is made. */
export interface WorkerInterfaceOptions extends Omit<InterfaceOptions, "vlan"> {
  /** As {@link InterfaceOptions.vlan}. */
  vlan?: {
    /** The interface whose port carries the frames. */
    on: WorkerNic;
    /** The VLAN's number. */
    id: number;
  };
}

/** What TCP does. */
export interface WorkerTrace extends AsyncIterable<TraceEvent> {
  /** As {@link Trace.dropped}, by a promise. */
  readonly dropped: Promise<Trace["dropped"]>;
  /** As {@link Trace.take}, by a promise. */
  take(most?: number): Promise<TraceEvent[]>;
}

/**
 * A stack that runs in a worker, with the API of a {@link Stack}: what that tells at once, this one promises, so that code with `await` before
 * each call works with both. `connect` and `listen` give their sockets at once.
 */
export interface WorkerStack extends Promised<Stack, (typeof STACK_METHODS)[number]> {
  /** As {@link Stack.hostname}. */
  readonly hostname: string;
  /** As {@link Stack.interfaces}, by a promise. */
  readonly interfaces: Promise<readonly WorkerNic[]>;
  /** As {@link Stack.blocksInUse}, by a promise. */
  readonly blocksInUse: Promise<number>;
  /** As {@link Stack.trace}. */
  readonly trace: WorkerTrace;
  /** As {@link Stack.addInterface}, by a promise. */
  addInterface(options: WorkerInterfaceOptions): Promise<WorkerNic>;
  /** As {@link Stack.connect}. */
  connect(address: ConnectTarget | string, options?: ConnectOptions): WorkerSocket;
  /** As {@link Stack.listen}. */
  listen(options: ListenOptions): WorkerListener;
  /** Rejects where `Stack.bindUdp` throws. */
  bindUdp(options?: UdpOptions): Promise<WorkerUdpSocket>;
  /** As {@link Stack.traceroute}. */
  traceroute: Stack["traceroute"];
  /** Resolves when the stack, or its worker, has ended. */
  readonly closed: Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
