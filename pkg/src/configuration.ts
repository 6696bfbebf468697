/**
 * What a stack finds out about its network: addresses by DHCP and DHCPv6, and who is asked for names. All of it is in the
 * services' module, which is loaded when it is first needed.
 */

import * as check from "./arguments.js";
import { DhcpClients } from "./dhcp_client.js";
import { Dhcp6Clients } from "./dhcp6_client.js";
import type { EngineCore } from "./engine_core.js";
import { ipNumbers } from "./ip.js";
import { MdnsImpl } from "./mdns.js";
import { SORTED } from "./names.js";
import type { NicImpl } from "./nic.js";
import { fieldsOf } from "./records.js";
import { Resolver } from "./resolver.js";
import { Services } from "./services.js";
import type { MdnsOptions, NameServers, Stack } from "./types.js";

const sortedFields = fieldsOf(SORTED);

/** Who is asked for names whatever leases say. */
export interface Names {
  servers: readonly string[];
  search: readonly string[];
}

/** The same, checked. */
export function nameServers(options: NameServers | undefined): Names {
  const given = check.options("options.dns", options);
  const servers = check
    .strings("options.dns.servers", given.servers)
    .map((server, index) => check.address(`options.dns.servers[${index}]`, server));
  return { servers, search: check.strings("options.dns.search", given.search) };
}

/** What a stack has in the services' module. */
export interface OwnServices {
  readonly services: Services;
  readonly resolver: Resolver;
}

/** The stack that it is of. */
type Owner = Stack & {
  readonly engine: EngineCore;
  readonly over: Error | null;
  goneOn(): Promise<void>;
};

/** See the module's comment. */
export class Configuration {
  readonly #stack: Owner;
  readonly #host: number;
  readonly #seed: readonly [high: number, low: number];
  readonly #dns: Names;
  /** The stack's own map. */
  readonly #nics: ReadonlyMap<number, NicImpl>;
  #own: Promise<OwnServices> | null = null;
  #resolver: Resolver | null = null;
  #dhcp: DhcpClients | null = null;
  #dhcp6: Dhcp6Clients | null = null;
  readonly #mdns = new Map<NicImpl, MdnsImpl>();

  constructor(
    stack: Owner,
    host: number,
    seed: readonly [high: number, low: number],
    dns: Names,
    nics: ReadonlyMap<number, NicImpl>,
  ) {
    this.#stack = stack;
    this.#host = host;
    this.#seed = seed;
    this.#dns = dns;
    this.#nics = nics;
  }

  /** Loads the module, once. */
  services(): Promise<OwnServices> {
    this.#own ??= Services.load(this.#stack.engine).then(async (services) => {
      await this.#stack.goneOn();
      if (this.#stack.over !== null) throw this.#stack.over;
      this.#resolver = new Resolver(this.#stack, services, this.#seed);
      const own = { services, resolver: this.#resolver };
      this.#configureResolver(own);
      return own;
    });
    return this.#own;
  }

  /** What is waited for here, for people. */
  waits(): string[] {
    return this.#resolver?.waits() ?? [];
  }

  /** Begins to look for addresses for a new interface; `dhcp6` is whether one is asked for by DHCPv6, or only names. */
  begin(nic: NicImpl, dhcp: boolean, dhcp6: boolean | "stateless"): void {
    if (dhcp) this.#startDhcp(nic).catch((error) => nic.unconfigured(error));
    if (dhcp6 !== false) {
      this.#startDhcp6(nic, dhcp6 === true).catch((error) => nic.unconfigured(error));
    }
  }

  async #startDhcp(nic: NicImpl): Promise<void> {
    const { services } = await this.services();
    if (this.#nics.get(nic.id) !== nic) return;
    this.#dhcp ??= new DhcpClients(this.#stack, services, () => this.namesChanged());
    this.#dhcp.add(nic, this.#seed);
  }

  async #startDhcp6(nic: NicImpl, isStateful: boolean): Promise<void> {
    const { services } = await this.services();
    if (this.#nics.get(nic.id) !== nic) return;
    this.#dhcp6 ??= new Dhcp6Clients(this.#stack, services, () => this.namesChanged());
    this.#dhcp6.add(nic, isStateful, this.#seed);
  }

  /** Begins with multicast DNS on an interface. */
  async mdns(nic: NicImpl, options: MdnsOptions | undefined): Promise<MdnsImpl> {
    const { services } = await this.services();
    if (this.#stack.over !== null) throw this.#stack.over;
    if (nic.isClosed) throw new TypeError(`the interface ${nic.name} is closed`);
    if (this.#mdns.has(nic)) throw new TypeError(`${nic.name} speaks multicast DNS already`);
    const mdns = new MdnsImpl(this.#stack, nic, services, this.#seed, options, () =>
      this.#mdns.delete(nic),
    );
    this.#mdns.set(nic, mdns);
    return mdns;
  }

  /** An interface has other addresses, or a router on its link says something else. */
  interfaceChanged(nic: NicImpl, followsRouters: boolean): void {
    this.#dhcp6?.addressesChanged(nic);
    this.#mdns.get(nic)?.run();
    const advertised = followsRouters ? nic.advertisedDhcp() : null;
    if (advertised !== null) {
      this.#startDhcp6(nic, advertised === "addresses").catch((error) => nic.dhcpFailed(error));
    }
    this.namesChanged();
  }

  /** Gives the leases of an interface back while it can still send. */
  giveBack(nic: NicImpl): void {
    if (this.#stack.over !== null) return;
    this.#mdns.get(nic)?.close();
    if (this.#dhcp === null && this.#dhcp6 === null) return;
    this.#dhcp?.remove(nic);
    this.#dhcp6?.remove(nic);
    this.#stack.engine.call((wasm, now) => wasm.send_waiting(now));
  }

  /** Leases, routers or interfaces are others. A resolver that is loaded later asks then. */
  namesChanged(): void {
    this.#own?.then(
      (own) => this.#configureResolver(own),
      () => {},
    );
  }

  /** Who is asked for names: those that the application has named, else those that leases and routers name. */
  names(): { servers: readonly string[]; search: readonly string[] } {
    const nics = [...this.#nics.values()];
    const leases = this.#dhcp?.leases() ?? [];
    const leases6 = nics.flatMap(({ lease6 }) => lease6 ?? []);
    const advertised = nics.map((nic) => nic.advertisedNames());
    const { servers, search } = this.#dns;
    const theirs = [
      ...leases.flatMap(({ dnsServers }) => dnsServers),
      ...leases6.flatMap(({ dnsServers }) => dnsServers),
      ...advertised.flatMap((names) => names.servers),
    ].slice(0, 4);
    const domains = [
      ...leases.flatMap(({ domain }) => (domain === "" ? [] : domain)),
      ...leases6.flatMap((lease) => lease.search),
      ...advertised.flatMap((names) => names.domains),
    ].slice(0, 6);
    return {
      servers: servers.length > 0 ? servers : theirs,
      search: search.length > 0 ? search : domains,
    };
  }

  #configureResolver({ services, resolver }: OwnServices): void {
    if (this.#stack.over !== null || services.over !== null) return;
    const { servers, search } = this.names();
    resolver.configure(servers, search);
  }

  /** Addresses in the order in which they are to be tried (RFC 6724 §6). */
  sorted(addresses: readonly string[]): string[] {
    // There is no way to a loopback address to compare.
    if (this.#stack.over !== null || addresses.includes("::1")) return [...addresses];
    const { engine } = this.#stack;
    const sorted = engine.records<{ address: string }>(sortedFields, (wasm) => {
      engine.give(addresses.flatMap(ipNumbers));
      return wasm.sort_destinations(this.#host, addresses.length);
    });
    return sorted.map(({ address }) => address);
  }

  /** The stack has vanished: who waits for a name waits for ever. */
  vanish(): void {
    this.#own?.then(
      ({ resolver }) => resolver.vanish(),
      () => {},
    );
  }

  /** The stack has ended. */
  close(error: Error): void {
    for (const mdns of this.#mdns.values()) mdns.end(error);
    this.#dhcp?.close();
    this.#dhcp6?.close();
    this.#own?.then(
      ({ services, resolver }) => {
        resolver.close(error);
        services.close();
      },
      () => {},
    );
  }
}
