/** The gateway: a host that gives its network addresses, names and web servers that are functions. */

import { advertise, stopAdvertising } from "../advertising.js";
import * as check from "../arguments.js";
import { holdProgram } from "../clock.js";
import { engineFor } from "../engine.js";
import type { EngineCore } from "../engine_core.js";
import type { NicImpl } from "../nic.js";
import { Services } from "../services.js";
import { createStack, type StackImpl } from "../stack.js";
import type { Clock, Nic, Stack } from "../types.js";
import { DhcpServer, type Lease, type LeaseChange } from "./dhcp.js";
import { Dhcp6Server, type Lease6 } from "./dhcp6.js";
import { DnsServer } from "./dns.js";
import { type GatewayEvents, GatewayEventTarget } from "./events.js";
import { type Handler, parseOrigin, type Route } from "./http/routes.js";
import { serveTime } from "./ntp.js";
import { type GatewayOptions, type GatewaySettings, gatewaySettings } from "./options.js";
import { Web } from "./web.js";

/** What `serve` gives back. */
export interface Served {
  readonly origin: string;
  /** Stops serving the origin; requests that are being answered are finished. */
  close(): void;
  [Symbol.dispose](): void;
}

/** Counters by service. */
export interface GatewayCounters {
  http: Record<string, number>;
  dhcp: Record<string, number>;
  dhcp6: Record<string, number>;
  dns: Record<string, number>;
}

/** Names that a label of a host name may be made of. */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

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
  readonly address6: string | null;
  readonly domain: string;
  readonly #settings: GatewaySettings;
  readonly #services: Services;
  readonly #dhcp: DhcpServer | null;
  readonly #dhcp6: Dhcp6Server | null;
  readonly #dns: DnsServer;
  readonly #web: Web;
  /** Names that stand for a lease's address. */
  readonly #leaseNames = new Map<string, string[]>();

  /** @internal */
  constructor(
    stack: Stack,
    nic: Nic,
    services: Services,
    settings: GatewaySettings,
    seed: readonly [high: number, low: number],
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
    this.#settings = settings;
    this.#services = services;
    const { dns, domain: ownDomain } = settings;
    this.#dns = new DnsServer(stack as StackImpl, clock, services, dns, ownDomain, {
      asked: (question) => this.#dispatch("dns", question),
      failed,
    });
    for (const [name, addresses] of settings.dns.hosts) {
      for (const address of addresses) this.#dns.add(name, address);
    }
    this.#addOwnName(`${settings.hostname}.${settings.domain}`);
    this.#addOwnName(settings.hostname);
    serveTime(stack, services, failed);
    const { dhcp } = settings;
    const hooks = { changed: (change: LeaseChange) => this.#leaseChanged(change), failed };
    this.#dhcp =
      dhcp === null ? null : new DhcpServer(stack, nic, services, { ...settings, dhcp }, hooks);
    const { six, domain } = settings;
    this.#dhcp6 = six?.hasDhcp
      ? new Dhcp6Server(stack, nic, services, { ...six, domain }, seed, failed)
      : null;
    for (const lease of dhcp?.leases ?? []) this.#nameLease(lease.address, lease.hostname ?? "");
    this.#web = new Web(stack, clock, services.parser, settings.http, {
      lookup: (hostname) => this.#dns.addresses(hostname),
      exchanged: (record) => this.#dispatch("request", record),
      failed,
    });
    // Before this a trap is what `createGateway` rejects with.
    services.ontrap = (error) => {
      void this.close();
      this.#failed(error, null);
    };
  }

  /**
   * Answers requests for an origin such as `"http://shop.test"` or `"http://shop.test:8080"` by a function from `Request`
   * to `Response`. The origin's host name resolves to the gateway in the network.
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
      if (check.addressLiteral(route.hostname) === null) this.#addOwnName(route.hostname);
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

  /**
   * `fetch` into the network: a URL with an address of a host, or with a name that the gateway knows. Redirects are followed
   * as `fetch` does; there are no cookies, no cache and no CORS.
   * @throws {TypeError} with the reason as `cause`, or the reason of the signal; {@link EngineError} after a trap in the gateway's
   * services.
   */
  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    if (this.#services.over !== null) throw this.#services.over;
    return this.#web.fetch(input, init);
  }

  /** Addresses that the DHCP server has leased, offered, reserved or set aside. */
  leases(): Lease[] {
    return this.#dhcp?.leases() ?? [];
  }

  /** Addresses that the DHCPv6 server has leased, or that its clients have declined. */
  leases6(): Lease6[] {
    return this.#dhcp6?.leases() ?? [];
  }

  /** What HTTP, DHCP and DNS have counted. The stack has counters of its own. */
  counters(): GatewayCounters {
    return {
      http: this.#web.counters(),
      dhcp: this.#dhcp?.counters() ?? {},
      dhcp6: this.#dhcp6?.counters() ?? {},
      dns: this.#dns.counters(),
    };
  }

  /** Ends everything: hosts are told that there is no router any more, connections are reset and the port is unplugged. */
  async close(): Promise<void> {
    const engine = this.stack.engine as EngineCore;
    const nic = this.port as NicImpl;
    if (this.#settings.six?.advertisement && engine.over === null && !nic.isClosed) {
      stopAdvertising(engine, nic);
    }
    this.#web.close();
    this.#dns.close();
    this.#dhcp?.close();
    this.#dhcp6?.close();
    this.#services.close();
    await this.stack.close();
  }

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

  /** A name of the gateway itself, unless its user gave that name another address. */
  #addOwnName(name: string): void {
    if (this.#settings.dns.hosts.has(name)) return;
    this.#dns.add(name, this.address);
    if (this.address6 !== null) this.#dns.add(name, this.address6);
  }

  #unserve(route: Route): void {
    this.#web.remove(route);
    const { hostname, domain, dns } = this.#settings;
    const stays =
      dns.hosts.has(route.hostname) ||
      [hostname, `${hostname}.${domain}`].includes(route.hostname) ||
      this.#web.routes.list().some((other) => other.hostname === route.hostname);
    if (!stays) this.#dns.remove(route.hostname);
  }

  #leaseChanged(change: LeaseChange): void {
    const { address, hostname } = change.lease;
    for (const name of this.#leaseNames.get(address) ?? []) this.#dns.remove(name);
    this.#leaseNames.delete(address);
    if (change.kind === "granted" || change.lease.reserved) this.#nameLease(address, hostname);
    this.#dispatch("lease", change);
  }

  /** What a client calls itself becomes a name, unless that is no name or means another host already. */
  #nameLease(address: string, hostname: string): void {
    if (!LABEL.test(hostname)) return;
    const own = hostname.toLowerCase();
    const names = [`${own}.${this.domain}`, own].filter(
      (name) => this.#dns.addresses(name).length === 0,
    );
    for (const name of names) this.#dns.add(name, address);
    this.#leaseNames.set(address, names);
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
export async function createGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const settings = gatewaySettings(options);
  const engine = await engineFor(options.engine);
  const services = await Services.load(engine);
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
    const gateway = new Gateway(stack, nic, services, settings, check.seed("options.seed", seed));
    if (six !== null && six.advertisement !== null) {
      advertise(engine, services, nic as NicImpl, six.advertisement);
    }
    return gateway;
  } catch (error) {
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
