/**
 * Ports from outside: virtual machines, relays, channels, streams, recordings, and code of your own.
 * Times are milliseconds, sizes are bytes unless a comment says otherwise.
 *
 * @module
 */

import type { SocketError } from "./errors.js";
import type { Clock, DurationLike, Port } from "./types.js";

/** What all ports from outside may be told. */
export interface OutsidePortOptions {
  /** A name for people and captures. */
  name?: string;
  /** Closes the port when it aborts. */
  signal?: AbortSignal;
}

/** How a port made of functions works. */
export interface FunctionPortOptions extends OutsidePortOptions {
  /** Takes a frame out of the network. The array is valid during the call only: copy what must stay. */
  send(frame: Uint8Array): void;
  /** Told when the port was closed, by whatever side. */
  closed?(): void;
}

/** A port made of functions. */
export interface FunctionPort extends Port {
  /** Brings a frame into the network; it is copied. Returns false if it was dropped (not plugged in, full, no frame). */
  receive(frame: Uint8Array): boolean;
}

/** The part of a v86 emulator that a port needs. */
export interface V86Emulator {
  /** Calls `listener` for each frame that a card sends. */
  add_listener(event: string, listener: (value: Uint8Array) => void): void;
  /** Takes that back. */
  remove_listener(event: string, listener: (value: Uint8Array) => void): void;
  /** What takes frames for the cards. */
  bus: {
    /** Hands a frame to a card. */
    send(event: string, value: Uint8Array): void;
  };
}

/** How a virtual machine is plugged in. */
export interface V86PortOptions extends OutsidePortOptions {
  /** Number of the virtual machine's network card. By default 0. */
  nic?: number;
}

/**
 * How frames stand in what a medium carries. `"frames"`: each message, or chunk of a stream, is one frame. `"qemu"`: a stream of bytes, in which each frame has its
 * length before it in 32 bits, the highest byte first, as QEMU's `-netdev stream`, passt, gvisor-tap-vsock and container2wasm have it; where a
 * message ends means nothing.
 */
export type Framing = "frames" | "qemu";

/** Where a port's link is in its life: `"waiting"` is for the next attempt to connect. */
export type LinkState = "connecting" | "open" | "waiting" | "closed";

/** When a link that has failed or ended is made anew. */
export interface ReconnectOptions {
  /** The wait before the first new attempt; it doubles with each that fails. By default half a second. */
  minDelay?: DurationLike;
  /** The longest wait. By default half a minute. */
  maxDelay?: DurationLike;
  /** A link that was open for this long counts as a success, after which waits are short again. By default five seconds. */
  minUptime?: DurationLike;
  /** New attempts in a row that may fail before the port closes. By default without end. */
  attempts?: number;
  /** Numbers from 0 to 1 without 1: of each wait the second half is left to chance, so that clients don't all come back at once. By default `Math.random`. */
  random?: () => number;
  /** By default real time. */
  clock?: Clock;
}

/** What ports over a link that can end may be told. */
export interface LinkPortOptions extends OutsidePortOptions {
  /**
   * Bytes of frames that may wait; by default 1 MiB. While there is no link, the oldest make room. In the medium's own buffer, frames beyond this stay in the engine
   * and hold the sender back, or are dropped where the medium cannot tell when it has room (WebSockets). What is dropped is counted.
   */
  queue?: number;
}

/** What ports may be told that can make their link anew. */
export interface ReconnectingPortOptions extends LinkPortOptions {
  /**
   * Whether the link is made anew when it fails or ends, for a target that is no open socket. The port stays plugged in meanwhile,
   * and up to `queue` bytes of frames wait. By default false: the port closes.
   */
  reconnect?: boolean | ReconnectOptions;
  /** An attempt to connect that takes longer has failed. By default half a minute. */
  connectTimeout?: DurationLike;
}

/** How a port ended. */
export interface PortEnd {
  /** Null if the port was closed here, or by the other side in an orderly way. */
  error: SocketError | null;
}

/** A port over a link that opens, ends, and perhaps comes back. */
export interface LinkPort extends Port {
  /** Where the link is in its life. */
  readonly state: LinkState;
  /** Told of each new state, with the error that has led to it, if any. By default null. */
  onstate: ((state: LinkState, error: SocketError | null) => void) | null;
  /** Resolves when the link is open for the first time; rejects if the port is closed before. */
  readonly opened: Promise<void>;
  /** Resolves when the port has closed for good, for whatever reason; it is unplugged then. Never rejects. */
  readonly closed: Promise<PortEnd>;
  /** Closes the port and waits until the link has ended. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The part of a WebSocket that a port needs; that of browsers, Node 22 and `ws` have it. */
export interface WebSocketLike {
  /** Is set to `"arraybuffer"`. */
  binaryType: string;
  /** 0 to 3: connecting, open, closing, closed. */
  readonly readyState: number;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** Sends a binary message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Begins to close it. */
  close(code?: number, reason?: string): void;
  /** Listens for `open`, `message`, `error` and `close`. */
  addEventListener(type: string, listener: (event: unknown) => void): void;
  /** Takes that back. */
  removeEventListener(type: string, listener: (event: unknown) => void): void;
}

/** How a WebSocket is plugged in. */
export interface WebSocketPortOptions extends ReconnectingPortOptions {
  /** By default `"frames"`, one in each binary message: websockproxy, wsnic, RootlessRelay. */
  framing?: Framing;
  /** Sub-protocols, when a URL is given. */
  protocols?: string | string[];
}

/** How a WebSocket ended. */
export interface WebSocketEnd extends PortEnd {
  /** The WebSocket's close code (RFC 6455 §7.4); 1006 if there was none. */
  code: number;
  /** What the other side said; may be empty. */
  reason: string;
}

/** A WebSocket that carries frames. */
export interface WebSocketPort extends LinkPort {
  /** As {@link LinkPort.closed}, with how the WebSocket ended. */
  readonly closed: Promise<WebSocketEnd>;
}

/** How what carries messages is plugged in. */
export type MessagePortOptions = LinkPortOptions;

/** How a broadcast channel is plugged in. */
export type BroadcastPortOptions = OutsidePortOptions;

/**
 * What can send and receive messages: a `MessagePort`, a `Worker`, a worker's own scope (`self`), `parentPort` of Node's workers, a `BroadcastChannel` have
 * `postMessage`; an `RTCDataChannel` has `send`. Events come by `addEventListener`, or by `on` and `off` with the message itself.
 */
export interface MessageTarget {
  /** Sends a message whose buffers may be transferred. */
  postMessage?(message: unknown, transfer?: never): void;
  /** Sends a message, where there is no `postMessage`. */
  send?(data: never): void;
  /** Listens for messages, as browsers have it. */
  addEventListener?(type: string, listener: (event: unknown) => void): void;
  /** Takes that back. */
  removeEventListener?(type: string, listener: (event: unknown) => void): void;
  /** Listens for messages, as Node has it. */
  on?(type: string, listener: (value: unknown) => void): unknown;
  /** Takes that back. */
  off?(type: string, listener: (value: unknown) => void): unknown;
  /** Lets messages come (`MessagePort`). */
  start?(): void;
  /** Ends it; called when the port is closed. */
  close?(): void;
}

/** How a pair of streams is plugged in. */
export interface StreamPortOptions extends LinkPortOptions {
  /** By default `"frames"`, one in each chunk. Streams of bytes, which may put chunks together or cut them, need `"qemu"`. */
  framing?: Framing;
}

/** The part of a `node:stream` Duplex, such as a `node:net` Socket, that a port needs. */
export interface NodeStreamLike {
  /** Whether it is being connected (`node:net`). */
  readonly connecting?: boolean;
  /** Whether it is over. */
  readonly destroyed: boolean;
  /** Takes bytes; false if it has enough for now, and `drain` follows. */
  write(data: Uint8Array): boolean;
  /** Holds `data` events back. */
  pause(): unknown;
  /** Lets them come. */
  resume(): unknown;
  /** Ends it at once. */
  destroy(): unknown;
  /** Listens for `connect`, `data`, `drain`, `end`, `error` and `close`. */
  on(event: string, listener: (value: unknown) => void): unknown;
  /** Takes that back. */
  off(event: string, listener: (value: unknown) => void): unknown;
}

/** Where a socket is that speaks QEMU's stream: a path, or a port of a host (`"127.0.0.1"` by default). In Node only. */
export type QemuAddress =
  | string
  | {
      /** Of a Unix socket. */
      path: string;
    }
  | {
      /** Of TCP. */
      port: number;
      /** By default `"127.0.0.1"`. */
      host?: string;
    };

/** How a stream of QEMU is plugged in. `queue` is for the time without a link; the socket itself says when it has room. */
export type QemuPortOptions = ReconnectingPortOptions;

/** How a recording is played. */
export interface ReplayPortOptions extends OutsidePortOptions {
  /** How many times as fast as it was recorded; `Infinity` for without waiting. By default 1. Time is that of the engine that the port is plugged into. */
  speed?: number;
  /** Which packets of the recording are played: those with an Ethernet header, by default, or IP packets without one. */
  medium?: "ethernet" | "ip";
  /** Which of them, such as those of one direction of a recorded conversation. By default all. */
  filter?(packet: RecordedPacket): boolean;
}

/** A packet of a recording. */
export interface RecordedPacket {
  /** Counts all packets of the file from 0. */
  index: number;
  /** Milliseconds since 1970. */
  time: number;
  /** Number of the interface that it was recorded on, from 0 in each section of the file. */
  interface: number;
  /** The interface's LINKTYPE: 1 is Ethernet. */
  linkType: number;
  /** Length on the wire, of which the recording may have less. */
  length: number;
  /** As it was recorded, from the header that `linkType` names. */
  data: Uint8Array;
}

/** What has become of a recording. */
export interface ReplayReport {
  /** Packets that went into the network. */
  played: number;
  /** Packets of another medium, cut ones, and those that the filter has left out. */
  skipped: number;
  /** Whether the recording was played to its end, which is false for one that is cut off or damaged there. */
  isComplete: boolean;
}

/** A recording that plays while it is plugged in. Frames that are sent to it go nowhere. */
export interface ReplayPort extends Port {
  /** Resolves when everything was played, or the port was closed. */
  readonly finished: Promise<ReplayReport>;
}
