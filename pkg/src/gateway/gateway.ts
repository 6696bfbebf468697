/** The gateway: a host that gives its network addresses, names and web servers that are functions. */

import { advertise, stopAdvertising } from "../advertising.js";
import * as check from "../arguments.js";
import { holdProgram } from "../clock.js";
import { engineFor } from "../engine.js";
import type { EngineCore } from "../engine_core.js";
import { parseIp } from "../ip.js";
import type { NicImpl } from "../nic.js";
import { Services } from "../services.js";
import { createStack, type StackImpl } from "../stack.js";
import { switchOf } from "../switch.js";
import type { CertificateAuthority, Clock, Nic, Stack, V86Emulator } from "../types.js";
import { DhcpServer, type Lease, type LeaseChange } from "./dhcp.js";
import { Dhcp6Server, type Lease6, type Lease6Change } from "./dhcp6.js";
import { DnsServer } from "./dns.js";
import type { TcpHandler, UdpHandler } from "./egress/local_services.js";
import type { Outside } from "./egress/outside.js";
import type { OwnServices, ServedAddress } from "./egress/own_services.js";
import { PrefixSet } from "./egress/prefixes.js";
import type { Bandwidth, FlowRecord } from "./egress/types.js";
import { joinOutside } from "./egress/wiring.js";
import { type GatewayEvents, GatewayEventTarget } from "./events.js";
import { type Forward, type ForwardOptions, Forwards } from "./forward.js";
import { type AttachOptions, type Guest, Guests } from "./guests.js";
import { Holders, textOfIpv4 } from "./holders.js";
import type { SecureOptions, SecureRequestInit } from "./http/opening.js";
import { type Handler, parseOrigin, type Route } from "./http/routes.js";
import { type Https, httpsOf } from "./https.js";
import { Names } from "./names.js";
import { serveTime } from "./ntp.js";
import {
  type GatewayOptions,
  type GatewaySettings,
  type GatewayState,
  gatewaySettings,
  restoring,
} from "./options.js";
import { Web } from "./web.js";

/** What `serve` gives back. */
export interface Served {
  /** Such as `"http://shop.test"`. */
  readonly origin: string;
  /** Stops serving the origin; requests that are being answered are finished. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** Counters by service. */
export interface GatewayCounters {
  /** Of the web server. */
  http: Record<string, number>;
  /** Of the DHCP server; empty without one. */
  dhcp: Record<string, number>;
  /** Of the DHCPv6 server; empty without one. */
  dhcp6: Record<string, number>;
  /** Of the DNS server. */
  dns: Record<string, number>;
  /** Guests' flows to the outside. */
  flows: Record<string, number>;
  /** What the egresses count themselves, by their names. */
  egress: Record<string, Record<string, number>>;
}

/** The DHCP server hears in time of addresses that it had set aside and that are used still, in milliseconds. */
const TELL_AGAIN = 60_000;

/**
 * A host with a port, to be plugged into a switch or a cable. See {@link createGateway}.
 */
export class Gateway extends GatewayEventTarget {
  /** The gateway's stack: `connect`, `listen`, `bindUdp`, `ping`, `connections`. */
  readonly stack: Stack;
  /** What is plugged in; `switch.plug(gateway)` does it too. */
  readonly port: Nic;
  /** IPv4 network, such as `"10.0.2.0/24"`. */
  readonly network: string;
  /** The gateway's addresses. */
  readonly address: string;
  /** Its IPv6 address; null without `network6`. */
  readonly address6: string | null;
  /** The domain of the network's names. */
  readonly domain: string;
  readonly #settings: GatewaySettings;
  readonly #services: Services;
  readonly #dhcp: DhcpServer | null;
  readonly #dhcp6: Dhcp6Server | null;
  readonly #dns: DnsServer;
  readonly #web: Web;
  readonly #outside: Outside;
  readonly #own: OwnServices;
  readonly #names: Names;
  readonly #guests: Guests;
  readonly #forwards: Forwards;
  readonly #https: Https | null;
  readonly #holders: Holders;
  /** What the DHCP server was told last of addresses that are used without a lease. */
  #toldInUse = { claimed: 0, at: 0 };

  /** @internal */
  constructor(
    stack: Stack,
    nic: Nic,
    services: Services,
    settings: GatewaySettings,
    seed: readonly [high: number, low: number],
    https: Https | null,
  ) {
    super();
    const engine = stack.engine as EngineCore;
    const clock = backgroundClock(engine.clock);
    const failed = (error: unknown, url?: string) => {
      // The end of the services or of the engine is told once, and not by each that it fails.
      const isEnd = error instanceof Error && (error === services.over || error === engine.over);
      if (!isEnd) this.#failed(error, url ?? null);
    };
    this.stack = stack;
    this.port = nic;
    this.network = settings.network;
    this.address = settings.address;
    this.address6 = settings.six?.address ?? null;
    this.domain = settings.domain;
    this.#holders = new Holders(
      () => engine.date(),
      () => (nic as NicImpl).onaddresses?.(),
      () => this.leases(),
    );
    if (settings.isolate) (nic as NicImpl).isolator = this.#holders;
    this.#settings = settings;
    this.#services = services;
    this.#https = https;
    const { dns, domain: ownDomain } = settings;
    this.#dns = new DnsServer(stack as StackImpl, clock, services, dns, ownDomain, {
      outside: (...question) => this.#outside.resolve(...question),
      asked: (question) => this.#dispatch("dns", question),
      failed,
    });
    const addresses = this.address6 === null ? [this.address] : [this.address, this.address6];
    this.#names = new Names(this.#dns, settings.domain, addresses, settings.dns.hosts);
    this.#names.addOwn(`${settings.hostname}.${settings.domain}`);
    this.#names.addOwn(settings.hostname);
    serveTime(stack, services, failed);
    const { dhcp } = settings;
    const hooks = {
      changed: (change: LeaseChange) => this.#leaseChanged(change),
      inUse: () => this.#inUse(),
      failed,
    };
    this.#dhcp =
      dhcp === null ? null : new DhcpServer(stack, nic, services, { ...settings, dhcp }, hooks);
    const { six, domain } = settings;
    this.#dhcp6 = six?.hasDhcp
      ? new Dhcp6Server(stack, nic, services, { ...six, domain }, seed, {
          changed: (change) => this.#lease6Changed(change),
          held: (lease, client) => this.#holders.held6(lease, client),
          failed,
        })
      : null;
    for (const lease of this.leases()) {
      if (lease.state === "bound" || lease.state === "reserved") this.#holdLease(lease, true);
    }
    this.#web = new Web(stack, clock, services.parser, settings.http, https, {
      lookup: (hostname) => this.#dns.addresses(hostname),
      exchanged: (record) => this.#dispatch("request", record),
      failed,
    });
    const { outside, own } = joinOutside({
      stack,
      nic,
      clock,
      services,
      settings,
      https,
      dns: () => this.#dns,
      names: this.#names,
      web: () => this.#web,
      cardOf: (address) =>
        settings.isolate ? (switchOf(nic)?.guard.cardOf(address) ?? null) : null,
      changed: (change) => this.#dispatch("flow", change),
      failed,
    });
    this.#outside = outside;
    this.#own = own;
    const inside = new PrefixSet([settings.network]);
    this.#guests = new Guests({
      stack,
      nic,
      isInside: (address) => {
        const numbers = parseIp(address);
        return numbers !== null && inside.has(numbers);
      },
      knownOf: (mac) =>
        this.leases().find((lease) => lease.state === "bound" && lease.mac === mac)?.address ??
        settings.guests.find((guest) => guest.mac === mac)?.address ??
        null,
      named: (guest, label, address) =>
        this.#names.set(guest, "guest", label, address === null ? [] : [address]),
      fetch: (input, init) => this.fetch(input, init),
    });
    this.#forwards = new Forwards({
      stack,
      clock,
      connect: (hostname, port, signal) => this.#web.open({ hostname, port, tls: null }, signal),
      resolve: (hostname) => this.#web.resolve(hostname),
      failed,
    });
    // Before this a trap is what `createGateway` rejects with.
    services.ontrap = (error) => {
      void this.close();
      this.#failed(error, null);
    };
  }

  /**
   * Answers requests for an origin such as `"http://shop.test"`, `"http://shop.test:8080"` or, with the option `authority`, `"https://shop.test"` by a function
   * from `Request` to `Response`. The origin's host name resolves to the gateway in the network.
   *
   * What the handler throws, or a rejection, is a 500 to the guest and an `error` event here. A stream that fails after the
   * response has begun resets the connection. `request.signal` aborts when the guest goes away.
   * @throws {TypeError} if the origin is none or is served already, or the gateway was closed; {@link EngineError} after a trap in
   * its services.
   */
  serve(origin: string, handler: Handler): Served {
    const route = parseOrigin(origin, handler);
    if (this.#services.over !== null) throw this.#services.over;
    this.#web.add(route);
    try {
      if (check.addressLiteral(route.hostname) === null) this.#names.addOwn(route.hostname);
    } catch (error) {
      this.#web.remove(route);
      throw error;
    }
    let served = true;
    const close = () => {
      if (served) this.#unserve(route);
      served = false;
    };
    return { origin: route.origin, close, [Symbol.dispose]: close };
  }

  /** The authority whose certificates guests are shown; null without one. */
  get authority(): CertificateAuthority | null {
    return this.#https?.authority ?? null;
  }

  /**
   * What to type in a guest as root, so that it trusts the authority: for Debian, Alpine and others that have `update-ca-certificates`. The certificate is at
   * `http://ADDRESS/ca.pem`, for others to get it from. Null without an authority.
   */
  get trustCommand(): string | null {
    return this.#https?.trustCommand(this.address) ?? null;
  }

  /**
   * `fetch` into the network: a URL with an address of a host, or with a name that the gateway knows. Redirects are followed
   * as `fetch` does; there are no cookies, no cache and no CORS. Hosts that speak `https:` must have a certificate that `init.tls.ca` trusts, or else the gateway's
   * authority.
   * @throws {TypeError} with the reason as `cause`, or the reason of the signal; {@link EngineError} after a trap in the gateway's
   * services.
   */
  async fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response> {
    if (this.#services.over !== null) throw this.#services.over;
    return this.#web.fetch(input, init);
  }

  /**
   * Gives each TCP connection to an address and port to a handler: an address in the network, such as `"10.0.2.100:22"`, which should be outside the DHCP
   * server's range; any address outside, such as `"203.0.113.7:25"`; or a name, such as `"db.test:5432"`, which then resolves to an address of its own
   * unless it has one.
   * @throws {TypeError | RangeError} that says what is wrong, also if it is served already; {@link SocketError} (EADDRINUSE).
   */
  serveTcp(
    address: string | { hostname: string; port: number },
    handler: TcpHandler,
    options?: { allowHalfOpen?: boolean },
  ): ServedAddress {
    return this.#own.serveTcp(address, handler, options);
  }

  /** As {@link serveTcp}, for UDP: each datagram is given to the handler, with a function that answers it. */
  serveUdp(
    address: string | { hostname: string; port: number },
    handler: UdpHandler,
  ): ServedAddress {
    return this.#own.serveUdp(address, handler);
  }

  /** Guests' flows to the outside that are open or wait for a decision. */
  flows(): FlowRecord[] {
    return this.#outside.flows();
  }

  /**
   * Changes what a guest, known by its MAC or IP address, may send and receive through the egresses; with null instead of a guest, what each may that has no
   * bandwidth of its own. Null takes back what was said.
   * @throws {TypeError | RangeError} that names what is wrong.
   */
  setBandwidth(guest: string | null, bandwidth: Bandwidth | null): void {
    this.#outside.setBandwidth(guest, bandwidth);
  }

  /**
   * A WebSocket to a server in the network, with the interface of the platform's: `ws:` and `wss:` URLs, by address or by a name that the
   * gateway knows. What it fails with is the `error` of its `error` event.
   * @throws {DOMException} SyntaxError, as the platform does, for a URL or protocols that are none; a TypeError or RangeError that names what is wrong
   * with `options`.
   */
  webSocket(url: string | URL, protocols?: string | string[], options?: SecureOptions): WebSocket {
    if (this.#services.over !== null) throw this.#services.over;
    return this.#web.webSocket(url, protocols, options);
  }

  /**
   * Plugs a virtual machine of v86 in: into the switch that the gateway is plugged into, or into one of its own if that is none. The
   * machine's lease, name and address are its `Guest`'s.
   *
   * ```js
   * const vm = await gateway.attach(emulator, { name: "vm1" });
   * const page = await vm.fetch("/");
   * ```
   * @throws {TypeError | RangeError} that names what is wrong; {@link SocketError} (EADDRINUSE) if the name is another machine's.
   */
  attach(emulator: V86Emulator, options?: AttachOptions): Promise<Guest> {
    return this.#guests.attach(emulator, options);
  }

  /**
   * Makes a port of this computer lead to one of a host in the network, as QEMU's `hostfwd` does: in Node, Bun and Deno. Resolves when it is listened on.
   *
   * ```js
   * const ssh = await gateway.forward({ port: 2222, to: { hostname: "vm1", port: 22 } });
   * ```
   * @throws {TypeError | RangeError} that names what is wrong, or that there are no sockets to listen on; the system's error, such as EADDRINUSE.
   */
  forward(options: ForwardOptions): Promise<Forward> {
    return this.#forwards.add(options);
  }

  /** The ports that are forwarded. Each has a `close`. */
  forwards(): Forward[] {
    return this.#forwards.list();
  }

  /**
   * Gives a name its addresses in the network, in place of those that it had, and wins over every other host of that name. The
   * addresses resolve to the name in turn (PTR).
   * @throws {TypeError | RangeError} if the name is no host name, or an address is none.
   */
  addHost(name: string, addresses: string | readonly string[]): void {
    this.#names.addHost(name, addresses);
  }

  /** Forgets a name of `addHost` or of the option `dns.hosts`; false if there is none. */
  removeHost(name: string): boolean {
    return this.#names.removeHost(name);
  }

  /** The names of `addHost` and of the option `dns.hosts`. */
  hosts(): Record<string, string[]> {
    return this.#names.hosts();
  }

  /** Addresses that the DHCP server has leased, offered, reserved or set aside. */
  leases(): Lease[] {
    return this.#dhcp?.leases() ?? [];
  }

  /** Addresses that the DHCPv6 server has leased, or that its clients have declined. */
  leases6(): Lease6[] {
    return this.#dhcp6?.leases() ?? [];
  }

  /**
   * What a gateway after this one needs to take its place for machines that are saved with it: its MAC address, leases and hosts, and the key of its
   * authority, which is a secret, as plain data that JSON can hold. Give it to `createGateway` as `restore`.
   */
  save(): GatewayState {
    const { mac } = this.port;
    const state = {
      mac,
      leases: this.leases(),
      leases6: this.leases6(),
      hosts: this.hosts(),
      guests: this.#guests.addresses(),
    };
    if (this.authority === null) return state;
    const { cert, key } = this.authority;
    return { ...state, authority: { cert, key } };
  }

  /** What HTTP, DHCP and DNS have counted. The stack has counters of its own. */
  counters(): GatewayCounters {
    return {
      http: this.#web.counters(),
      dhcp: this.#dhcp?.counters() ?? {},
      dhcp6: this.#dhcp6?.counters() ?? {},
      dns: this.#dns.counters(),
      flows: this.#outside.counters(),
      egress: this.#outside.egressCounters(),
    };
  }

  /** Ends everything: hosts are told that there is no router any more, connections are reset and the port is unplugged. */
  async close(): Promise<void> {
    const engine = this.stack.engine as EngineCore;
    const nic = this.port as NicImpl;
    if (this.#settings.six?.advertisement && engine.over === null && !nic.isClosed) {
      stopAdvertising(engine, nic);
    }
    this.#guests.close();
    const outsideClosed = Promise.all([this.#outside.close(), this.#forwards.close()]);
    this.#web.close();
    this.#dns.close();
    this.#dhcp?.close();
    this.#dhcp6?.close();
    this.#services.close();
    this.#https?.close();
    await this.stack.close();
    await outsideClosed;
  }

  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #dispatch<Name extends keyof GatewayEvents>(name: Name, detail: GatewayEvents[Name]): boolean {
    return this.dispatchEvent(new CustomEvent(name, { detail, cancelable: name === "error" }));
  }

  #failed(error: unknown, url: string | null): void {
    const unhandled = this.#dispatch("error", { error, url });
    if (unhandled) console.error(url === null ? "gateway:" : `gateway: ${url}:`, error);
  }

  #unserve(route: Route): void {
    this.#web.remove(route);
    if (check.addressLiteral(route.hostname) === null) this.#names.removeOwn(route.hostname);
  }

  /** The addresses of the network that guests use without a lease, as far as somebody has to know. */
  #inUse(): string[] {
    const guard = this.#settings.isolate ? switchOf(this.port)?.guard : undefined;
    if (guard === undefined) return [];
    const now = (this.stack.engine as EngineCore).date();
    const told = this.#toldInUse;
    if (told.claimed === guard.claimed && now < told.at + TELL_AGAIN) return [];
    this.#toldInUse = { claimed: guard.claimed, at: now };
    return Array.from(guard.unleased(), textOfIpv4);
  }

  #lease6Changed(change: Lease6Change): void {
    if (change.kind !== "granted") this.#holders.ended6(change.lease);
    this.#dispatch("lease6", change);
  }

  #leaseChanged(change: LeaseChange): void {
    const { lease, kind } = change;
    this.#holdLease(lease, kind === "granted" || lease.reserved);
    if (kind === "granted") this.#guests.leased(lease.mac, lease.address);
    this.#dispatch("lease", change);
  }

  /** What an address that somebody has leased, or has given back, is called, and whose it is. */
  #holdLease(lease: Lease, isHeld: boolean): void {
    this.#names.set(lease.address, "lease", isHeld ? lease.hostname : "", [lease.address]);
    this.#holders.changed(lease, isHeld);
  }
}

/**
 * Makes a gateway: DHCP and DNS servers, router advertisements, web servers by `serve`, and `fetch` into the network.
 *
 * ```js
 * const gateway = await createGateway({ network: "10.0.2.0/24" });
 * lan.plug(gateway);
 * gateway.serve("http://shop.test", () => new Response("hello, VM"));
 * const page = await gateway.fetch("http://10.0.2.15/");
 * ```
 * @throws {TypeError | RangeError} that names what is wrong with which option; {@link EngineError} if the module of the gateway's
 * services cannot be loaded.
 */
export async function createGateway(given: GatewayOptions = {}): Promise<Gateway> {
  const options = restoring(given);
  const settings = gatewaySettings(options);
  const engine = await engineFor(options.engine);
  const services = await Services.load(engine);
  const https = await httpsOf(engine, options.authority, options.restore?.authority);
  const { seed, limits, tcp, mac } = options;
  const stack = await createStack({
    hostname: settings.hostname,
    engine,
    dns: { servers: settings.dns.upstream },
    ...(seed === undefined ? {} : { seed }),
    ...(limits === undefined ? {} : { limits }),
    ...(tcp === undefined ? {} : { tcp }),
  });
  try {
    const addresses = [`${settings.address}/${settings.prefixLength}`];
    const { six } = settings;
    if (six !== null) addresses.push(`${six.address}/${six.length}`);
    const nic = stack.addInterface({
      addresses,
      mtu: settings.mtu,
      name: settings.hostname,
      ...(mac === undefined ? {} : { mac }),
    });
    const gateway = new Gateway(
      stack,
      nic,
      services,
      settings,
      check.seed("options.seed", seed),
      https,
    );
    if (six !== null && six.advertisement !== null) {
      advertise(engine, services, nic as NicImpl, six.advertisement);
    }
    return gateway;
  } catch (error) {
    https?.close();
    await stack.close();
    throw error;
  }
}

/** A clock whose timers do not keep a program alive: an idle connection's time limit is no reason to wait. */
function backgroundClock(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    clearTimer: (timer) => clock.clearTimer(timer),
    setTimer: (callback, delay) => {
      const timer = clock.setTimer(callback, delay);
      holdProgram(timer, false);
      return timer;
    },
  };
}
