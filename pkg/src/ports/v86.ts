/**
 * A v86 virtual machine's network card as a port.
 *
 * Both cards of v86 drop frames without a word when the guest has no room. So the port looks at the card before it
 * hands over a frame, leaves the rest in the engine, and goes on after the emulator's next slice, in which the guest has made
 * room. What it looks at is the emulator's own objects, under names that its release build keeps.
 */

import * as check from "../arguments.js";
import { realClock } from "../clock.js";
import { eachFrame } from "../engine_core.js";
import type { Station } from "../source_guard.js";
import type { Port, V86Emulator, V86PortOptions } from "../types.js";
import { ExternalPort } from "./port_base.js";

/** v86's NE2000: a ring of 256-byte pages in the card's memory. */
interface Ne2k {
  readonly name: "ne2k";
  readonly mac?: Uint8Array;
  cr: number;
  isr: number;
  imr: number;
  rxcr: number;
  boundary: number;
  curpg: number;
  pstart: number;
  pstop: number;
  do_interrupt(bits: number): void;
}

/** v86's virtio-net. */
interface VirtioNet {
  readonly mac?: Uint8Array;
  readonly virtio: {
    readonly queues: readonly {
      readonly enabled: boolean;
      readonly avail_addr: number;
      count_requests(): number;
    }[];
  };
}

/** v86 inside; absent until it is ready. */
interface Machine {
  readonly cpu?: Cpu;
  next_tick?: (delay: number) => void;
}

interface Cpu {
  /** The EFLAGS register. */
  readonly flags?: ArrayLike<number>;
  readonly devices?: { readonly net?: Ne2k; readonly virtio_net?: VirtioNet };
}

type Emulator = V86Emulator & { readonly v86?: Machine };

/** How a card takes frames. */
interface Card {
  /** Whether a frame of this length can be delivered now: yes, not yet, or never. */
  takes(length: number): "yes" | "later" | "never";
  /** Delivers through `send`, which reaches the card before it returns. */
  deliver(frame: Uint8Array, send: () => void): void;
  /** Looks after the card between slices. True if it wants to be looked at again after the next one. */
  tend(): boolean;
}

/** The cards that have a port: one with two would get each frame twice. */
const cards = new WeakMap<V86Emulator, Set<number>>();

/**
 * Makes a port of an emulator's network card. Frames before the card is ready are dropped and counted.
 *
 * @throws {TypeError} if `emulator` is none, or the card has a port that is not closed; `RangeError` for a number that no card has.
 */
export function v86Port(emulator: V86Emulator, options?: V86PortOptions): Port {
  const { nic, name, signal } = check.options("options", options);
  const given: unknown = emulator;
  if (
    typeof given !== "object" ||
    given === null ||
    !("add_listener" in given) ||
    !("bus" in given)
  ) {
    throw new TypeError(`emulator must be a V86 instance, got ${check.show(given)}`);
  }
  const index = nic === undefined ? 0 : check.integer("options.nic", nic, 0, 7);
  const label = name === undefined ? `v86:${index}` : check.string("options.name", name);
  const aborts = check.abortSignal("options.signal", signal);
  if (cards.get(emulator)?.has(index) === true) {
    throw new TypeError(
      `network card ${index} of this emulator has a port already: close that one first, or give the number of another card as nic`,
    );
  }
  const port = new V86Port(emulator, index, label);
  port.closeOn(aborts);
  return port;
}

/** See {@link v86Port}. */
export class V86Port extends ExternalPort {
  readonly #emulator: Emulator;
  readonly #index: number;
  readonly #receiveEvent: string;
  readonly #sendEvent: string;
  /** Sees each frame of the machine that has come into the network; it must not keep it. */
  onsent: ((frame: Uint8Array) => void) | null = null;
  onclosed: (() => void) | null = null;
  readonly #onSend = (frame: Uint8Array): void => {
    if (this.bring(frame)) this.onsent?.(frame);
  };
  #card: Card | null = null;
  /** Takes the hook behind the emulator's slices out again. */
  #unhook: (() => void) | null = null;
  /** A frame that was taken from the engine and did not fit. */
  #held: Uint8Array<ArrayBuffer> | null = null;
  #delivering = false;
  #retry: unknown = null;

  constructor(emulator: V86Emulator, index: number, name: string) {
    super(name);
    this.#emulator = emulator;
    this.#sendEvent = `net${index}-send`;
    this.#receiveEvent = `net${index}-receive`;
    this.#index = index;
    const taken = cards.get(emulator) ?? new Set();
    cards.set(emulator, taken.add(index));
    emulator.add_listener(this.#sendEvent, this.#onSend);
  }

  /** The card's address, as far as it is known without a frame: a machine may give it another. */
  get mac(): string | null {
    const devices = this.#emulator.v86?.cpu?.devices;
    const octets = devices?.net?.mac ?? devices?.virtio_net?.mac;
    return octets?.length === 6 ? check.macText(octets) : null;
  }

  override station(): Station {
    return { mac: this.mac, addresses: [] };
  }

  onFrames(): void {
    // Delivering raises an interrupt, which may run a slice and come back here.
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      this.#deliver();
    } finally {
      this.#delivering = false;
    }
  }

  #deliver(): void {
    const card = this.#findCard();
    for (let frame = this.#next(); frame !== null; frame = this.#next()) {
      const takes = card === null ? "never" : card.takes(frame.byteLength);
      if (takes === "later") {
        this.#held = frame;
        break;
      }
      if (card === null || takes === "never") {
        this.countDropped();
        continue;
      }
      const whole = frame;
      card.deliver(whole, () => this.#emulator.bus.send(this.#receiveEvent, whole));
    }
    const again = card?.tend() ?? false;
    if (this.#unhook === null && (again || this.#held !== null)) this.#retryLater();
  }

  #next(): Uint8Array<ArrayBuffer> | null {
    const held = this.#held;
    this.#held = null;
    if (held !== null) return held;
    const batch = this.take(1);
    if (batch === null) return null;
    let next: Uint8Array<ArrayBuffer> | null = null;
    // Copied: the emulator may bring frames in while it takes this one.
    eachFrame(batch, (frame) => {
      next = frame.slice();
    });
    return next;
  }

  #findCard(): Card | null {
    if (this.#card !== null) return this.#card;
    const machine = this.#emulator.v86;
    const cpu = machine?.cpu;
    const devices = cpu?.devices;
    if (machine === undefined || cpu === undefined || devices === undefined) return null;
    if (devices.net !== undefined) this.#card = ne2kCard(devices.net, cpu);
    else if (devices.virtio_net !== undefined) this.#card = virtioCard(devices.virtio_net);
    this.#hook(machine);
    return this.#card;
  }

  /** Goes on after each slice of the emulator in which something waited. */
  #hook(machine: Machine): void {
    const nextTick = machine.next_tick;
    if (typeof nextTick !== "function") return;
    const hooked = (delay: number): void => {
      nextTick.call(machine, delay);
      if (this.#held !== null || this.#card?.tend() === true) this.onFrames();
    };
    machine.next_tick = hooked;
    this.#unhook = () => {
      // Deleting ours brings the prototype's back, unless somebody has put another in front since.
      if (machine.next_tick === hooked) delete machine.next_tick;
    };
  }

  /** For an emulator without the place to hook: looks again in a moment, only while something waits. */
  #retryLater(): void {
    if (this.#retry !== null) return;
    this.#retry = realClock.setTimer(() => {
      this.#retry = null;
      this.onFrames();
    }, 1);
  }

  override detach(): void {
    super.detach();
    this.#held = null;
  }

  protected dispose(): void {
    cards.get(this.#emulator)?.delete(this.#index);
    this.#emulator.remove_listener(this.#sendEvent, this.#onSend);
    this.#unhook?.();
    this.#unhook = null;
    if (this.#retry !== null) realClock.clearTimer(this.#retry);
    this.#retry = null;
    this.#card = null;
    this.onclosed?.();
  }
}

const NE2K_LONGEST = 1_514;
const NE2K_SHORTEST = 60;
/** Linux's driver reads nine frames for an interrupt, then acknowledges it and forgets the rest. */
const NE2K_UNREAD = 8;
const STOPPED = 1;
const PACKET_RECEIVED = 1;
const ACCEPT_MULTICAST = 8;
const PROMISCUOUS = 16;
/** In EFLAGS: the guest takes interrupts. */
const INTERRUPTS_ENABLED = 0x200;

function ne2kCard(card: Ne2k, cpu: Cpu): Card {
  let unread = 0;
  /**
   * Whether the card may ask for an interrupt: it would be taken at once, or the card asks already.
   *
   * Linux's driver masks the card's interrupts before it sends, with the processor's off. Were one pending in that moment,
   * v86's interrupt controller would later begin to serve it and find nothing to serve: it then waits for an end that never
   * comes, and the guest gets no interrupt from the card or the console any more.
   */
  const mayInterrupt = (): boolean =>
    (card.isr & card.imr) !== 0 ||
    ((cpu.flags?.[0] ?? INTERRUPTS_ENABLED) & INTERRUPTS_ENABLED) !== 0;
  const ring = (): number => card.pstop - card.pstart;
  const free = (): number =>
    card.boundary === card.curpg ? ring() : (card.boundary - card.curpg + ring()) % ring();
  /** The driver keeps the boundary one page behind what it reads next. */
  const isEmpty = (): boolean => free() >= ring() - 1;

  return {
    takes(length) {
      if (length > NE2K_LONGEST || card.cr & STOPPED || ring() <= 0) return "never";
      if (!mayInterrupt()) return "later";
      if (isEmpty()) unread = 0;
      const pages = 1 + ((Math.max(NE2K_SHORTEST, length) + 4) >> 8);
      // Strictly more: the card takes a ring that is exactly full for an empty one.
      return unread < NE2K_UNREAD && free() > pages ? "yes" : "later";
    },
    deliver(frame, send) {
      unread += 1;
      const isMulticast = ((frame[0] ?? 0) & 1) === 1 && !isBroadcast(frame);
      if (!isMulticast || (card.rxcr & ACCEPT_MULTICAST) === 0) {
        send();
        return;
      }
      // The card drops multicast frames exactly when it was told to accept them; IPv6 needs them.
      const mode = card.rxcr;
      card.rxcr = mode | PROMISCUOUS;
      try {
        send();
      } finally {
        card.rxcr = mode;
      }
    },
    tend() {
      if (card.cr & STOPPED || isEmpty()) {
        unread = 0;
        return false;
      }
      if ((card.isr & PACKET_RECEIVED) === 0 && mayInterrupt()) card.do_interrupt(PACKET_RECEIVED);
      return true;
    },
  };
}

function isBroadcast(frame: Uint8Array): boolean {
  for (let index = 0; index < 6; index += 1) if (frame[index] !== 0xff) return false;
  return true;
}

function virtioCard(card: VirtioNet): Card {
  return {
    takes() {
      const queue = card.virtio.queues[0];
      // Before the driver has set the queue up, the card would read its addresses from wherever they point.
      if (queue === undefined || !queue.enabled || queue.avail_addr === 0) return "never";
      return queue.count_requests() > 0 ? "yes" : "later";
    },
    deliver(_frame, send) {
      send();
    },
    tend: () => false,
  };
}
