/** The client's side of a Wisp connection: the handshake, the streams, and connecting again. */

import { holdProgram, microtask } from "../../clock.js";
import { guarded } from "../../engine_core.js";
import type { Backoff } from "../../ports/backoff.js";
import type { Clock } from "../../types.js";
import { agree, CredentialsError, type WispCredentials } from "./wisp_extensions.js";
import type { LinkOpener, WispLink, WispLinkEvents } from "./wisp_link.js";
import {
  CloseReason,
  CONNECTION,
  closePacket,
  connectPacket,
  type ExtensionEntry,
  HEADER_BYTES,
  infoPacket,
  parsePacket,
  reasonText,
  type ServerPacket,
  type WispTransport,
} from "./wisp_packets.js";
import {
  PACKET_COST,
  type StreamEnd,
  type StreamEvents,
  type StreamHost,
  WispStream,
} from "./wisp_stream.js";

/** The version that is spoken to servers of version 2. */
const VERSION = { major: 2, minor: 1 } as const;
/** Tells servers that the client knows version 2. */
const SUBPROTOCOL = "wisp-v2";
/** How long opening the WebSocket and the handshake may take, in milliseconds. */
const HANDSHAKE_TIMEOUT = 10_000;
/** Queued bytes of one stream from which on the WebSocket is not read, where that can be. */
const PAUSE_ABOVE = 1024 * 1024;
/** How long one slow reader may keep all others waiting, in milliseconds. */
const LONGEST_PAUSE = 5_000;
/** Reasons to close that trying again does not change. */
const FINAL: readonly number[] = [
  CloseReason.incompatible,
  CloseReason.badPassword,
  CloseReason.badSignature,
  CloseReason.credentialsMissing,
];

/**
 * How it stands with the server: `"waiting"` is between two attempts; `"failed"` is that it does not want this client, or that attempts
 * are used up.
 */
export type WispState = "connecting" | "open" | "waiting" | "failed" | "closed";

/** What a client is made of; see the options of `wispEgress`. */
export interface WispClientSettings {
  opener: LinkOpener;
  version: 1 | 2;
  credentials: WispCredentials;
  clock: Clock;
  /** Null for one connection only. */
  backoff: Backoff | null;
  maxStreams: number;
  /** Bytes that may wait for a guest, of one stream and of all. */
  maxBuffer: number;
  maxTotalBuffer: number;
  /** Milliseconds. */
  openTimeout: number;
  /** The state has changed. */
  changed: () => void;
}

/** What has happened, in numbers. */
export interface WispCounters {
  /** Streams that are open or opened. */
  streams: number;
  /** Streams that were asked for, and those refused since there were `maxStreams`. */
  opened: number;
  /** Streams that were refused since there were `maxStreams`. */
  refused: number;
  /** Payload of DATA packets. */
  bytesSent: number;
  /** Payload of DATA packets that came. */
  bytesReceived: number;
  /** Streams that were reset since what came for their guests exceeded the buffers, or since they kept others waiting. */
  overflows: number;
  /** Messages that are no packet, or have no place. */
  malformed: number;
  /** Packets for streams that are not, such as those which crossed with their end. */
  strays: number;
  /** WebSockets that were opened, and that ended. */
  connects: number;
  /** WebSockets that ended. */
  disconnects: number;
}

/** A handshake that goes on. */
interface Handshake {
  /** The first CONTINUE packet's number. */
  credit: number | null;
  hasInfo: boolean;
  /** The answer to INFO was sent. */
  hasAnswered: boolean;
  wasOpen: boolean;
  protocols: string[];
}

/** A Wisp client. */
export class WispClient implements StreamHost {
  readonly #settings: WispClientSettings;
  readonly #pauseAbove: number;
  readonly #streams = new Map<number, WispStream>();
  /** Streams that have finished, and of which something waits for a guest. */
  readonly #finished = new Set<WispStream>();
  /** Streams that the server was not asked for yet. */
  readonly #waiting = new Set<WispStream>();
  readonly #openTimers = new Map<WispStream, unknown>();
  readonly #counters: Omit<WispCounters, "streams"> = {
    opened: 0,
    refused: 0,
    bytesSent: 0,
    bytesReceived: 0,
    overflows: 0,
    malformed: 0,
    strays: 0,
    connects: 0,
    disconnects: 0,
  };
  #state: WispState = "connecting";
  #link: WispLink | null = null;
  #handshake: Handshake | null = null;
  /** The next attempt, or the end of a handshake. */
  #timer: unknown = null;
  #pauseTimer: unknown = null;
  #queued = 0;
  #lastId = 0;
  #openSince = 0;
  /** The server does not take the sub-protocol. */
  #isPlain = false;
  #version: 1 | 2 | null = null;
  #credit = 0;
  #hasUdp = true;
  #hasConfirmation = false;
  #motd: string | null = null;
  #error: Error | null = null;

  constructor(settings: WispClientSettings) {
    this.#settings = settings;
    this.#pauseAbove = Math.min(PAUSE_ABOVE, settings.maxBuffer / 2);
  }

  /** Connects, once. */
  start(): void {
    this.#connect();
  }

  get state(): WispState {
    return this.#state;
  }

  /** The version that is spoken; null before the first handshake. */
  get version(): 1 | 2 | null {
    return this.#version;
  }

  /** The server's message of the day. */
  get motd(): string | null {
    return this.#motd;
  }

  /** Whether the server carries UDP; true before it has told. */
  get hasUdp(): boolean {
    return this.#hasUdp;
  }

  /** Why the last connection, or attempt, ended. */
  get error(): Error | null {
    return this.#error;
  }

  counters(): WispCounters {
    return { streams: this.#streams.size, ...this.#counters };
  }

  #enter(state: WispState): void {
    if (this.#state === state) return;
    this.#state = state;
    guarded(this.#settings.changed);
  }

  // Streams.

  /** Asks for a stream; null if there are too many, or no server can be had. */
  open(
    target: { transport: WispTransport; hostname: string; port: number },
    events: StreamEvents,
  ): WispStream | null {
    const isOver = this.#state === "closed" || this.#state === "failed";
    if (isOver || this.#streams.size >= this.#settings.maxStreams) {
      this.#counters.refused += 1;
      return null;
    }
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#lastId === CONNECTION || this.#streams.has(this.#lastId));
    const stream = new WispStream(this, this.#lastId, target, events);
    this.#streams.set(stream.id, stream);
    this.#counters.opened += 1;
    const timer = this.#background(this.#settings.openTimeout, () => {
      const isOffline = this.#waiting.has(stream);
      if (!isOffline) this.#link?.send(closePacket(stream.id, CloseReason.unknown));
      this.#end(stream, isOffline ? "offline" : "timeout");
    });
    this.#openTimers.set(stream, timer);
    this.#waiting.add(stream);
    // The caller has it in hand before it is told of anything.
    if (this.#state === "open") microtask(() => this.#request(stream));
    return stream;
  }

  #request(stream: WispStream): void {
    if (this.#state !== "open" || !this.#waiting.delete(stream)) return;
    const { id, transport, hostname, port } = stream;
    if (transport === "udp" && !this.#hasUdp) {
      this.#end(stream, "prohibited");
      return;
    }
    this.#link?.send(connectPacket(id, transport, hostname, port));
    if (transport === "tcp" && this.#hasConfirmation) return;
    this.#stopOpenTimer(stream);
    stream.open(this.#credit);
  }

  #stopOpenTimer(stream: WispStream): void {
    const timer = this.#openTimers.get(stream);
    if (timer !== undefined) this.#settings.clock.clearTimer(timer);
    this.#openTimers.delete(stream);
  }

  #forget(stream: WispStream): void {
    this.#stopOpenTimer(stream);
    this.#waiting.delete(stream);
    this.#streams.delete(stream.id);
  }

  #end(stream: WispStream, end: StreamEnd): void {
    this.#forget(stream);
    stream.end(end);
    if (stream.queued > 0) this.#finished.add(stream);
  }

  get isFull(): boolean {
    return this.#link?.isFull ?? true;
  }

  send(_stream: WispStream, packet: Uint8Array<ArrayBuffer>): void {
    this.#counters.bytesSent += packet.byteLength - HEADER_BYTES;
    this.#link?.send(packet);
  }

  close(stream: WispStream, reason: number): void {
    const wasRequested = !this.#waiting.has(stream);
    this.#forget(stream);
    if (wasRequested && this.#state === "open") this.#link?.send(closePacket(stream.id, reason));
  }

  // Data for guests, and its bounds.

  #receive(stream: WispStream, data: Uint8Array): void {
    this.#counters.bytesReceived += data.byteLength;
    if (data.byteLength === 0 && stream.transport === "tcp") return;
    this.#queued += data.byteLength + PACKET_COST;
    stream.receive(data);
    const { maxBuffer, maxTotalBuffer } = this.#settings;
    if (stream.queued > maxBuffer) this.#overflow(stream);
    else if (this.#queued > maxTotalBuffer)
      this.#overflow(fullestOf([...this.#streams.values(), ...this.#finished]));
    else if (stream.queued > this.#pauseAbove) this.#pause();
  }

  /** What is in a link is for all streams: whoever does not read holds all others up, so that it may not for long. */
  #pause(): void {
    if (this.#pauseTimer !== null || this.#link?.canPause !== true) return;
    this.#link.pause();
    this.#pauseTimer = this.#background(LONGEST_PAUSE, () => {
      this.#pauseTimer = null;
      this.#overflow(fullestOf(this.#streams.values()));
      this.#link?.resume();
    });
  }

  #overflow(stream: WispStream | null): void {
    if (stream === null) return;
    this.#counters.overflows += 1;
    if (this.#finished.has(stream)) {
      stream.discard();
      return;
    }
    this.#link?.send(closePacket(stream.id, CloseReason.clientError));
    this.#end(stream, "reset");
  }

  consumed(stream: WispStream, bytes: number): void {
    this.#queued -= bytes;
    if (stream.queued === 0) this.#finished.delete(stream);
    if (this.#pauseTimer === null || stream.queued > this.#pauseAbove / 2) return;
    const fullest = fullestOf(this.#streams.values());
    if (fullest !== null && fullest.queued > this.#pauseAbove) return;
    this.#endPause();
    this.#link?.resume();
  }

  #endPause(): void {
    if (this.#pauseTimer !== null) this.#settings.clock.clearTimer(this.#pauseTimer);
    this.#pauseTimer = null;
  }

  // The connection.

  #background(delay: number, callback: () => void): unknown {
    const timer = this.#settings.clock.setTimer(callback, delay);
    holdProgram(timer, false);
    return timer;
  }

  #stopTimer(): void {
    if (this.#timer !== null) this.#settings.clock.clearTimer(this.#timer);
    this.#timer = null;
  }

  #connect(): void {
    const hasProtocol = this.#settings.version === 2 && !this.#isPlain;
    const handshake: Handshake = {
      credit: null,
      hasInfo: false,
      hasAnswered: false,
      wasOpen: false,
      protocols: hasProtocol ? [SUBPROTOCOL] : [],
    };
    this.#handshake = handshake;
    const isCurrent = () => this.#link !== null && this.#link === link;
    const events: WispLinkEvents = {
      opened: () => {
        handshake.wasOpen = true;
        this.#counters.connects += 1;
      },
      received: (message) => {
        if (isCurrent()) this.#message(message);
      },
      drained: () => {
        if (!isCurrent()) return;
        for (const stream of this.#streams.values()) stream.proceed();
      },
      ended: (reason) => {
        if (isCurrent()) this.#lost(new Error(reason));
      },
    };
    let link: WispLink;
    try {
      link = this.#settings.opener(handshake.protocols, events);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#link = link;
    this.#enter("connecting");
    this.#stopTimer();
    this.#timer = this.#background(HANDSHAKE_TIMEOUT, () => {
      this.#timer = null;
      const what = handshake.wasOpen
        ? "the server sent no Wisp handshake (the path of a Wisp server usually ends with a slash)"
        : "the WebSocket did not open in time";
      this.#drop(new Error(what));
    });
  }

  /** Ends the link from this side, with a CLOSE packet if there is something to tell. */
  #drop(error: Error, reason: number | null = null): void {
    const link = this.#link;
    if (reason !== null) link?.send(closePacket(CONNECTION, reason));
    link?.close();
    this.#lost(error);
  }

  /** The link is over. */
  #lost(error: Error): void {
    const handshake = this.#handshake;
    this.#endLink();
    this.#error = error;
    if (handshake !== null && !handshake.wasOpen && handshake.protocols.length > 0) {
      // Browsers give a WebSocket up whose server does not take the sub-protocol.
      this.#isPlain = true;
      this.#connect();
      return;
    }
    if (handshake !== null && !handshake.wasOpen) this.#isPlain = false;
    const { backoff, clock } = this.#settings;
    const uptime = this.#openSince === 0 ? 0 : clock.now() - this.#openSince;
    this.#openSince = 0;
    const delay = backoff?.next(uptime) ?? null;
    if (delay === null) {
      this.#fail(error);
      return;
    }
    this.#timer = this.#background(delay, () => {
      this.#timer = null;
      this.#connect();
    });
    this.#enter("waiting");
  }

  /** Lets go of the link, and with it of the streams that the server knows. */
  #endLink(): void {
    if (this.#handshake?.wasOpen !== false) this.#counters.disconnects += 1;
    this.#link = null;
    this.#handshake = null;
    this.#stopTimer();
    this.#endPause();
    for (const stream of [...this.#streams.values()]) {
      if (!this.#waiting.has(stream)) this.#end(stream, "reset");
    }
  }

  /** There will be no connection any more. */
  #fail(error: Error): void {
    this.#error = error;
    this.#handshake = null;
    this.#stopTimer();
    for (const stream of [...this.#streams.values()]) this.#end(stream, "offline");
    this.#enter("failed");
  }

  /** Ends all; streams are reset. */
  shutdown(): void {
    if (this.#state === "closed") return;
    this.#link?.close();
    this.#endLink();
    for (const stream of [...this.#streams.values()]) this.#end(stream, "offline");
    this.#enter("closed");
  }

  // What the server sends.

  #message(message: Uint8Array | null): void {
    const packet = message === null ? null : parsePacket(message);
    if (packet === null) {
      this.#counters.malformed += 1;
    } else if (this.#handshake !== null) {
      this.#shakeHands(packet, this.#handshake);
    } else if (packet.type === "info") {
      // Those of version 1 may not know that it was not listened to.
      if (this.#settings.version === 2) this.#counters.malformed += 1;
    } else {
      this.#packet(packet);
    }
  }

  #shakeHands(packet: ServerPacket, handshake: Handshake): void {
    switch (packet.type) {
      case "info":
        if (handshake.hasInfo || this.#settings.version === 1) return;
        handshake.hasInfo = true;
        void this.#answer(packet.extensions, handshake);
        return;
      case "continue":
        if (packet.stream !== CONNECTION || handshake.credit !== null) break;
        handshake.credit = packet.remaining;
        this.#greet(handshake);
        return;
      case "close":
        if (packet.stream !== CONNECTION) break;
        this.#closed(packet.reason);
        return;
    }
    this.#counters.malformed += 1;
  }

  async #answer(offered: readonly ExtensionEntry[], handshake: Handshake): Promise<void> {
    try {
      const { extensions, ...agreement } = await agree(offered, this.#settings.credentials);
      if (this.#handshake !== handshake) return;
      this.#link?.send(infoPacket(VERSION.major, VERSION.minor, extensions));
      this.#hasUdp = agreement.udp;
      this.#hasConfirmation = agreement.openConfirmation;
      this.#motd = agreement.motd;
      handshake.hasAnswered = true;
      this.#greet(handshake);
    } catch (cause) {
      if (this.#handshake !== handshake) return;
      const error = cause instanceof Error ? cause : new Error(String(cause));
      if (!(error instanceof CredentialsError)) {
        this.#drop(error, CloseReason.incompatible);
        return;
      }
      this.#link?.send(closePacket(CONNECTION, CloseReason.incompatible));
      this.#link?.close();
      this.#endLink();
      this.#fail(error);
    }
  }

  /** Ends the handshake once all is said. */
  #greet(handshake: Handshake): void {
    const { credit, hasInfo, hasAnswered } = handshake;
    if (credit === null || hasInfo !== hasAnswered) return;
    this.#handshake = null;
    this.#stopTimer();
    this.#credit = credit;
    this.#version = hasInfo ? 2 : 1;
    if (!hasInfo) {
      this.#hasUdp = true;
      this.#hasConfirmation = false;
      this.#motd = null;
    }
    this.#error = null;
    this.#openSince = this.#settings.clock.now();
    this.#enter("open");
    for (const stream of [...this.#waiting]) this.#request(stream);
  }

  #packet(packet: Exclude<ServerPacket, { type: "info" }>): void {
    if (packet.stream === CONNECTION) {
      if (packet.type === "close") this.#closed(packet.reason);
      else this.#counters.malformed += 1;
      return;
    }
    const stream = this.#streams.get(packet.stream);
    if (stream === undefined || this.#waiting.has(stream)) {
      this.#counters.strays += 1;
      return;
    }
    switch (packet.type) {
      case "data":
        this.#receive(stream, packet.data);
        break;
      case "continue":
        this.#stopOpenTimer(stream);
        stream.replenish(packet.remaining);
        break;
      case "close":
        this.#end(stream, stream.endOf(packet.reason));
        break;
    }
  }

  /** The server ends the connection. */
  #closed(reason: number): void {
    const error = new Error(`the server closed the connection ${reasonText(reason)}`);
    if (!FINAL.includes(reason)) {
      this.#drop(error);
      return;
    }
    this.#link?.close();
    this.#endLink();
    this.#fail(error);
  }
}

/** The stream of which most waits; null if nothing does. */
function fullestOf(streams: Iterable<WispStream>): WispStream | null {
  let fullest: WispStream | null = null;
  for (const stream of streams) {
    if (stream.queued > (fullest?.queued ?? 0)) fullest = stream;
  }
  return fullest;
}
