/**
 * Ports over a link that opens, ends and may be made anew: WebSockets, channels, streams.
 *
 * The port has what they share: frames in and out in the medium's framing, the states, reconnecting, signals and the
 * promises that settle. A {@link Link} knows its medium only. Frames that the medium cannot take wait in the engine, where they hold the sender back;
 * while there is no link, the newest wait here.
 */

import * as check from "../arguments.js";
import { realClock } from "../clock.js";
import { deferred, eachFrame, guarded, packFrames } from "../engine_core.js";
import { SocketError } from "../errors.js";
import type {
  Framing,
  LinkPort,
  LinkPortOptions,
  LinkState,
  OutsidePortOptions,
  PortEnd,
  ReconnectingPortOptions,
} from "../types.js";
import { aborted } from "../waiters.js";
import { type Backoff, backoffOf } from "./backoff.js";
import { FrameReader, streamOf } from "./framing.js";
import { bytesOf, ExternalPort } from "./port_base.js";

const CONNECT_TIMEOUT = 30_000;
const DEFAULT_QUEUE = 1024 * 1024;
/** Frames taken from the engine at a time, so that a medium is asked again between them. */
const BATCH = 64;
const FRAMINGS: readonly Framing[] = ["frames", "qemu"];

/** One link. It is made by a function that gets {@link LinkEvents}, which may be called at once. */
export interface Link {
  /** Whether it takes more now; if not, {@link LinkEvents.writable} tells when. */
  readonly isWritable: boolean;
  /** Sends a message, or a piece of the stream, which is the link's to keep. False if it was dropped. */
  send(bytes: Uint8Array<ArrayBuffer>): boolean;
  /** Ends the link; {@link LinkEvents.ended} follows, now or later. */
  end(): void;
}

/** What a link tells its port. */
export interface LinkEvents<End extends PortEnd> {
  opened(): void;
  /** It takes more again. */
  writable(): void;
  /** A message has come, or a piece of a stream. */
  received(data: unknown): void;
  /** Resolves when the network has dealt with what was received: the time to read on, for a medium that can wait. */
  taken(): Promise<void>;
  ended(end: End): void;
}

/** How a port makes its links, and what it does when one ends. */
export interface LinkPlan<End extends PortEnd> {
  /** Makes a link. What it throws at first goes to whoever makes the port, later it is one more failure. */
  make(events: LinkEvents<End>): Link;
  /** An end that no link has told of. */
  end(error: SocketError | null): End;
  framing: Framing;
  /** Bytes of frames that wait while there is no link. */
  queue: number;
  backoff: Backoff | null;
  /** Milliseconds; infinity where it is not for the port to decide. */
  connectTimeout: number;
  signal: AbortSignal | null;
}

type CheckedOptions = Omit<LinkPlan<PortEnd>, "make" | "end">;

/** Checks what is common to the options of all these ports, whose links are made once. */
export function linkOptions(options: LinkPortOptions & { framing?: Framing }): CheckedOptions {
  const { framing = "frames", queue = DEFAULT_QUEUE, signal } = options;
  return {
    framing: check.oneOf("options.framing", FRAMINGS, framing) as Framing,
    queue: check.integer("options.queue", queue, 0, 2 ** 31),
    backoff: null,
    connectTimeout: Number.POSITIVE_INFINITY,
    signal: check.abortSignal("options.signal", signal),
  };
}

/** Checks the options of ports whose links may be made anew: what is open already cannot be, and `instead` says what could. */
export function reconnectingOptions(
  options: ReconnectingPortOptions & { framing?: Framing },
  target: { isOpen: boolean; instead: string },
): CheckedOptions {
  const { reconnect, connectTimeout = CONNECT_TIMEOUT } = options;
  const checked = {
    ...linkOptions(options),
    backoff: backoffOf("options.reconnect", reconnect),
    connectTimeout: check.duration("options.connectTimeout", connectTimeout, 1),
  };
  if (checked.backoff !== null && target.isOpen) {
    throw new TypeError(`options.reconnect needs ${target.instead} as target`);
  }
  return checked;
}

/** The option `name`. */
export function nameOf(options: OutsidePortOptions, fallback: string): string {
  return options.name === undefined ? fallback : check.string("options.name", options.name);
}

/** See the module's comment. */
export class LinkPortImpl<End extends PortEnd> extends ExternalPort implements LinkPort {
  readonly opened: Promise<void>;
  readonly closed: Promise<End>;
  onstate: LinkPort["onstate"] = null;
  readonly #plan: LinkPlan<End>;
  readonly #clock;
  readonly #opening = deferred<void>();
  readonly #closing = deferred<End>();
  #state: LinkState = "connecting";
  #link: Link | null = null;
  #reader = new FrameReader();
  /** Frames for the next link, oldest first, and their bytes. */
  #held: Uint8Array<ArrayBuffer>[] = [];
  #heldBytes = 0;
  /** Makes what an earlier link tells void. */
  #generation = 0;
  /** When the link was opened, on the clock; null while it is not. */
  #openedAt: number | null = null;
  /** For the next attempt, or for the end of this one. */
  #timer: unknown = null;
  /** Why this side ends the link, if something is wrong. */
  #reason: SocketError | null = null;
  readonly #onAbort = (): void => {
    const { signal } = this.#plan;
    if (signal !== null) this.#fail(aborted(signal));
  };

  constructor(name: string, plan: LinkPlan<End>) {
    super(name);
    this.#plan = plan;
    this.#clock = plan.backoff?.clock ?? realClock;
    this.opened = this.#opening.promise;
    this.closed = this.#closing.promise;
    if (plan.signal?.aborted === true) {
      this.#onAbort();
      return;
    }
    this.#connect();
    if (!this.isClosed) plan.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get state(): LinkState {
    return this.#state;
  }

  #setState(state: LinkState, error: SocketError | null): void {
    this.#state = state;
    guarded(() => this.onstate?.(state, error));
  }

  #connect(): void {
    this.#generation += 1;
    const generation = this.#generation;
    const current = (tell: () => void): void => {
      if (generation === this.#generation) tell();
    };
    const events: LinkEvents<End> = {
      opened: () => current(() => this.#opened()),
      writable: () => current(() => this.onFrames()),
      received: (data) => current(() => this.#received(data)),
      taken: () => this.taken(),
      ended: (end) => current(() => this.#ended(end)),
    };
    const link = this.#plan.make(events);
    // It may have ended already.
    if (generation !== this.#generation) return;
    this.#link = link;
    if (this.#state === "open") {
      this.onFrames();
      return;
    }
    if (this.#plan.connectTimeout === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = null;
      this.#ended(
        this.#plan.end(new SocketError("ETIMEDOUT", `${this.name}: no connection in time`)),
      );
      guarded(() => link.end());
    }, this.#plan.connectTimeout);
  }

  #reconnect(): void {
    this.#setState("connecting", null);
    if (this.isClosed) return;
    try {
      this.#connect();
    } catch (cause) {
      const error = new SocketError("ECONNREFUSED", `${this.name}: no connection`, { cause });
      this.#ended(this.#plan.end(error));
    }
  }

  #opened(): void {
    if (this.isClosed) return;
    this.#clearTimer();
    this.#openedAt = this.#clock.now();
    this.#opening.resolve();
    this.#setState("open", null);
    this.onFrames();
  }

  #received(data: unknown): void {
    const bytes = bytesOf(data);
    if (bytes === null) this.countInvalid();
    else if (this.#plan.framing === "frames") this.bring(bytes);
    else this.#readOn(bytes);
  }

  #readOn(bytes: Uint8Array): void {
    const isStream = this.#reader.push(bytes, {
      frame: (frame) => this.bring(frame),
      invalid: () => this.countInvalid(),
    });
    if (isStream) return;
    this.countInvalid();
    const error = new SocketError("EPROTO", `${this.name}: a length that no frame has`);
    const link = this.#link;
    this.#ended(this.#plan.end(error));
    guarded(() => link?.end());
  }

  onFrames(): void {
    const link = this.#link;
    if (link === null || this.#state !== "open") {
      this.#hold();
      return;
    }
    for (const frame of this.#released()) this.#sendFrame(link, frame);
    while (this.#link === link && link.isWritable) {
      const batch = this.take(BATCH);
      if (batch === null) return;
      if (this.#plan.framing === "qemu") this.#sendStream(link, batch);
      else this.#sendFrames(link, batch);
    }
  }

  /** Keeps what waits for a link, and of that what is newest. */
  #hold(): void {
    for (let batch = this.take(); batch !== null; batch = this.take()) {
      eachFrame(batch, (frame) => {
        this.#held.push(frame.slice());
        this.#heldBytes += frame.byteLength;
      });
    }
    let drops = 0;
    while (this.#heldBytes > this.#plan.queue) {
      this.#heldBytes -= this.#held[drops]?.byteLength ?? 0;
      drops += 1;
    }
    if (drops === 0) return;
    this.#held.splice(0, drops);
    this.countDropped(drops);
  }

  /** What has waited for a link. */
  #released(): Uint8Array<ArrayBuffer>[] {
    const held = this.#held;
    if (held.length === 0) return held;
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }

  #sendStream(link: Link, batch: Uint8Array<ArrayBuffer>): void {
    let frames = 0;
    eachFrame(batch, () => {
      frames += 1;
    });
    if (!link.send(streamOf(batch))) this.countDropped(frames);
  }

  #sendFrames(link: Link, batch: Uint8Array<ArrayBuffer>): void {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    // Copied before the first is sent, which may call into the module; each of its own, since a medium may keep or transfer it.
    eachFrame(batch, (frame) => frames.push(frame.slice()));
    for (const frame of frames) this.#sendFrame(link, frame);
  }

  #sendFrame(link: Link, frame: Uint8Array<ArrayBuffer>): void {
    const isStream = this.#plan.framing === "qemu";
    if (!link.send(isStream ? streamOf(packFrames([frame])) : frame)) this.countDropped();
  }

  #ended(end: End): void {
    this.#generation += 1;
    this.#clearTimer();
    this.#link = null;
    if (this.#reader.isInside) this.countInvalid();
    this.#reader = new FrameReader();
    if (this.isClosed) {
      this.#closing.resolve({ ...end, error: this.#reason });
      return;
    }
    const uptime = this.#openedAt === null ? 0 : this.#clock.now() - this.#openedAt;
    this.#openedAt = null;
    const delay = this.#plan.backoff?.next(uptime) ?? null;
    if (delay === null) {
      this.#closing.resolve(end);
      this.#fail(end.error);
      return;
    }
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = null;
      this.#reconnect();
    }, delay);
    this.#setState("waiting", end.error);
  }

  /** Closes the port, for a reason. */
  #fail(error: SocketError | null): void {
    this.#reason = error;
    if (error !== null) this.#opening.reject(error);
    this.close();
  }

  #clearTimer(): void {
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
    this.#timer = null;
  }

  protected dispose(): void {
    this.#clearTimer();
    this.#released();
    this.#plan.signal?.removeEventListener("abort", this.#onAbort);
    this.#opening.reject(new SocketError("ABORT_ERR", `the port ${this.name} was closed`));
    const link = this.#link;
    if (link === null) this.#closing.resolve(this.#plan.end(this.#reason));
    else guarded(() => link.end());
    this.#setState("closed", this.#reason);
  }

  override detach(): void {
    super.detach();
    // They were for another network than the next one.
    this.#released();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.closed;
  }
}
