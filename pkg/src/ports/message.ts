/** Ports over what carries messages: broadcast channels, message ports, workers, data channels. One frame in each message. */

import * as check from "../arguments.js";
import type { SocketError } from "../errors.js";
import type {
  BroadcastPortOptions,
  LinkPort,
  MessagePortOptions,
  MessageTarget,
  PortEnd,
} from "../types.js";
import { type Link, type LinkEvents, LinkPortImpl, linkOptions, nameOf } from "./link_port.js";

/** The channel of v86's `inbrowser` network with this number. */
const V86_CHANNEL = "v86-inbrowser-";

/**
 * A port on a `BroadcastChannel`, by which tabs, workers and frames of one origin are on one network, each message a frame. The channel is named, or
 * numbered as virtual machines of v86 are that have the network `inbrowser`, which are on the same network then: 0 by default, as there. Closing the port closes the channel.
 */
export function broadcastPort(
  channel: string | number = 0,
  options: BroadcastPortOptions = {},
): LinkPort {
  const given = check.options("options", options);
  const label =
    typeof channel === "number"
      ? `${V86_CHANNEL}${check.integer("channel", channel, 0, Number.MAX_SAFE_INTEGER)}`
      : check.string("channel", channel);
  const name = nameOf(given, "broadcast");
  const plan = linkOptions(given);
  return new LinkPortImpl<PortEnd>(name, {
    ...plan,
    make: (events) =>
      new MessageLink(new BroadcastChannel(label) as MessageTarget, false, plan.queue, events),
    end: (error) => ({ error }),
  });
}

/**
 * A port on anything that carries messages: see {@link MessageTarget}. Each message is a frame, in an array of its own that is transferred where that is possible.
 * An `RTCDataChannel` that is slower than the network holds frames back. Closing the port closes the target, unless that is a worker, or its own
 * scope; when a target closes that tells of it, the port does.
 */
export function messagePort(target: MessageTarget, options: MessagePortOptions = {}): LinkPort {
  const given = check.options("options", options);
  const name = nameOf(given, "messages");
  const plan = linkOptions(given);
  const value: unknown = target;
  const has = (method: string): boolean =>
    typeof value === "object" &&
    value !== null &&
    typeof (value as Record<string, unknown>)[method] === "function";
  if (!(has("postMessage") || has("send")) || !(has("addEventListener") || has("on"))) {
    throw new TypeError(
      `target must be a MessagePort, a Worker, an RTCDataChannel or the like, got ${check.show(value)}`,
    );
  }
  return new LinkPortImpl<PortEnd>(name, {
    ...plan,
    make: (events) => new MessageLink(target, true, plan.queue, events),
    end: (error) => ({ error }),
  });
}

/** What only data channels have. */
interface DataChannel {
  binaryType: string;
  readonly readyState: string;
  readonly bufferedAmount: number;
  bufferedAmountLowThreshold: number;
}

class MessageLink implements Link {
  readonly #target: MessageTarget;
  readonly #channel: DataChannel | null;
  readonly #transfers: boolean;
  readonly #queue: number;
  readonly #events: LinkEvents<PortEnd>;
  #isOver = false;
  /** What was listened to, to be forgotten. */
  readonly #listening: [type: string, listener: (value: unknown) => void][] = [];

  constructor(
    target: MessageTarget,
    transfers: boolean,
    queue: number,
    events: LinkEvents<PortEnd>,
  ) {
    this.#target = target;
    this.#transfers = transfers;
    this.#queue = queue;
    this.#events = events;
    this.#channel = isDataChannel(target) ? target : null;
    if (typeof target.addEventListener === "function") {
      this.#listen("message", (event: { data?: unknown }) => events.received(event.data));
    } else {
      this.#listen("message", (message: unknown) => events.received(message));
    }
    this.#listen("messageerror", () => events.received(null));
    this.#listen("close", () => this.#over(null));
    // Node's workers end so.
    this.#listen("exit", () => this.#over(null));
    if (this.#channel === null) events.opened();
    else this.#open(this.#channel);
    target.start?.();
  }

  #open(channel: DataChannel): void {
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = Math.floor(this.#queue / 2);
    this.#listen("open", () => this.#events.opened());
    this.#listen("bufferedamountlow", () => this.#events.writable());
    if (channel.readyState === "open") this.#events.opened();
    else if (channel.readyState !== "connecting") this.#over(null);
  }

  #listen<T>(type: string, listener: (value: T) => void): void {
    const heard = listener as (value: unknown) => void;
    if (typeof this.#target.addEventListener === "function") {
      this.#target.addEventListener(type, heard);
    } else {
      this.#target.on?.(type, heard);
    }
    this.#listening.push([type, heard]);
  }

  get isWritable(): boolean {
    const channel = this.#channel;
    return (
      channel === null || (channel.readyState === "open" && channel.bufferedAmount <= this.#queue)
    );
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    try {
      if (this.#target.postMessage === undefined) this.#target.send?.(bytes as never);
      else if (this.#transfers) this.#target.postMessage(bytes, [bytes.buffer] as never);
      else this.#target.postMessage(bytes);
      return true;
    } catch {
      // Closed in this moment, or a frame longer than the channel's longest message.
      return false;
    }
  }

  #over(error: SocketError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { removeEventListener } = this.#target;
    for (const [type, listener] of this.#listening.splice(0)) {
      if (typeof removeEventListener === "function")
        removeEventListener.call(this.#target, type, listener);
      else this.#target.off?.(type, listener);
    }
    this.#events.ended({ error });
  }

  end(): void {
    this.#over(null);
    // A worker's scope would end the worker.
    if ((this.#target as unknown) !== globalThis) this.#target.close?.();
  }
}

function isDataChannel(target: MessageTarget): target is MessageTarget & DataChannel {
  return target.postMessage === undefined && "bufferedAmount" in target;
}
