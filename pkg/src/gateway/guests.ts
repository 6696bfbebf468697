/** Virtual machines that a gateway has been attached to. */

import * as check from "../arguments.js";
import { deferred } from "../engine_core.js";
import { SocketError } from "../errors.js";
import { type V86Port, v86Port } from "../ports/v86.js";
import { createSwitch, type SwitchImpl, switchOf } from "../switch.js";
import type { Nic, Port, Stack, V86Emulator } from "../types.js";
import type { SecureRequestInit } from "./http/opening.js";

/** How a virtual machine is attached. */
export interface AttachOptions {
  /** A label: the machine's name in the gateway's domain, and alone. By default it has the name that its DHCP client tells, if any. */
  name?: string;
  /** Number of the machine's network card. By default 0. */
  nic?: number;
  /** Takes the machine out again when it aborts. */
  signal?: AbortSignal;
}

/** A virtual machine on a gateway's network. */
export interface Guest {
  /** The name that was given, or null. */
  readonly name: string | null;
  /** The machine's card as a port: counters, hook. */
  readonly port: Port;
  /** The card's MAC address, as the last frame had it; null before the first. */
  readonly mac: string | null;
  /** The machine's IPv4 address, leased or its own; null before it has used one. */
  readonly address: string | null;
  /** Resolves with its address once it has one. Rejects if it is taken out before. */
  readonly ready: Promise<string>;
  /** `gateway.fetch`, once the machine has an address. A path such as `"/index.html"` is one of the machine's web server on port 80. */
  fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response>;
  /** Takes the machine out of the network. Its lease stays. A second call does nothing. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** What of an attached machine is saved with its gateway. */
export interface SavedGuest {
  /** Its card. */
  mac: string;
  /** Its IPv4 address. */
  address: string;
}

/** What attaching needs of the gateway. */
export interface GuestContext {
  readonly stack: Stack;
  readonly nic: Nic;
  /** Whether an address is of the gateway's network. */
  isInside(address: string): boolean;
  /** The address that a card has leased, or had when the gateway was saved; null if none is known. */
  knownOf(mac: string): string | null;
  /** Gives a machine's label its address; null takes it back. */
  named(guest: object, label: string, address: string | null): void;
  fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response>;
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
const BROADCAST = 0xff;
/** In an Ethernet frame: its sender, its type, and of an ARP message the sender's IPv4 address. */
const SENDER = 6;
const TYPE = 12;
const ARP_TYPE = 0x0806;
const ARP_SENDER = 28;
const ARP_END = 42;

/** The machines that a gateway has been attached to. */
export class Guests {
  readonly #context: GuestContext;
  readonly #attached = new Set<AttachedGuest>();
  /** Made for the gateway where it was plugged into nothing. */
  #lan: SwitchImpl | null = null;
  #isClosed = false;

  constructor(context: GuestContext) {
    this.#context = context;
  }

  /** @throws {TypeError | RangeError} that names what is wrong; {@link SocketError} (EADDRINUSE) if the name is another machine's. */
  async attach(emulator: V86Emulator, options?: AttachOptions): Promise<Guest> {
    const { name, nic, signal } = check.options("options", options);
    if (name !== undefined && !LABEL.test(check.string("options.name", name))) {
      throw new RangeError(
        `options.name must be a label like "vm-1", of letters, digits and hyphens, got ${check.show(name)}`,
      );
    }
    const label = name?.toLowerCase() ?? null;
    if (label !== null && [...this.#attached].some((guest) => guest.name === label)) {
      throw new SocketError("EADDRINUSE", `a machine called ${label} is attached already`);
    }
    const aborts = check.abortSignal("options.signal", signal);
    aborts?.throwIfAborted();
    const port = v86Port(emulator, {
      ...(nic === undefined ? {} : { nic }),
      name: label ?? "guest",
    }) as V86Port;
    const guest = new AttachedGuest(this.#context, port, label, () => this.#attached.delete(guest));
    try {
      if (this.#isClosed) throw new TypeError("attach: the gateway is closed");
      this.#attached.add(guest);
      const lan = switchOf(this.#context.nic) ?? (await this.#ownSwitch());
      aborts?.throwIfAborted();
      if (this.#isClosed) throw new TypeError("attach: the gateway was closed");
      lan.plug(port);
      guest.begin(aborts);
    } catch (error) {
      guest.close();
      throw error;
    }
    return guest;
  }

  /** The gateway's switch, made when it is first needed. */
  async #ownSwitch(): Promise<SwitchImpl> {
    const { stack, nic } = this.#context;
    if (nic.isPlugged) {
      throw new TypeError(
        "attach: the gateway is plugged into something that is no switch: plug it into one, or into nothing",
      );
    }
    const made = (await createSwitch({ engine: stack.engine })) as SwitchImpl;
    const lan = switchOf(nic);
    if (lan !== null || this.#isClosed) {
      // Another call was faster.
      made.close();
      if (lan === null) throw new TypeError("attach: the gateway was closed");
      return lan;
    }
    this.#lan = made;
    made.plug(nic);
    return made;
  }

  /** A card was granted an address. */
  leased(mac: string, address: string): void {
    for (const guest of this.#attached) if (guest.mac === mac) guest.sighted(address);
  }

  /** The cards of all, with their addresses, as far as they are known. */
  addresses(): SavedGuest[] {
    return [...this.#attached].flatMap(({ mac, address }) =>
      mac === null || address === null ? [] : [{ mac, address }],
    );
  }

  close(): void {
    this.#isClosed = true;
    for (const guest of [...this.#attached]) guest.close();
    this.#lan?.close();
    this.#lan = null;
  }
}

class AttachedGuest implements Guest {
  readonly name: string | null;
  readonly port: V86Port;
  readonly ready: Promise<string>;
  readonly #context: GuestContext;
  readonly #ready = deferred<string>();
  readonly #gone: () => void;
  /** The card's address, in bytes to compare with those of frames. */
  readonly #octets = new Uint8Array(6);
  #mac: string | null = null;
  #address: string | null = null;
  #isClosed = false;

  constructor(context: GuestContext, port: V86Port, name: string | null, gone: () => void) {
    this.#context = context;
    this.port = port;
    this.name = name;
    this.#gone = gone;
    this.ready = this.#ready.promise;
    port.onsent = (frame) => this.#look(frame);
  }

  /** The machine is plugged in. */
  begin(signal: AbortSignal | null): void {
    this.port.closeOn(signal);
    this.port.onclosed = () => this.close();
    const { mac } = this.port;
    if (mac === null || this.#mac !== null) return;
    this.#setMac(check.mac("mac", mac));
    // A machine that was restored has its address already, and may be silent.
    const known = this.#context.knownOf(mac);
    if (known !== null) this.sighted(known);
  }

  get mac(): string | null {
    return this.#mac;
  }

  get address(): string | null {
    return this.#address;
  }

  /** Learns from a frame whose the card is: from the first, and from those to all, which a client of DHCP sends before it has an address. */
  #look(frame: Uint8Array): void {
    if (frame[0] !== BROADCAST && this.#mac !== null) return;
    for (let index = 0; index < 6; index += 1) {
      if (frame[SENDER + index] === this.#octets[index]) continue;
      this.#setMac(frame.subarray(SENDER, SENDER + 6));
      break;
    }
    const type = (frame[TYPE] ?? 0) * 256 + (frame[TYPE + 1] ?? 0);
    if (type !== ARP_TYPE || frame.length < ARP_END) return;
    const address = frame.subarray(ARP_SENDER, ARP_SENDER + 4).join(".");
    if (address !== this.#address && this.#context.isInside(address)) this.sighted(address);
  }

  #setMac(octets: Uint8Array): void {
    this.#octets.set(octets);
    this.#mac = check.macText(octets);
  }

  /** The machine has this address. */
  sighted(address: string): void {
    if (this.#isClosed || address === this.#address) return;
    this.#address = address;
    if (this.name !== null) this.#context.named(this, this.name, address);
    this.#ready.resolve(address);
  }

  async fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response> {
    const address = await this.ready;
    if (input instanceof Request) return this.#context.fetch(input, init);
    const text = String(input);
    const base = `http://${this.name ?? address}/`;
    if (!URL.canParse(text, base)) {
      throw new TypeError(`fetch: ${check.show(text)} is no path and no URL`);
    }
    return this.#context.fetch(new URL(text, base), init);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.port.onsent = null;
    this.port.onclosed = null;
    if (this.name !== null) this.#context.named(this, this.name, null);
    this.#ready.reject(
      new SocketError("ABORT_ERR", `${this.port.name} was taken out of the network`),
    );
    this.#gone();
    this.port.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
