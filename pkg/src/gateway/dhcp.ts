/** The DHCP server of a gateway: core's, on UDP port 67. */

import * as check from "../arguments.js";
import { inBackground } from "../background.js";
import type { EngineCore } from "../engine_core.js";
import type { Services } from "../services.js";
import type { Nic, Stack, UdpSocket } from "../types.js";
import type { GatewaySettings } from "./options.js";

const SERVER_PORT = 67;

/** What has become of a lease. */
export type LeaseState = "reserved" | "offered" | "bound" | "released" | "declined" | "expired";

/** An address and who has, had or may have it. */
export interface Lease {
  /** The IPv4 address. */
  address: string;
  /** All zero if nobody ever had the address. */
  mac: string;
  /** The identifier that the client sends (option 61), in hexadecimal digits; empty if it sends none. */
  client: string;
  /** What the client calls itself, or what a static lease says; may be empty. */
  hostname: string;
  /** What has become of it. */
  state: LeaseState;
  /** Milliseconds since 1970; null for a lease without end. */
  expires: number | null;
  /** A static lease. */
  reserved: boolean;
}

/** What happened to a lease. */
export interface LeaseChange {
  /** What the server or the client has done. */
  kind: "granted" | "released" | "declined";
  /** As it is after that. */
  lease: Lease;
}

/** A lease as the module tells it, with its end in microseconds of the engine's time. */
interface RawLease extends Omit<Lease, "reserved"> {
  reserved: number;
}

/** An answer of the module's server, and where it goes. */
interface Answer {
  message: Uint8Array<ArrayBuffer>;
  address: string;
  port: number;
  /** Null: the address is resolved as usual. */
  mac: string | null;
}

/** What the server tells the gateway. */
export interface DhcpHooks {
  /** Addresses that are used without a lease. */
  inUse(): string[];
  changed(change: LeaseChange): void;
  failed(error: unknown): void;
}

/** See the module's comment. */
export class DhcpServer {
  readonly #engine: EngineCore;
  readonly #services: Services;
  readonly #socket: UdpSocket;
  readonly #nic: Nic;
  readonly #address: string;
  readonly #hooks: DhcpHooks;
  #closed = false;

  /** @throws {RangeError} if the settings cannot be. */
  constructor(
    stack: Stack,
    nic: Nic,
    services: Services,
    settings: GatewaySettings & { dhcp: NonNullable<GatewaySettings["dhcp"]> },
    hooks: DhcpHooks,
  ) {
    this.#engine = stack.engine as EngineCore;
    this.#services = services;
    this.#nic = nic;
    this.#address = settings.address;
    this.#hooks = hooks;
    const { dhcp } = settings;
    services.call((wasm) =>
      wasm.create_dhcp(
        settings.address,
        settings.prefixLength,
        dhcp.first,
        dhcp.last,
        settings.domain,
        settings.mtu,
        dhcp.leaseTime,
      ),
    );
    for (const { mac, address, hostname } of dhcp.leases) {
      const number = check.macNumber(check.mac("mac", mac));
      services.call((wasm, now) => wasm.reserve_lease(now, number, address, hostname ?? ""));
    }
    for (const { mac, address, client, hostname, expires } of dhcp.restore) {
      const number = check.macNumber(check.mac("mac", mac));
      const remaining =
        expires === null ? Number.POSITIVE_INFINITY : (expires - this.#engine.date()) * 1_000;
      services.call((wasm, now) =>
        wasm.restore_lease(now, number, address, client, hostname, remaining),
      );
    }
    this.#socket = inBackground(stack.bindUdp({ port: SERVER_PORT }));
    this.#socket.onready = () => this.#receive();
  }

  /** All addresses that the server remembers. */
  leases(): Lease[] {
    if (this.#closed) return [];
    return this.#services
      .rows<RawLease>((wasm, now) => wasm.leases(now))
      .map(({ expires, reserved, ...lease }) => ({
        ...lease,
        expires: expires === null ? null : this.#engine.wallTime(expires),
        reserved: reserved !== 0,
      }));
  }

  counters(): Record<string, number> {
    if (this.#closed) return {};
    return this.#services.row<Record<string, number>>((wasm) => wasm.dhcp_counters()) ?? {};
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#socket.close();
  }

  #receive(): void {
    for (;;) {
      const datagram = this.#closed ? null : this.#socket.tryReceive();
      if (datagram === null) return;
      try {
        this.#answer(datagram.data);
      } catch (error) {
        this.#hooks.failed(error);
      }
      this.#report();
    }
  }

  #answer(message: Uint8Array): void {
    this.#setAside();
    const answer = this.#services.row<Answer>((wasm, now) => wasm.handle_dhcp(now, message));
    if (answer === null) return;
    this.#socket.send(answer.message, {
      remoteAddress: answer.address,
      remotePort: answer.port,
      localAddress: this.#address,
      nic: this.#nic,
      ...(answer.mac === null ? {} : { mac: answer.mac }),
    });
  }

  /** Keeps addresses that are used without a lease from being offered. */
  #setAside(): void {
    const addresses = new Set(this.#hooks.inUse());
    if (addresses.size === 0) return;
    const states = new Map(this.leases().map(({ address, state }) => [address, state]));
    for (const address of addresses) {
      const state = states.get(address);
      if (state === "declined" || state === "bound") continue;
      this.#services.call((wasm, now) => wasm.set_aside_lease(now, address));
    }
  }

  #report(): void {
    if (this.#engine.over !== null) return;
    for (;;) {
      if (this.#closed) return;
      const event = this.#services.row<{ kind: LeaseChange["kind"]; address: string }>((wasm) =>
        wasm.poll_lease(),
      );
      if (event === null) return;
      const { kind, address } = event;
      const lease = this.leases().find((candidate) => candidate.address === address);
      if (lease !== undefined) this.#hooks.changed({ kind, lease });
    }
  }
}
