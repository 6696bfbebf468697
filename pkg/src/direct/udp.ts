/** `UDPSocket` and its `MulticastController`. The steps are those of https://wicg.github.io/direct-sockets/, in their order. */

import * as check from "../arguments.js";
import { SocketError } from "../errors.js";
import { ipNumbers } from "../ip.js";
import type { BufferSource } from "../platform.js";
import type { Nic, UdpOptions, UdpSocket } from "../types.js";
import type { WorkerNic, WorkerUdpSocket } from "../worker/types.js";
import { DirectSocket, type Settle } from "./lifetime.js";
import {
  type AnyStack,
  addressOf,
  dictionary,
  enforceRange,
  failing,
  familyOf,
  invalidState,
  ipLiteral,
  isUnspecified,
  LONG,
  networkError,
  positive,
  queryFamily,
  SHORT,
  Sides,
  type SocketDnsQueryType,
  whenEnded,
} from "./options.js";

/** See https://wicg.github.io/direct-sockets/#udpsocketoptions-dictionary. */
export interface UDPSocketOptions {
  /** The peer, in connected mode. */
  remoteAddress?: string;
  /** The peer's port, in connected mode. */
  remotePort?: number;
  /** The address to bind to, in bound mode. */
  localAddress?: string;
  /** The port to bind to, in bound mode. By default the stack chooses one. */
  localPort?: number;
  /** A wish; the stack's own queue is bounded in another way. */
  sendBufferSize?: number;
  /** As `sendBufferSize`. */
  receiveBufferSize?: number;
  /** Of which family the addresses of a name are to be. By default of both. */
  dnsQueryType?: SocketDnsQueryType;
  /** Whether a socket on `::` takes IPv6 only. By default false. */
  ipv6Only?: boolean;
  /** By default 1. */
  multicastTimeToLive?: number;
  /** By default true. */
  multicastLoopback?: boolean;
  /** By default false. */
  multicastAllowAddressSharing?: boolean;
}

/** A datagram. In connected mode only `data` is there. */
export interface UDPMessage<D = BufferSource> {
  /** The payload. */
  data: D;
  /** In bound mode: who has sent it, or whom it is for. */
  remoteAddress?: string;
  /** In bound mode: the port there. */
  remotePort?: number;
  /** For what is written in bound mode. */
  dnsQueryType?: SocketDnsQueryType;
}

/** What `opened` resolves with; the remote end in connected mode, the controller in bound mode. */
export interface UDPSocketOpenInfo {
  /** Datagrams that come. */
  readable: ReadableStream<UDPMessage<Uint8Array<ArrayBuffer>>>;
  /** Takes datagrams to send. */
  writable: WritableStream<UDPMessage>;
  /** The peer, in connected mode. */
  remoteAddress?: string;
  /** The peer's port, in connected mode. */
  remotePort?: number;
  /** The address that it is bound to. */
  localAddress: string;
  /** The port that it is bound to. */
  localPort: number;
  /** Joins and leaves groups, in bound mode. */
  multicastController?: MulticastController;
}

/** A membership in a group. */
export interface MulticastMembership {
  /** The group. */
  groupAddress: string;
  /** The source whose datagrams are wanted. */
  sourceAddress: string;
}

/** From whom a group is listened to; by default from all. */
export interface MulticastGroupOptions {
  /** The source whose datagrams are wanted. By default all. */
  sourceAddress?: string;
}

/** The checked options: where to, or where at. */
type Mode =
  | { isBound: false; host: string; port: number; family: 0 | 4 | 6 }
  | { isBound: true; address: string; port: number; family: 0 | 4 | 6 };

function modeOf(given: Partial<UDPSocketOptions>): Mode {
  const { remoteAddress, remotePort, localAddress, localPort, dnsQueryType, ipv6Only } = given;
  if ((remoteAddress === undefined) !== (remotePort === undefined)) {
    throw new TypeError("options.remoteAddress and options.remotePort go together");
  }
  const port = positive("options.localPort", localPort, SHORT);
  if (port !== undefined && localAddress === undefined) {
    throw new TypeError("options.localPort needs options.localAddress");
  }
  const isConnected = remoteAddress !== undefined;
  if (localAddress !== undefined && isConnected) {
    throw new TypeError("options.localAddress cannot be given with options.remoteAddress");
  }
  const address =
    localAddress === undefined ? null : ipLiteral("options.localAddress", localAddress);
  if (address === null && !isConnected) {
    throw new TypeError("options.remoteAddress or options.localAddress must be given");
  }
  const family = queryFamily("options.dnsQueryType", dnsQueryType);
  if (family !== 0 && address !== null) {
    throw new TypeError("options.dnsQueryType cannot be given with options.localAddress");
  }
  const isAny = address !== null && isUnspecified(address);
  if (ipv6Only !== undefined && !(isAny && familyOf(address) === 6)) {
    throw new TypeError('options.ipv6Only needs "::" as options.localAddress');
  }
  positive("options.sendBufferSize", given.sendBufferSize, LONG);
  positive("options.receiveBufferSize", given.receiveBufferSize, LONG);
  if (address === null) {
    const number = enforceRange("options.remotePort", remotePort, SHORT);
    return { isBound: false, host: String(remoteAddress), port: number, family };
  }
  const only = isAny && (ipv6Only || familyOf(address) === 4) ? familyOf(address) : 0;
  return { isBound: true, address, port: port ?? 0, family: only };
}

function multicastOptions(given: Partial<UDPSocketOptions>): UdpOptions {
  const { multicastTimeToLive, multicastLoopback, multicastAllowAddressSharing } = given;
  const options: UdpOptions = {};
  if (multicastTimeToLive !== undefined) {
    // A time to live of 0 keeps datagrams on this host; the least that the stack has keeps them on the link.
    const ttl = enforceRange("options.multicastTimeToLive", multicastTimeToLive, 255);
    options.multicastTtl = Math.max(ttl, 1);
  }
  if (multicastLoopback !== undefined) options.multicastLoop = Boolean(multicastLoopback);
  if (multicastAllowAddressSharing !== undefined) {
    options.sharePort = Boolean(multicastAllowAddressSharing);
  }
  return options;
}

/** `UDPSocket` of a stack. */
export class DirectUdpSocket extends DirectSocket<UDPSocketOpenInfo> {
  constructor(stack: AnyStack, options?: UDPSocketOptions) {
    const given = dictionary("options", options);
    const mode = modeOf(given);
    const settings = multicastOptions(given);
    super((settle) =>
      mode.isBound ? bind(stack, mode, settings, settle) : connect(stack, mode, settings, settle),
    );
  }

  /** The name of the class. */
  get [Symbol.toStringTag](): string {
    return "UDPSocket";
  }
}

async function bind(
  stack: AnyStack,
  { address, port, family }: Mode & { isBound: true },
  options: UdpOptions,
  settle: Settle,
): Promise<UDPSocketOpenInfo> {
  const hostname = isUnspecified(address) ? {} : { hostname: address };
  const socket = await stack.bindUdp({ ...options, ...hostname, port });
  const controller = new MulticastController(stack, socket);
  const sides = sidesOf(socket, controller, settle);
  return {
    readable: readableOf(socket, sides, family, true),
    writable: writableOf(socket, sides, async (message) => {
      const { remoteAddress, remotePort, dnsQueryType } = message;
      if (remoteAddress === undefined || remotePort === undefined) {
        throw new TypeError("message.remoteAddress and message.remotePort must be given");
      }
      const number = enforceRange("message.remotePort", remotePort, SHORT);
      const wanted = queryFamily("message.dnsQueryType", dnsQueryType);
      const remote = await addressOf(stack, String(remoteAddress), wanted);
      return { remoteAddress: remote, remotePort: number };
    }),
    localAddress: address,
    localPort: socket.address.port,
    multicastController: controller,
  };
}

async function connect(
  stack: AnyStack,
  { host, port, family }: Mode & { isBound: false },
  options: UdpOptions,
  settle: Settle,
): Promise<UDPSocketOpenInfo> {
  const remoteAddress = await addressOf(stack, host, family);
  const socket = await stack.bindUdp(options);
  // Nobody answers in the name of a group, so there is nothing to connect to.
  const group = isMulticast(remoteAddress) ? { remoteAddress, remotePort: port } : undefined;
  try {
    if (group === undefined) await socket.connect({ address: remoteAddress, port });
  } catch (error) {
    void socket.close();
    throw error;
  }
  const sides = sidesOf(socket, null, settle);
  return {
    readable: readableOf(socket, sides, 0, false),
    writable: writableOf(socket, sides, (message) => {
      for (const name of ["remoteAddress", "remotePort", "dnsQueryType"] as const) {
        if (message[name] === undefined) continue;
        throw new TypeError(`message.${name} cannot be given: the socket is connected`);
      }
      return group;
    }),
    remoteAddress,
    remotePort: port,
    localAddress: socket.address.address,
    localPort: socket.address.port,
  };
}

function sidesOf(
  socket: UdpSocket | WorkerUdpSocket,
  controller: MulticastController | null,
  settle: Settle,
): Sides {
  return new Sides(["readable", "writable"], (failure) => {
    controller?.end();
    void socket.close();
    settle(failure);
  });
}

function readableOf(
  socket: UdpSocket | WorkerUdpSocket,
  sides: Sides,
  family: 0 | 4 | 6,
  tellsSender: boolean,
): ReadableStream<UDPMessage<Uint8Array<ArrayBuffer>>> {
  return new ReadableStream<UDPMessage<Uint8Array<ArrayBuffer>>>(
    {
      start(controller) {
        const fail = failing(sides, "readable", controller);
        whenEnded(socket, () => socket.receive(), fail);
        // What the peer of a connected socket has refused; that a datagram to one of many peers was is no error of the socket.
        if (!tellsSender) socket.onerror = fail;
      },
      async pull(controller) {
        try {
          for (;;) {
            const { data, remoteAddress, remotePort } = await socket.receive();
            if (family !== 0 && familyOf(remoteAddress) !== family) continue;
            controller.enqueue(tellsSender ? { data, remoteAddress, remotePort } : { data });
            return;
          }
        } catch (cause) {
          failing(sides, "readable", controller)(cause);
        }
      },
      cancel() {
        sides.end("readable");
      },
    },
    { highWaterMark: 0 },
  );
}

type Target = { remoteAddress: string; remotePort: number };

function writableOf(
  socket: UdpSocket | WorkerUdpSocket,
  sides: Sides,
  targetOf: (message: Partial<UDPMessage>) => Target | undefined | Promise<Target>,
): WritableStream<UDPMessage> {
  return new WritableStream<UDPMessage>({
    start(controller) {
      whenEnded(socket, () => socket.receive(), failing(sides, "writable", controller));
    },
    async write(chunk) {
      const message = dictionary("message", chunk);
      const bytes = new Uint8Array(check.bytes("message.data", message.data));
      try {
        await socket.send(bytes, await targetOf(message));
      } catch (cause) {
        // Anything but a wrong message is the network's.
        const isNetwork = cause instanceof SocketError || !(cause instanceof TypeError);
        const error = isNetwork ? networkError(cause) : cause;
        sides.end("writable", { error });
        throw error;
      }
    },
    close() {
      sides.end("writable");
    },
    abort() {
      sides.end("writable");
    },
  });
}

/** The groups that a bound `UDPSocket` listens to, on the stack's first interface that leads outside. */
export class MulticastController {
  readonly #stack: AnyStack;
  readonly #socket: UdpSocket | WorkerUdpSocket;
  readonly #joined: { groupAddress: string; sourceAddress: string | undefined }[] = [];
  #isOver = false;

  constructor(stack: AnyStack, socket: UdpSocket | WorkerUdpSocket) {
    this.#stack = stack;
    this.#socket = socket;
  }

  /** The socket is closed, and has left its groups. */
  end(): void {
    this.#isOver = true;
    this.#joined.length = 0;
  }

  /** Joins a group, from all sources or from one. */
  async joinGroup(groupAddress: string, options?: MulticastGroupOptions): Promise<undefined> {
    const { group, source } = membership(groupAddress, options);
    if (this.#find(group, source) >= 0) throw invalidState(`${group} is joined already`);
    this.#assertOpen();
    const entry = { groupAddress: group, sourceAddress: source };
    this.#joined.push(entry);
    try {
      await this.#tell(group);
    } catch (cause) {
      this.#joined.splice(this.#joined.indexOf(entry), 1);
      throw networkError(cause);
    }
    return undefined;
  }

  /** Leaves a group that was joined with the same arguments. */
  async leaveGroup(groupAddress: string, options?: MulticastGroupOptions): Promise<undefined> {
    const { group, source } = membership(groupAddress, options);
    this.#assertOpen();
    const at = this.#find(group, source);
    if (at < 0) throw invalidState(`${group} is not joined`);
    this.#joined.splice(at, 1);
    try {
      await this.#tell(group);
    } catch (cause) {
      throw networkError(cause);
    }
    return undefined;
  }

  /** Groups as texts; those that are joined for one source as {@link MulticastMembership}. */
  get joinedGroups(): readonly (string | MulticastMembership)[] {
    return Object.freeze(
      this.#joined.map(({ groupAddress, sourceAddress }) =>
        sourceAddress === undefined ? groupAddress : { groupAddress, sourceAddress },
      ),
    );
  }

  #find(group: string, source: string | undefined): number {
    return this.#joined.findIndex(
      ({ groupAddress, sourceAddress }) => groupAddress === group && sourceAddress === source,
    );
  }

  #assertOpen(): void {
    if (this.#isOver) throw invalidState("the socket is closed");
  }

  /** Tells the stack what is wanted of a group now. */
  async #tell(group: string): Promise<void> {
    const nics: readonly (Nic | WorkerNic)[] = await this.#stack.interfaces;
    const nic = nics.find(({ mac }) => mac !== "00:00:00:00:00:00") ?? nics[0];
    if (nic === undefined) throw new TypeError("the stack has no interface");
    const socket = this.#socket as UdpSocket;
    const wanted = this.#joined.filter(({ groupAddress }) => groupAddress === group);
    const sources = wanted.flatMap(({ sourceAddress }) => sourceAddress ?? []);
    if (wanted.length === 0) await socket.leaveGroup(group, nic as Nic);
    else if (sources.length < wanted.length) await socket.joinGroup(group, nic as Nic);
    else await socket.joinGroup(group, nic as Nic, { only: sources });
  }

  /** The name of the class. */
  get [Symbol.toStringTag](): string {
    return "MulticastController";
  }
}

function membership(
  groupAddress: string,
  options: MulticastGroupOptions | undefined,
): { group: string; source: string | undefined } {
  const group = ipLiteral("groupAddress", groupAddress);
  if (!isMulticast(group)) throw new TypeError(`groupAddress must be a group, got ${group}`);
  const { sourceAddress } = dictionary("options", options);
  if (sourceAddress === undefined) return { group, source: undefined };
  const source = ipLiteral("options.sourceAddress", sourceAddress);
  const isLoopback = source.startsWith("127.") || source === "::1";
  if (isMulticast(source) || isLoopback || isUnspecified(source)) {
    throw new TypeError(`options.sourceAddress must be the address of a host, got ${source}`);
  }
  if (familyOf(source) !== familyOf(group)) {
    throw new TypeError("options.sourceAddress and groupAddress must be of one family");
  }
  return { group, source };
}

function isMulticast(address: string): boolean {
  const [first = 0, , , last = 0] = ipNumbers(address);
  return familyOf(address) === 4 ? last >>> 28 === 0xe : first >>> 24 === 0xff;
}
