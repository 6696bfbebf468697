/** Stacks: interfaces, routes and the sockets of one host. */

import { advertise, advertisementOf, stopAdvertising } from "./advertising.js";
import * as check from "./arguments.js";
import { Configuration, type Names, nameServers, type OwnServices } from "./configuration.js";
import { connectByName } from "./connect_by_name.js";
import { ANY, connectPlan, failureOf, listenPlan } from "./connect_options.js";
import { engineFor } from "./engine.js";
import { type Dependent, deferred, type EngineCore } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { FlowTaker } from "./flows.js";
import { ipNumbers, optionalIp } from "./ip.js";
import { ListenerImpl } from "./listener.js";
import { Members } from "./members.js";
import { COUNTERS, INTERFACE, LIMITS, NEIGHBORS } from "./names.js";
import { NicImpl } from "./nic.js";
import { ping } from "./ping.js";
import { fieldsOf, valuesOf } from "./records.js";
import { Resolver } from "./resolver.js";
import type { Restable, RestingSocket } from "./resting.js";
import {
  addRoute,
  forwardPort,
  natFlowsOf,
  type Owner,
  portForwardsOf,
  removeRoute,
  routesOf,
  setNat,
  unforwardPort,
} from "./routing.js";
import { Services } from "./services.js";
import { connectionsOf, SocketImpl, type SocketStart } from "./socket.js";
import { tcpSettings, tcpValues } from "./tcp_options.js";
import { clientSecurity, type Security, serverSecurity } from "./tls/secure.js";
import { TraceImpl } from "./trace.js";
import { traceroute } from "./traceroute.js";
import type {
  AcceptAnyOptions,
  AdvertiseOptions,
  AnyAddress,
  ConnectionInfo,
  ConnectOptions,
  ConnectTarget,
  DnsRecord,
  InterfaceOptions,
  Listener,
  ListenOptions,
  Mdns,
  MdnsOptions,
  NatFlow,
  NatOptions,
  NeighborInfo,
  Nic,
  PingOptions,
  PingReply,
  PortForward,
  ResolveOptions,
  RouteInfo,
  RouteOptions,
  Socket,
  SocketAddress,
  Stack,
  StackLimits,
  StackOptions,
  TcpOptions,
  TcpSettings,
  TracerouteHop,
  TracerouteOptions,
  UdpOptions,
  UdpSocket,
} from "./types.js";
import { UdpSocketImpl, udpValues } from "./udp.js";
import type { Bindings } from "./wasm/ethertab_bindings.js";

const DEFAULT_MTU = 1_500;
const MEDIA = ["ethernet", "ip", "loopback"];
const VLAN = 3;
const NO_MAC = new Uint8Array(6);
/** RFC 8200 §5. */
const IPV6_MIN_MTU = 1_280;
const MICROSECONDS = 1_000;

/** How all addresses are written. */
const ALL = "::";

const limitFields = fieldsOf(LIMITS);
const interfaceFields = fieldsOf(INTERFACE);
const neighborFields = fieldsOf(NEIGHBORS);
const counters = fieldsOf(COUNTERS);

/** The counts of {@link StackLimits}, with the largest that the engine takes. */
const MOST: Readonly<Record<keyof Omit<StackLimits, "memory" | "trace">, number>> = {
  interfaces: 64,
  addresses: 1_024,
  routes: 4_096,
  neighbors: 65_536,
  connections: 1_000_000,
  listeners: 65_535,
  synQueue: 1_000_000,
  timeWait: 1_000_000,
  udpSockets: 65_535,
  pings: 65_535,
  pendingFlows: 65_535,
  natFlows: 1_000_000,
};

/** Makes a stack, in the realm's engine unless `options.engine` names another. */
export async function createStack(options: StackOptions = {}): Promise<Stack> {
  const { engine } = check.options("options", options);
  return stackIn(await engineFor(engine), options);
}

/** Makes a stack in an engine that is there. */
export function stackIn(engine: EngineCore, options: Omit<StackOptions, "engine">): StackImpl {
  const given = check.options("options", options);
  const name =
    given.hostname === undefined ? "stack" : check.string("options.hostname", given.hostname);
  const limits = limitsOf(given.limits);
  const tcp = tcpValues("options.tcp", given.tcp);
  const dns = nameServers(given.dns);
  const seed = check.seed("options.seed", given.seed);
  const host = engine.call((wasm) => {
    const count = engine.give(valuesOf(limitFields, limits), tcp);
    return wasm.add_host(name, ...seed, limitFields.length, count);
  });
  const trace = new TraceImpl(engine, host, limits["trace"] ?? 0);
  return new StackImpl(engine, host, name, seed, trace, dns);
}

/** The limits that are given, by the engine's names for them. */
function limitsOf(limits: StackLimits | undefined): Record<string, number> {
  const given = check.options("options.limits", limits);
  const checked: Record<string, number> = {};
  for (const [name, most] of Object.entries(MOST)) {
    const value = given[name as keyof typeof MOST];
    if (value !== undefined)
      checked[name] = check.integer(`options.limits.${name}`, value, 1, most);
  }
  if (given.trace !== undefined) {
    checked["trace"] = check.integer("options.limits.trace", given.trace, 0, 1_000_000);
  }
  if (given.memory !== undefined) {
    checked["memory"] = check.integer("options.limits.memory", given.memory, 64 * 1024, 2 ** 31);
  }
  return checked;
}

type Seed = readonly [high: number, low: number];

/** 32 bits, each of which depends on all of `value` (the finaliser of MurmurHash3). */
function mixed(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85eb_ca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2_ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** How a socket begins, apart from its connection. */
type SocketManner = Pick<SocketStart, "allowHalfOpen" | "signal" | "local" | "giveUp"> &
  Partial<Pick<SocketStart, "upgrade">>;

/** Something that ends when its stack does. */
interface Closable {
  close(error: Error): unknown;
  /** Lets those wait for ever who wait for it. */
  vanish?(error: Error): void;
  /** What is waited for here, for people. */
  waits?(): string[];
}

/** See {@link Stack}. */
export class StackImpl implements Stack, Dependent {
  readonly hostname: string;
  readonly engine: EngineCore;
  readonly trace: TraceImpl;
  readonly closed: Promise<void>;
  /** @internal Milliseconds since 1970, by which certificates are judged: hosts of a world may have a clock of their own. */
  date: () => number = () => this.engine.date();
  readonly #host: number;
  readonly #seed: Seed;
  /** Interfaces that were given a MAC address here. */
  #macs = 0;
  readonly #nics = new Map<number, NicImpl>();
  /** VLANs, and what they are on. */
  readonly #vlans = new Map<NicImpl, NicImpl>();
  readonly #sockets = new Members<Restable | RestingSocket>();
  readonly #others = new Set<Closable>();
  readonly #closing = deferred<void>();
  readonly #configuration: Configuration;
  #over: Error | null = null;
  #hasVanished = false;

  constructor(
    engine: EngineCore,
    host: number,
    hostname: string,
    seed: Seed,
    trace: TraceImpl,
    dns: Names,
  ) {
    this.engine = engine;
    this.hostname = hostname;
    this.trace = trace;
    this.closed = this.#closing.promise;
    this.#host = host;
    this.#seed = seed;
    this.#configuration = new Configuration(this, host, seed, dns, this.#nics);
    engine.addDependent(this);
  }

  /** Why the stack has ended, or null while it is there. */
  get over(): Error | null {
    return this.#over ?? this.engine.over;
  }

  get interfaces(): readonly Nic[] {
    return [...this.#nics.values()];
  }

  addInterface(options: InterfaceOptions): Nic {
    const given = check.options("options", options);
    const kind = check.oneOf("options.medium", MEDIA, given.medium ?? "ethernet");
    const parent = this.#vlanParent(given);
    const medium = parent?.medium ?? MEDIA.indexOf(kind);
    const mac = medium > 0 ? NO_MAC : this.#macOf(given.mac);
    const wanted =
      given.mtu === undefined
        ? medium > 1
          ? 65_535
          : DEFAULT_MTU
        : check.integer("options.mtu", given.mtu, 576, 65_535);
    const name =
      given.name === undefined
        ? `${this.hostname}:${this.#nics.size}`
        : check.string("options.name", given.name);
    const addresses = check.strings("options.addresses", given.addresses);
    const gateways = check.strings(
      "options.gateway",
      typeof given.gateway === "string" ? [given.gateway] : given.gateway,
    );
    const routes = check.array("options.routes", given.routes);
    const dhcp = check.boolean("options.dhcp", given.dhcp, false);
    const slaac = check.boolean("options.slaac", given.slaac, false);
    const { forwarding, dhcp6 = null } = given;
    if (dhcp6 !== null && typeof dhcp6 !== "boolean" && dhcp6 !== "stateless") {
      throw new TypeError(
        `options.dhcp6 must be a boolean or "stateless", got ${check.show(dhcp6)}`,
      );
    }
    if (slaac && wanted < IPV6_MIN_MTU) {
      throw new RangeError(`options.slaac needs an MTU of ${IPV6_MIN_MTU} at least, got ${wanted}`);
    }
    this.#assertOpen();
    const {
      interface: id,
      port,
      events,
      mtu,
    } = this.engine.record(interfaceFields, (wasm) =>
      wasm.add_interface(
        this.engine.now(),
        this.#host,
        name,
        check.macNumber(mac),
        wanted,
        medium,
        slaac,
      ),
    ) as { interface: number; port: number; events: number; mtu: number };
    const nic = new NicImpl(this.engine, {
      host: this.#host,
      id,
      port,
      name,
      mac: parent?.nic.mac ?? check.macText(mac),
      mtu,
      events,
      dhcp,
      slaac,
      dhcp6: dhcp6 === true,
      changed: (nic) => this.#configuration.interfaceChanged(nic, dhcp6 === null),
      advertise: (nic, options) => this.#advertise(nic, options),
      closing: (nic) => this.#configuration.giveBack(nic),
      released: () => this.#removeNic(id),
    });
    this.#nics.set(id, nic);
    if (parent !== null) this.#vlans.set(nic, parent.nic);
    try {
      for (const address of addresses) nic.addAddress(address);
      for (const via of gateways) this.addRoute({ to: "default", via });
      for (const route of routes) this.addRoute(route);
      if (forwarding !== undefined) nic.setForwarding(forwarding);
    } catch (error) {
      nic.close();
      throw error;
    }
    this.#configuration.begin(nic, dhcp, dhcp6 ?? false);
    return nic;
  }

  async resolve(hostname: string, options?: ResolveOptions): Promise<string[]> {
    const host = check.string("hostname", hostname);
    const given = check.options("options", options);
    const signal = check.abortSignal("options.signal", given.signal);
    const { family = 0 } = given;
    if (family !== 0 && family !== 4 && family !== 6) {
      throw new TypeError(`options.family must be 4 or 6, got ${check.show(family)}`);
    }
    const { resolver } = await this.#services();
    const found = await resolver.resolve(host, family, signal);
    return this.#configuration.sorted(found);
  }

  async resolveRecords(
    hostname: string,
    type: string,
    options?: { signal?: AbortSignal },
  ): Promise<DnsRecord[]> {
    const host = check.string("hostname", hostname);
    const kind = check.string("type", type).toUpperCase();
    const given = check.options("options", options);
    const signal = check.abortSignal("options.signal", given.signal);
    const { resolver } = await this.#services();
    return resolver.records(host, kind, signal);
  }

  /** @internal What a name server answers, for a server of names that gives questions on. */
  async askNameServer(name: string, type: string): Promise<Uint8Array<ArrayBuffer>> {
    const { resolver } = await this.#services();
    return resolver.ask(name, type, null);
  }

  /** @internal The servers that are asked for names. */
  get nameServers(): readonly string[] {
    return this.#configuration.names().servers;
  }

  /** @internal A resolver that asks servers of its own choice. It ends with the stack. */
  async ownResolver(servers: readonly string[]): Promise<Resolver> {
    this.#assertOpen();
    const services = await Services.load(this.engine);
    this.#assertOpen();
    const resolver = new Resolver(this, services, this.#seed);
    resolver.configure(servers, []);
    this.#others.add({
      waits: () => resolver.waits(),
      vanish: () => resolver.vanish(),
      close: (error) => {
        resolver.close(error);
        services.close();
      },
    });
    return resolver;
  }

  /** What is in the services' module, which is loaded when it is first needed. */
  async #services(): Promise<OwnServices> {
    this.#assertOpen();
    const own = await this.#configuration.services();
    await this.goneOn();
    this.#assertOpen();
    return own;
  }

  /** A unicast address, locally administered (IEEE 802 §8.2.1), by the stack's seed. */
  #nextMac(): Uint8Array {
    const [high, low] = this.#seed;
    const first = mixed(high ^ mixed(low + this.#macs));
    const second = mixed(first + low);
    this.#macs += 1;
    const octets = new Uint8Array(Uint32Array.of(first, second).buffer, 0, 6);
    octets[0] = ((octets[0] ?? 0) & 0xfc) | 0x02;
    return octets;
  }

  #macOf(mac: string | undefined): Uint8Array {
    return mac === undefined ? this.#nextMac() : check.mac("options.mac", mac);
  }

  /** The interface that a VLAN is on, and how the engine is told of the VLAN. */
  #vlanParent({ vlan }: Partial<InterfaceOptions>): { nic: NicImpl; medium: number } | null {
    if (vlan === undefined) return null;
    const { on, id } = check.options("options.vlan", vlan);
    const nic = [...this.#nics.values()].find((nic) => nic === on);
    if (nic === undefined) {
      throw new RangeError("options.vlan.on must be an interface of this stack");
    }
    const number = check.integer("options.vlan.id", id, 1, 4_094);
    return { nic, medium: (number * 256 + nic.id) * 4 + VLAN };
  }

  #removeNic(id: number): void {
    const nic = this.#nics.get(id);
    for (const [vlan, on] of this.#vlans) if (on === nic) vlan.close();
    this.#nics.delete(id);
    if (nic !== undefined) {
      this.#vlans.delete(nic);
      this.#configuration.namesChanged();
    }
    if (this.engine.over !== null) return;
    this.engine.call((wasm) => wasm.remove_interface(this.#host, id));
  }

  /** For what is in modules of its own. */
  #owner(): Owner {
    this.#assertOpen();
    return {
      engine: this.engine,
      host: this.#host,
      interfaceOf: (nic) => this.#interfaceOf(nic).id,
      nameOf: (id) => this.#nics.get(id)?.name ?? "",
    };
  }

  routes(): RouteInfo[] {
    return routesOf(this.#owner());
  }

  addRoute(route: RouteOptions): void {
    addRoute(this.#owner(), route);
  }

  removeRoute(route: string | RouteOptions): void {
    removeRoute(this.#owner(), route);
  }

  setNat(options: NatOptions | null): void {
    setNat(this.#owner(), options);
  }

  natFlows(): NatFlow[] {
    return natFlowsOf(this.#owner());
  }

  forwardPort(forward: PortForward): void {
    forwardPort(this.#owner(), forward);
  }

  unforwardPort(forward: Omit<PortForward, "to">): void {
    unforwardPort(this.#owner(), forward);
  }

  portForwards(): PortForward[] {
    return portForwardsOf(this.#owner());
  }

  acceptAny(nic: Nic, options: AcceptAnyOptions): AnyAddress {
    const found = this.#interfaceOf(nic);
    this.#assertOpen();
    const taker = new FlowTaker(
      this.engine,
      this.#host,
      found,
      options,
      (id, remote, local, allowHalfOpen) =>
        this.#socket(id, remote, { allowHalfOpen, signal: null, local }),
      (id, remote, local) => this.#udpSocket(id, local, remote),
      (closed) => this.#others.delete(closed),
    );
    this.#others.add(taker);
    return taker;
  }

  async mdns(nic: Nic, options?: MdnsOptions): Promise<Mdns> {
    const found = this.#interfaceOf(nic);
    this.#assertOpen();
    return this.#configuration.mdns(found, options);
  }

  async #advertise(nic: NicImpl, options: AdvertiseOptions | null): Promise<void> {
    if (options === null) return stopAdvertising(this.engine, nic);
    const advertisement = advertisementOf("options", options, nic);
    const { services } = await this.#services();
    this.#interfaceOf(nic);
    advertise(this.engine, services, nic, advertisement);
  }

  addNeighbor(nic: Nic, address: string, mac: string): void {
    const literal = check.address("address", address);
    const octets = check.macNumber(check.mac("mac", mac));
    const { id } = this.#interfaceOf(nic);
    this.#assertOpen();
    this.engine.call((wasm) => {
      this.engine.give(ipNumbers(literal));
      return wasm.add_neighbor(this.#host, id, octets);
    });
    this.engine.wake();
  }

  #interfaceOf(nic: unknown): NicImpl {
    if (nic instanceof NicImpl && this.#nics.get(nic.id) === nic) return nic;
    throw new TypeError(`nic must be an interface of ${this.hostname}, got ${check.show(nic)}`);
  }

  connect(address: ConnectTarget | string, options?: ConnectOptions): Socket {
    const plan = connectPlan(address, options);
    const { remote, localPort, connectTimeout, fastOpen, localAddress, settings } = plan;
    const { allowHalfOpen, signal } = plan;
    const security = clientSecurity<SocketImpl>(this.engine, options ?? {}, remote.address, {
      allowHalfOpen,
      signal,
      date: this.date,
    });
    this.#assertOpen();
    const begin = (address: string): number | Error =>
      this.#tryConnect(
        (wasm, now) =>
          wasm.connect(
            now,
            this.#host,
            remote.port,
            localPort,
            connectTimeout * MICROSECONDS,
            fastOpen,
            this.engine.give(ipNumbers(address), optionalIp(localAddress), settings),
          ),
        () => check.hostPort(address, remote.port),
      );
    const how = { allowHalfOpen, signal, local: null };
    const failure = failureOf(remote, signal);
    if (failure !== null) return this.#secured(security, failure, remote, how);
    if (check.addressLiteral(remote.address) !== null) {
      return this.#secured(security, begin(remote.address), remote, how);
    }
    const giveUp = new AbortController();
    const id = this.#connectByName(remote.address, giveUp.signal, begin);
    return this.#secured(security, id, remote, { ...how, giveUp });
  }

  async #connectByName(
    host: string,
    signal: AbortSignal,
    begin: (address: string) => number | Error,
  ): Promise<number> {
    const { services, resolver } = await this.#services();
    const sorted = (addresses: readonly string[]) => this.#configuration.sorted(addresses);
    return connectByName({ engine: this.engine, services, resolver, host, signal, begin, sorted });
  }

  /** The number of a new connection, or why there is none: that is told by the socket's promises. */
  #tryConnect(
    connect: (wasm: Bindings, now: number) => number,
    remoteAddress: () => string,
  ): number | Error {
    const ends = () => ({ remoteAddress: remoteAddress() });
    try {
      const id = this.engine.call(connect, () => `connect to ${remoteAddress()}`, ends);
      this.engine.wake();
      return id;
    } catch (error) {
      if (error instanceof SocketError) return error;
      // The arguments have been checked; what is wrong with the address depends on the stack, such as which link a link-local one is on.
      if (error instanceof RangeError) return new SocketError("EINVAL", error.message, ends());
      throw error;
    }
  }

  #socket(id: SocketStart["id"], remote: SocketAddress, how: SocketManner): SocketImpl {
    const { allowHalfOpen, signal, local, giveUp, upgrade = null } = how;
    const members = this.#sockets;
    const start = { id, remote, allowHalfOpen, signal, local, upgrade, members };
    const socket = new SocketImpl(this.engine, giveUp === undefined ? start : { ...start, giveUp });
    return this.#tracked(socket);
  }

  #tracked(socket: SocketImpl): SocketImpl {
    if (socket.end === null) this.#sockets.add(socket);
    return socket;
  }

  /** A socket, or one with TLS over it. */
  #secured(
    security: Security<SocketImpl>,
    id: SocketStart["id"],
    remote: SocketAddress,
    how: SocketManner,
  ): Socket {
    const { upgrade } = security;
    if (upgrade === null) return security.over(this.#socket(id, remote, how));
    const own: typeof upgrade = (successor, options) =>
      upgrade(() => this.#tracked(successor()), options);
    return security.over(this.#socket(id, remote, { ...how, upgrade: own }));
  }

  listen(options: ListenOptions): Listener {
    const { port, hostname, backlog, fastOpen, allowHalfOpen, settings } = listenPlan(options);
    const how = { allowHalfOpen, signal: null };
    const security = serverSecurity<SocketImpl>(this.engine, options, backlog, {
      ...how,
      date: this.date,
    });
    this.#assertOpen();
    const listener = new ListenerImpl(
      this.engine,
      this.#bind(hostname, port, (wasm) =>
        wasm.listen(
          this.#host,
          port,
          backlog,
          fastOpen,
          this.engine.give(optionalIp(hostname), settings),
        ),
      ),
      (id, remote, local) =>
        this.#secured(security, id, remote, { allowHalfOpen, signal: null, local }),
      (closed) => this.#others.delete(closed),
      security.ready,
    );
    if (listener.address !== null) this.#others.add(listener);
    return listener;
  }

  /** A listener's number and address, or why there is none. */
  #bind(
    hostname: string,
    port: number,
    listen: (wasm: Bindings) => number,
  ): { id: number; address: SocketAddress } | Error {
    const address = hostname || ALL;
    try {
      const localAddress = check.hostPort(address, port);
      const id = this.engine.call(listen, `listen on ${localAddress}`, { localAddress });
      return { id, address: { address, port: this.engine.call((wasm) => wasm.listener_port(id)) } };
    } catch (error) {
      if (error instanceof SocketError) return error;
      throw error;
    }
  }

  bindUdp(options?: UdpOptions): UdpSocket {
    const given = check.options("options", options);
    const port = given.port === undefined ? 0 : check.port("options.port", given.port, 0);
    const hostname =
      given.hostname === undefined ? ANY : check.address("options.hostname", given.hostname);
    const settings = udpValues("options", given);
    this.#assertOpen();
    const address = hostname || ALL;
    const id = this.engine.call(
      (wasm) => wasm.bind_udp(this.#host, port, this.engine.give(optionalIp(hostname), settings)),
      `bind UDP ${check.hostPort(address, port)}`,
      { localAddress: check.hostPort(address, port) },
    );
    const bound = this.engine.call((wasm) => wasm.udp_port(id));
    return this.#udpSocket(id, { address, port: bound });
  }

  #udpSocket(id: number, address: SocketAddress, remote?: SocketAddress): UdpSocketImpl {
    const socket = new UdpSocketImpl(this.engine, {
      id,
      address,
      ...(remote && { remote }),
      nicOf: (nic) => this.#nics.get(nic) ?? null,
      interfaceOf: (nic) => this.#interfaceOf(nic).id,
      released: (closed) => this.#others.delete(closed),
    });
    this.#others.add(socket);
    return socket;
  }

  async ping(hostname: string, options?: PingOptions): Promise<PingReply> {
    this.#assertOpen();
    const pinging = {
      engine: this.engine,
      host: this.#host,
      open: this.#others,
      resolve: (name: string, within: { signal?: AbortSignal }) => this.resolve(name, within),
    };
    return ping(pinging, hostname, options);
  }

  traceroute(
    hostname: string,
    options?: TracerouteOptions,
  ): AsyncGenerator<TracerouteHop, void, undefined> {
    this.#assertOpen();
    const tracing = {
      engine: this.engine,
      host: this.#host,
      open: this.#others,
      resolve: (name: string, signal: AbortSignal) => this.resolve(name, { signal }),
      bindUdp: () => this.bindUdp(),
    };
    return traceroute(tracing, hostname, options);
  }

  connections(): ConnectionInfo[] {
    this.#assertOpen();
    return connectionsOf(this.engine, (wasm) => wasm.connections(this.#host));
  }

  setTcpOptions(options: TcpOptions): void {
    this.#tcpSettings(tcpValues("options", options));
  }

  tcpSettings(): TcpSettings {
    return tcpSettings(this.#tcpSettings(tcpValues("options", {})));
  }

  #tcpSettings(values: Float64Array): Float64Array {
    this.#assertOpen();
    return this.engine.exchange(values, (wasm, _, count) =>
      wasm.host_tcp_settings(this.#host, count),
    );
  }

  neighbors(): NeighborInfo[] {
    this.#assertOpen();
    const found = this.engine.records<NeighborInfo & { interface: number }>(
      neighborFields,
      (wasm) => wasm.neighbors(this.#host),
    );
    return found.map(({ address, mac, state, interface: id }) => {
      return { address, mac, state, nic: this.#nics.get(id)?.name ?? "" };
    });
  }

  counters(): Record<string, number> {
    this.#assertOpen();
    return (
      this.engine.record<Record<string, number>>(counters, (wasm) => wasm.counters(this.#host)) ??
      {}
    );
  }

  get blocksInUse(): number {
    this.#assertOpen();
    return this.engine.call((wasm) => wasm.host_blocks_in_use(this.#host));
  }

  #assertOpen(): void {
    const { over } = this;
    if (over !== null) throw over;
  }

  close(): Promise<void> {
    if (this.#over === null) {
      const error = new SocketError("ABORT_ERR", `the stack ${this.hostname} was closed`);
      for (const nic of this.#nics.values()) this.#configuration.giveBack(nic);
      // First, since a socket's end is told to its owner, who may want another one: that is refused.
      this.#over = error;
      for (const socket of this.#sockets.all()) socket.abort(error);
      // The resets that this causes go out before the interfaces are removed.
      this.engine.call((wasm, now) => wasm.close_host(now, this.#host));
      this.#end(error);
      this.engine.wake();
      this.engine.removeDependent(this);
    }
    return this.closed;
  }

  /** @internal What is waited for at its sockets and of name servers, for people. */
  waits(): string[] {
    const open = [this.#configuration, ...this.#sockets.all(), ...this.#others];
    return open.flatMap((one) => one.waits?.() ?? []);
  }

  /**
   * The stack is gone as a machine is whose power has failed: nothing is sent any more, and what waits for its sockets waits for ever, so that
   * the programs on it stop where they are.
   */
  vanish(error: Error): void {
    if (this.over !== null) return;
    for (const nic of this.#nics.values()) nic.unplug();
    this.#over = error;
    this.#hasVanished = true;
    this.#configuration.vanish();
    for (const socket of this.#sockets.all()) socket.vanish(error);
    for (const other of this.#others) other.vanish?.(error);
    this.engine.call((wasm, now) => wasm.close_host(now, this.#host));
    this.#end(error);
    this.engine.wake();
    this.engine.removeDependent(this);
  }

  /** @internal Whether {@link vanish} has ended it. */
  get hasVanished(): boolean {
    return this.#hasVanished;
  }

  /** @internal What had begun before the stack has vanished goes on no more after it: that never resolves. */
  async goneOn(): Promise<void> {
    if (this.#hasVanished) await new Promise(() => {});
  }

  onEngineOver(error: Error): void {
    this.#over ??= error;
    this.#end(error);
  }

  #end(error: Error): void {
    this.trace.end();
    this.#configuration.close(error);
    for (const other of this.#others) other.close(error);
    for (const nic of this.#nics.values()) nic.close();
    this.#closing.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
