/** A stack's interfaces. */

import * as check from "./arguments.js";
import { deferred, type EngineCore, type Sink } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { ipNumbers, prefixNumbers } from "./ip.js";
import { ADDRESSES, ADVERTISED_NAMES } from "./names.js";
import { countersOf, noCounters, PortBase } from "./ports/port_base.js";
import { fieldsOf } from "./records.js";
import { forwardingSettings, forwardingValues } from "./routing.js";
import type { Station } from "./source_guard.js";
import type {
  AddressInfo,
  AdvertiseOptions,
  Dhcp6Lease,
  DhcpLease,
  ForwardingOptions,
  ForwardingSettings,
  Nic,
  PortCounters,
} from "./types.js";

/** In what the engine tells of an interface: behind the signals, one more than the number of a new flow. */
const FLOW_SHIFT = 8;
const addressFields = fieldsOf(ADDRESSES);
const nameFields = fieldsOf(ADVERTISED_NAMES);

/** Decides on flows to any address. */
interface Taker {
  ask(flow: number): void;
}

/** What an interface starts with. */
export interface NicStart {
  host: number;
  /** The interface's number within the stack. */
  id: number;
  /** The interface's port in the engine. */
  port: number;
  name: string;
  mac: string;
  mtu: number;
  /** By which number the engine tells of it. */
  events: number;
  /** Waits for a lease before it is configured. */
  dhcp: boolean;
  /** Waits for an address by router advertisements. */
  slaac: boolean;
  /** Waits for an address by DHCPv6. */
  dhcp6: boolean;
  /** Its addresses have changed, or routers have said something else than before. */
  changed: (nic: NicImpl) => void;
  advertise: (nic: NicImpl, options: AdvertiseOptions | null) => Promise<void>;
  /** It is about to go, and can still send. */
  closing: (nic: NicImpl) => void;
  released: (nic: NicImpl) => void;
}

/** See {@link Nic}. */
export class NicImpl extends PortBase implements Nic, Sink {
  readonly id: number;
  /** The stack's number. */
  readonly host: number;
  readonly mac: string;
  readonly mtu: number;
  readonly configured: Promise<void>;
  /** Who takes flows to any address that come in here. */
  taker: Taker | null = null;
  readonly #engine: EngineCore;
  readonly #start: NicStart;
  readonly #configuring = deferred<void>();
  /** Whether a program waits for an address, and so must not end. */
  #holds = false;
  /** Ways by which an address may come. */
  #waits: number;
  #lease: DhcpLease | null = null;
  #lease6: Dhcp6Lease | null = null;
  #dhcpError: Error | null = null;
  /** What was counted until the end. */
  #last = noCounters();

  constructor(engine: EngineCore, start: NicStart) {
    super(start.name);
    this.#engine = engine;
    this.#start = start;
    this.id = start.id;
    this.host = start.host;
    this.mac = start.mac;
    this.mtu = start.mtu;
    this.configured = this.#configuring.promise;
    this.#waits = [start.dhcp, start.slaac, start.dhcp6].filter((isWanted) => isWanted).length;
    // Static addresses are usable at once.
    if (this.#waits === 0) this.#configuring.resolve();
    engine.addInterface(start.events, this);
    if (this.#waits > 0) {
      this.#holds = true;
      engine.hold();
    }
  }

  get engine(): EngineCore {
    return this.#engine;
  }

  get addresses(): readonly string[] {
    return this.addressInfo().map(({ prefix }) => prefix);
  }

  override station(): Station {
    return this.#engine.over === null ? this : { mac: this.mac, addresses: [] };
  }

  addressInfo(): AddressInfo[] {
    if (this.isClosed) return [];
    const { host, id } = this;
    return this.#engine.records<AddressInfo>(addressFields, (wasm) => wasm.addresses(host, id));
  }

  /** Its addresses, or what routers have said of its network, have changed; or there is a new flow. */
  onSignals(signals: number): void {
    if (signals >>> FLOW_SHIFT !== 0) {
      this.taker?.ask((signals >>> FLOW_SHIFT) - 1);
      return;
    }
    if (this.isClosed) return;
    this.onaddresses?.();
    const isUsable = ({ origin, state }: AddressInfo) =>
      origin === "advertised" && (state === "preferred" || state === "optimistic");
    if (this.#holds && this.addressInfo().some(isUsable)) this.#configured();
    this.#start.changed(this);
  }

  onEngineOver(error: Error): void {
    this.#configuring.reject(error);
  }

  #configured(): void {
    this.#configuring.resolve();
    this.#release();
  }

  #release(): void {
    if (this.#holds) this.#engine.release();
    this.#holds = false;
  }

  /** Whether it has no address yet and will get one by itself. */
  get isConfiguring(): boolean {
    return this.#holds;
  }

  /** What routers have advertised of names. */
  advertisedNames(): { servers: string[]; domains: string[] } {
    if (!this.#start.slaac || this.isClosed) return { servers: [], domains: [] };
    const { host, id } = this;
    const names = this.#engine.records<{ server: string | null; domain: string | null }>(
      nameFields,
      (wasm) => wasm.advertised_names(host, id),
    );
    return {
      servers: names.flatMap(({ server }) => server ?? []),
      domains: names.flatMap(({ domain }) => domain ?? []),
    };
  }

  get lease(): DhcpLease | null {
    return this.#lease;
  }

  /** A DHCP server has granted something, or it is over. */
  leased(lease: DhcpLease | null): void {
    this.#lease = lease;
    if (lease !== null) this.#configured();
  }

  get lease6(): Dhcp6Lease | null {
    return this.#lease6;
  }

  /** A DHCPv6 server has told something, or what it granted is over. */
  leased6(lease: Dhcp6Lease): void {
    this.#lease6 = lease;
    if (lease.address !== null) this.#configured();
  }

  /** What routers say of DHCPv6: whether addresses, or only other settings, come from it. */
  advertisedDhcp(): "addresses" | "settings" | null {
    if (!this.#start.slaac || this.isClosed) return null;
    const { host, id } = this;
    const flags = this.#engine.call((wasm) => wasm.advertised_dhcp(host, id));
    if (flags === 0) return null;
    return (flags & 1) === 1 ? "addresses" : "settings";
  }

  /** Changes until when an address is preferred and valid, in the engine's time; null for ever. */
  setLifetimes(address: string, preferred: number | null, valid: number | null): void {
    const { host, id } = this;
    const never = Number.POSITIVE_INFINITY;
    this.#engine.call((wasm, now) => {
      this.#engine.give(ipNumbers(address));
      return wasm.set_address_lifetimes(now, host, id, preferred ?? never, valid ?? never);
    });
    this.#engine.wake();
  }

  get dhcpError(): Error | null {
    return this.#dhcpError;
  }

  /** A DHCP client could not begin. */
  dhcpFailed(error: Error): void {
    this.#dhcpError ??= error;
  }

  /** There will be no lease by one protocol. Routers, or the other one, may still give it an address. */
  unconfigured(error: Error): void {
    this.dhcpFailed(error);
    this.#waits -= 1;
    if (this.#waits > 0) return;
    this.#configuring.reject(error);
    this.#release();
  }

  addAddress(prefix: string): void {
    this.#addAddress(check.string("prefix", prefix), false);
  }

  /** Adds an address that a DHCP server has granted. */
  addLeased(prefix: string): void {
    this.#addAddress(prefix, true);
  }

  #addAddress(prefix: string, isLeased: boolean): void {
    const { host, id } = this;
    this.#assertOpen();
    this.#engine.call((wasm, now) => {
      this.#engine.give(prefixNumbers(prefix));
      return wasm.add_address(now, host, id, isLeased);
    });
    this.onaddresses?.();
    this.#engine.wake();
  }

  removeAddress(prefix: string): void {
    const [address = ""] = check.string("prefix", prefix).split("/");
    const { host, id } = this;
    this.#assertOpen();
    this.#engine.call((wasm) => {
      this.#engine.give(ipNumbers(address));
      return wasm.remove_address(host, id);
    });
    this.onaddresses?.();
    this.#engine.wake();
  }

  setForwarding(forwarding: boolean | ForwardingOptions): ForwardingSettings {
    const values = forwardingValues("forwarding", forwarding);
    const { host, id } = this;
    this.#assertOpen();
    return forwardingSettings(this.#engine, host, id, values);
  }

  forwarding(): ForwardingSettings {
    const { host, id } = this;
    this.#assertOpen();
    return forwardingSettings(this.#engine, host, id);
  }

  async advertise(options: AdvertiseOptions | null = {}): Promise<void> {
    this.#assertOpen();
    return this.#start.advertise(this, options);
  }

  joinGroup(group: string): void {
    this.#setMembership(group, true);
  }

  leaveGroup(group: string): void {
    this.#setMembership(group, false);
  }

  #setMembership(group: string, joins: boolean): void {
    const address = check.address("group", group);
    const { host, id } = this;
    this.#assertOpen();
    this.#engine.call((wasm, now) => {
      this.#engine.give(ipNumbers(address));
      return wasm.set_membership(now, host, id, joins);
    });
    this.#engine.wake();
  }

  setGroupQuerier(isOn: boolean): void {
    const asks = check.boolean("isOn", isOn, false);
    const { host, id } = this;
    this.#assertOpen();
    this.#engine.call((wasm, now) => wasm.set_group_querier(now, host, id, asks));
    this.#engine.wake();
  }

  #assertOpen(): void {
    if (this.#engine.over !== null) throw this.#engine.over;
    if (this.isClosed) throw new TypeError(`the interface ${this.name} is closed`);
  }

  protected count(): PortCounters {
    if (this.isClosed || this.#engine.over !== null) return this.#last;
    return this.#counted();
  }

  #counted(): PortCounters {
    return countersOf(this.#engine, this.#start.port);
  }

  attach(): number {
    return this.#start.port;
  }

  detach(): void {}

  override close(): void {
    if (!this.isClosed) this.#start.closing(this);
    super.close();
  }

  protected dispose(): void {
    if (this.#engine.over === null) this.#last = this.#counted();
    this.#lease = null;
    this.#lease6 = null;
    const text = `the interface ${this.name} was closed before it had an address`;
    this.#configuring.reject(this.#engine.over ?? new SocketError("ABORT_ERR", text));
    this.#release();
    this.#start.released(this);
    this.#engine.removeInterface(this.#start.events);
  }
}
