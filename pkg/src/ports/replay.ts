/** A recording as a port: what was captured once goes into the network again. */

import * as check from "../arguments.js";
import { microtask } from "../clock.js";
import { deferred, type EngineCore, guarded } from "../engine_core.js";
import type { BufferSource } from "../platform.js";
import { DueTimer } from "../timer.js";
import type { RecordedPacket, ReplayPort, ReplayPortOptions, ReplayReport } from "../types.js";
import { nameOf } from "./link_port.js";
import { ExternalPort } from "./port_base.js";
import { Recording } from "./recording.js";

/** LINKTYPE numbers: Ethernet; IP packets of either family, of version 4, of version 6. */
const LINK_TYPES: Readonly<Record<string, readonly number[]>> = {
  ethernet: [1],
  ip: [101, 228, 229],
};
/** Packets without a wait between them, after which the network gets its turn. */
const BURST = 64;
const MICROSECONDS = 1_000;

/**
 * A port that plays a recording (pcapng, or pcap), in the time in which it was recorded or faster. It begins when the port is plugged in, stops where it is
 * while that is unplugged, and goes on from there. A program does not end before the recording has. Packets that are not of `options.medium`, or were
 * cut when they were recorded, are left out.
 * @throws TypeError if the file is no such recording.
 */
export function replayPort(file: BufferSource, options: ReplayPortOptions = {}): ReplayPort {
  const given = check.options("options", options);
  const { speed = 1, medium = "ethernet", filter, signal } = given;
  if (typeof speed !== "number") {
    throw new TypeError(`options.speed must be a number, got ${check.show(speed)}`);
  }
  if (!(speed > 0)) throw new RangeError(`options.speed must be more than 0, got ${speed}`);
  const kind = check.oneOf("options.medium", Object.keys(LINK_TYPES), medium);
  const port = new ReplayPortImpl(
    nameOf(given, "replay"),
    new Recording("file", check.bytes("file", file)),
    speed,
    LINK_TYPES[kind] ?? [],
    check.callback("options.filter", filter)?.bind(options) ?? null,
  );
  port.closeOn(check.abortSignal("options.signal", signal));
  return port;
}

class ReplayPortImpl extends ExternalPort implements ReplayPort {
  readonly finished: Promise<ReplayReport>;
  readonly #recording: Recording;
  readonly #packets: Iterator<RecordedPacket>;
  readonly #speed: number;
  readonly #linkTypes: readonly number[];
  readonly #filter: ((packet: RecordedPacket) => boolean) | null;
  readonly #finishing = deferred<ReplayReport>();
  #played = 0;
  #skipped = 0;
  /** What is played next, once it is known. */
  #next: RecordedPacket | null = null;
  /** The time that waits for the next packet; null while the port is not plugged in. */
  #timer: DueTimer | null = null;
  /** What the engine's time is more than the recording's, both in microseconds; null until the first packet since the port was plugged in. */
  #shift: number | null = null;
  #isPlaying = false;

  constructor(
    name: string,
    recording: Recording,
    speed: number,
    linkTypes: readonly number[],
    filter: ((packet: RecordedPacket) => boolean) | null,
  ) {
    super(name);
    this.#recording = recording;
    this.#packets = recording.packets();
    this.#speed = speed;
    this.#linkTypes = linkTypes;
    this.#filter = filter;
    this.finished = this.#finishing.promise;
  }

  override attach(engine: EngineCore): number {
    const id = super.attach(engine);
    this.#timer = new DueTimer(engine, () => void this.#play(engine));
    this.#shift = null;
    // Not before the port is plugged in.
    microtask(() => void this.#play(engine));
    return id;
  }

  override detach(): void {
    this.#timer?.clear();
    this.#timer = null;
    super.detach();
  }

  /** Frames for the recording go nowhere. */
  onFrames(): void {
    while (this.take() !== null);
  }

  /** Plays what is due, and comes back for the rest. */
  async #play(engine: EngineCore): Promise<void> {
    if (this.#isPlaying) return;
    this.#isPlaying = true;
    try {
      for (let burst = 1; this.attached?.engine === engine && engine.over === null; burst += 1) {
        const packet = this.#next ?? this.#fetch();
        if (packet === null) {
          this.#finish();
          return;
        }
        this.#next = packet;
        const wait = this.#dueIn(packet, engine.now());
        if (wait > 0) {
          this.#timer?.set(engine.now() + wait, true);
          return;
        }
        this.#next = null;
        if (this.bring(packet.data)) this.#played += 1;
        else this.#skipped += 1;
        if (burst % BURST === 0) await this.taken();
      }
    } finally {
      this.#isPlaying = false;
    }
    // It may have been plugged in elsewhere while it waited for the last one.
    const elsewhere = this.attached?.engine;
    if (elsewhere !== undefined && elsewhere !== engine) await this.#play(elsewhere);
  }

  /** How many microseconds from now a packet is due. */
  #dueIn(packet: RecordedPacket, now: number): number {
    if (this.#speed === Number.POSITIVE_INFINITY) return 0;
    const at = (packet.time * MICROSECONDS) / this.#speed;
    this.#shift ??= now - at;
    return at + this.#shift - now;
  }

  /** The next packet that is to be played; null at the end. */
  #fetch(): RecordedPacket | null {
    for (;;) {
      const { value, done } = this.#packets.next();
      if (done === true) return null;
      if (this.#isWanted(value)) return value;
      this.#skipped += 1;
    }
  }

  #isWanted(packet: RecordedPacket): boolean {
    const isWhole = packet.data.byteLength === packet.length;
    if (!isWhole || !this.#linkTypes.includes(packet.linkType)) return false;
    let isWanted = this.#filter === null;
    guarded(() => {
      if (this.#filter?.(packet) === true) isWanted = true;
    });
    return isWanted;
  }

  #finish(): void {
    this.#finishing.resolve({
      played: this.#played,
      skipped: this.#skipped,
      isComplete: this.#recording.isComplete,
    });
  }

  protected dispose(): void {
    this.#finish();
  }
}
