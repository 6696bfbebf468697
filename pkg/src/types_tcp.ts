/**
 * The public types of TCP: settings, figures of connections, and the trace. Units are as in `types.ts`.
 *
 * @module
 */

import type { DurationLike, RateLike, SocketAddress } from "./types.js";

/** When an idle connection asks whether its peer is still there (RFC 9293 §3.8.4). */
export interface KeepAliveOptions {
  /** Silence before the first probe. By default 2 h. */
  idle?: DurationLike;
  /** Between probes. By default 75 s. */
  interval?: DurationLike;
  /** Unanswered probes until the connection ends with ETIMEDOUT. By default 9. */
  probes?: number;
}

/**
 * TCP's settings: of a stack, for the sockets that it makes from then on; of a listener, for the connections that it
 * accepts; of one connection. What is not given stays as it is, at first as the stack has it. What both sides' SYNs agree on
 * (timestamps, SACK, window scaling, ECN) does not change while a connection is open. The names are Linux's, where it has one.
 */
export interface TcpOptions {
  /**
   * What decides how much is in the network: CUBIC (RFC 9438, the default), NewReno (RFC 5681), BBR version 3, which paces what it
   * sends, or `"unlimited"`, nothing: only to show what congestion control is for, never on a network that others use.
   */
  congestionControl?: "cubic" | "reno" | "bbr" | "unlimited";
  /** What ends CUBIC's slow start: HyStart++ (RFC 9406, the default), HyStart as Linux has it, or only a loss. */
  slowStartExit?: "hystart++" | "hystart" | "loss";
  /**
   * What becomes of a congestion window that is not used: it is validated (RFC 7661, the default), decays as in Linux, or is
   * kept.
   */
  unusedWindow?: "validated" | "decays" | "kept";
  /** Segments that may be sent before the first acknowledgement (RFC 6928). By default 10. */
  initialWindow?: number;
  /** Segments by which one acknowledgement may let the window grow; 0 for no limit. By default 8 (RFC 3465). */
  growthLimit?: number;
  /** The most that a connection sends. By default null: no limit. */
  maxPacingRate?: RateLike | null;

  /**
   * Explicit congestion notification (RFC 3168): never, when the peer asks for it (`"passive"`, the default), asked for, or asked
   * for with the exact counts of RFC 9768 (`"accurate"`), which are granted to peers in all modes but `"off"`.
   */
  ecn?: "off" | "passive" | "on" | "accurate";
  /** When segments carry the option of Accurate ECN. By default always, if the peer has sent one. */
  accEcnOption?: "off" | "needed" | "always";
  /** Retransmitted SYNs ask for no ECN, since some middleboxes drop those that do. By default true. */
  ecnFallback?: boolean;
  /** Congestion marks reduce the window less than losses do (RFC 8511). By default false. */
  alternativeBackoff?: boolean;

  /** Offers timestamps (RFC 7323). By default true. */
  timestamps?: boolean;
  /** Offers window scaling (RFC 7323); without it windows end at 64 KiB. By default true. */
  windowScaling?: boolean;
  /** Offers selective acknowledgements (RFC 2018). By default true. */
  sack?: boolean;
  /** Reports what came twice (RFC 2883). By default true. */
  dsack?: boolean;
  /** Tail loss probes (RFC 8985 §7). By default true. */
  tailLossProbe?: boolean;
  /** Spurious retransmission timeouts are found out and undone (RFC 5682). By default true. */
  frto?: boolean;
  /** Segments that may overtake one before it counts as lost. By default 3. */
  reordering?: number;
  /** The most that this grows to when segments arrive out of order. By default 300. */
  maxReordering?: number;

  /** Small segments are sent at once: Nagle's algorithm is off. By default false. */
  noDelay?: boolean;
  /** Only full segments are sent, for as long as it is true (Linux's TCP_CORK). By default false. */
  cork?: boolean;
  /** How long an acknowledgement may wait for company. By default 40 ms. */
  delayedAck?: DurationLike;
  /** Segments out of order that may share an acknowledgement, after three with one each; 0 for none. By default 44. */
  compressedAcks?: number;

  /** The most that a connection holds until it is acknowledged, in bytes: 4 KiB to 4 MiB. By default 4 MiB. */
  sendBuffer?: number;
  /** What it begins with, if that is less. By default 256 KiB. */
  initialSendBuffer?: number;
  /** The most that waits to be read on a connection, in bytes: 4 KiB to 4 MiB. By default 4 MiB. */
  receiveBuffer?: number;
  /** What it begins with, if that is less. By default 256 KiB. */
  initialReceiveBuffer?: number;
  /** Whether buffers grow with the connection's speed. By default true. */
  bufferTuning?: boolean;
  /** The largest window that is offered, in bytes. By default null: what the buffer holds. */
  windowClamp?: number | null;
  /** `writable` takes more while fewer bytes than this are not sent yet. By default null: as much as the buffer takes. */
  notSentLowat?: number | null;

  /**
   * Bytes that are told of at once; fewer only at the end, or when the window is about to close (SO_RCVLOWAT). Until it is told of them, `tryRead` may
   * find nothing. By default 1.
   */
  receiveLowat?: number;
  /**
   * Segments that end beyond the window are cut off there (RFC 9293). If not, they are taken whole or not at all, as in Linux. By
   * default true.
   */
  trimToWindow?: boolean;
  /** The window may shrink with the buffer, which RFC 9293 discourages. By default false. */
  shrinkWindow?: boolean;

  /** The largest MSS that is announced and believed, in bytes, options included. By default null: what the path carries. */
  maxSegmentSize?: number | null;
  /** Path MTU discovery by reports of routers (RFC 1191, RFC 8201). By default true. */
  pathMtuDiscovery?: boolean;
  /** Path MTU discovery by probes (RFC 4821). By default once packets seem to vanish for their size. */
  mtuProbing?: "off" | "onBlackHole" | "always";
  /** TTL or hop limit. By default null: 64. */
  hopLimit?: number | null;
  /** The octet that IPv4 calls TOS and IPv6 traffic class; its two lower bits are ECN's and do not count. By default 0. */
  trafficClass?: number;

  /** Retransmission timeout before a round trip is measured. By default 1 s (RFC 6298). */
  initialRto?: DurationLike;
  /** The least that a retransmission timeout adds to the round-trip time. By default 200 ms; RFC 6298 says 1 s. */
  minRto?: DurationLike;
  /** The largest retransmission timeout. By default 120 s. */
  maxRto?: DurationLike;
  /** Retransmissions of the SYN before `connect` rejects with ETIMEDOUT. By default 6, about 127 s. */
  synRetries?: number;
  /** Timeouts of the SYN that do not double the next, on top of `synRetries`. By default 0 (RFC 6298); Linux has 4. */
  linearSynTimeouts?: number;
  /** The first six timeouts in a row do not double while fewer than four segments are on their way. By default false. */
  thinLinearTimeouts?: boolean;
  /** Retransmissions of a listener's answer to a SYN. By default 5. */
  synAckRetries?: number;
  /** Retransmissions of data before the connection ends with ETIMEDOUT. By default 15, about 15 min. */
  retries?: number;
  /** The same after `close`. By default 8. */
  orphanRetries?: number;
  /** How long data may stay unacknowledged (RFC 5482). By default null: `retries` decides. */
  userTimeout?: DurationLike | null;
  /** Whether, or when, an idle connection is probed. By default false. */
  keepAlive?: boolean | KeepAliveOptions;
  /** With 0, `close` drops what is not acknowledged and sends a reset; null, the default, and any other time send it first. */
  linger?: DurationLike | null;
  /** How long a closed connection stays in TIME-WAIT. By default 60 s. */
  timeWait?: DurationLike;
  /** How long a closed connection waits for the peer to close too. By default 60 s. */
  finWait2?: DurationLike;

  /**
   * How long a listener's connections wait for data before they can be accepted, rounded up to a timeout of the answer to the SYN
   * (TCP_DEFER_ACCEPT). By default 0: they do not wait.
   */
  deferAccept?: DurationLike;
  /** When listeners answer with SYN cookies (RFC 4987). By default under pressure. */
  synCookies?: "off" | "underPressure" | "always";
  /** Least time between two answers to segments that look forged (RFC 5961 §7). By default 500 ms. */
  challengeInterval?: DurationLike;
  /** Only a reset with the number that is expected ends a connection, others are challenged (RFC 5961 §3). By default true. */
  exactResets?: boolean;
  /** A SYN for an open connection is challenged, and does not reset it (RFC 5961 §4). By default true. */
  challengeSyns?: boolean;
  /** Resets do not end TIME-WAIT (RFC 1337). By default false. */
  rfc1337?: boolean;
  /** Whose way it goes where the RFCs leave freedom and kernels differ. By default Linux's. */
  manner?: "linux" | "freebsd";
}

/** An option as it is told, which is not a text with a unit. */
export type Told<T> = T extends string ? (string extends T ? never : T) : T;

/** All settings as they are: times in milliseconds, rates in bits a second, sizes in bytes. */
export type TcpSettings = {
  readonly [Name in Exclude<keyof TcpOptions, "keepAlive">]-?: Told<
    Exclude<TcpOptions[Name], undefined>
  >;
} & {
  /** When probes are sent, how long apart in milliseconds and how many; false for none. */
  readonly keepAlive:
    | false
    | {
        /** Milliseconds of silence before the first. */
        readonly idle: number;
        /** Milliseconds between two. */
        readonly interval: number;
        /** How many go without an answer before the connection ends. */
        readonly probes: number;
      };
};

/** States of a connection (RFC 9293 §3.3.2). */
export type TcpState =
  | "LISTEN"
  | "SYN-SENT"
  | "SYN-RECEIVED"
  | "ESTABLISHED"
  | "FIN-WAIT-1"
  | "FIN-WAIT-2"
  | "CLOSE-WAIT"
  | "CLOSING"
  | "LAST-ACK"
  | "TIME-WAIT"
  | "CLOSED";

/** States of loss recovery, as Linux has them: `"cwr"` is a reduced window for a mark, `"loss"` follows a timeout. */
export type CongestionState = "open" | "disorder" | "cwr" | "recovery" | "loss";

/** What a connection waits for. */
export type TcpTimer =
  /** Segments that may only be late, not lost (RFC 8985). */
  | "reordering"
  /** A tail loss probe. */
  | "tailLoss"
  | "retransmit"
  /** A probe of a closed window. */
  | "persist"
  | "delayedAck"
  | "keepAlive"
  /** `connectTimeout`. */
  | "connect"
  | "finWait2"
  /** Payload memory ran out: time to try again. */
  | "memory"
  /** The next segment may leave at the pacing rate. */
  | "pacing";

/**
 * A connection as `ss -ti` shows it, by the names of `tcp_info` where it has one. Times are milliseconds, sizes bytes, rates bytes
 * a second. Of half-open connections and those in TIME-WAIT only state and ends are known; other figures are 0 or null.
 */
export interface ConnectionInfo {
  /** A number that no other connection of the stack has; null for those that no socket holds. */
  id: number | null;
  /** Where it is in its life. */
  state: TcpState;
  /** This end. */
  local: SocketAddress;
  /** The peer. */
  remote: SocketAddress;

  /** What governs the window. */
  congestionControl: "cubic" | "reno" | "bbr" | "unlimited";
  /** `tcpi_ca_state`. */
  congestionState: CongestionState;
  /** Congestion window, in bytes (`tcpi_snd_cwnd` counts segments of `mss`). */
  cwnd: number;
  /** Slow start threshold, in bytes; `Infinity` before the first loss. */
  ssthresh: number;
  /** Smoothed round-trip time (`tcpi_rtt`); null before the first measurement. */
  srtt: number | null;
  /** Variation of the round-trip time; null before the first measurement. */
  rttvar: number | null;
  /** The smallest round-trip time of the last five minutes; null before the first measurement. */
  minRtt: number | null;
  /** Retransmission timeout, with its back-off. */
  rto: number;
  /** Timeouts since the last progress. */
  backoff: number;
  /** Probes of a closed window or of a silent peer that are not answered. */
  probes: number;
  /** Retransmission timeouts so far, how many of them came first after progress, and the time from those to the next progress. */
  totalRto: number;
  /** How many of `totalRto` came first after progress. */
  totalRtoRecoveries: number;
  /** Milliseconds from those to the next progress, together. */
  totalRtoTime: number;

  /** Bytes in the network as far as can be told. */
  bytesInFlight: number;
  /** Segments sent and not acknowledged. */
  unacked: number;
  /** Of these, those that the peer has. */
  sacked: number;
  /** Of these, those believed lost, sent again since or not. */
  lost: number;
  /** Of these, those that were sent again and are in flight. */
  retrans: number;
  /** Segments sent again so far (`tcpi_total_retrans`). */
  retransmits: number;
  /** Segments that may overtake one before it counts as lost. */
  reordering: number;
  /** How often segments were seen to arrive out of order. */
  reordSeen: number;
  /** Segments that the peer reported as duplicates (RFC 2883). */
  dsackDups: number;
  /** Segments with data that arrived out of order. */
  rcvOoopack: number;
  /** Segments that the peer has received, as far as it tells. */
  delivered: number;

  /** Bytes in the send buffer: not sent, or not acknowledged. */
  sendQueue: number;
  /** Bytes that wait to be read. */
  receiveQueue: number;
  /** Bytes that the buffers may hold now. */
  sendBuffer: number;
  /** The same of the receive buffer. */
  receiveBuffer: number;
  /** The peer's window. */
  sendWindow: number;
  /** The window that was offered to the peer. */
  receiveWindow: number;
  /** The round trip as the receiving side sees it, if it does. */
  rcvRtt: number | null;
  /** Bytes that are read in a round trip. */
  rcvSpace: number;

  /** Payload bytes of a full segment (`tcpi_snd_mss`). */
  mss: number;
  /** Payload bytes of the peer's segments, as far as can be told. */
  rcvMss: number;
  /** The MSS that was announced to the peer, options included. */
  advmss: number;
  /** Largest IP packet that the path is believed to carry. */
  pmtu: number;
  /** Whether timestamps were agreed on (RFC 7323). */
  timestamps: boolean;
  /** Whether selective acknowledgements were (RFC 2018). */
  sack: boolean;
  /** Shifts of the peer's window and of the one offered to it; null if window scaling was not agreed on. */
  sndWscale: number | null;
  /** Shift of the window that is offered; null if window scaling was not agreed on. */
  rcvWscale: number | null;
  /** What of explicit congestion notification was agreed on: nothing, RFC 3168, or RFC 9768. */
  ecn: "off" | "on" | "accurate";
  /** The peer has sent packets that routers may mark. */
  ecnSeen: boolean;
  /** Data in the SYN has arrived (TCP Fast Open). */
  synData: boolean;
  /** What Accurate ECN has counted (RFC 9768): segments that came with a congestion mark, and bytes by codepoint... */
  receivedCe: number;
  /** Bytes that came with the codepoint ECT(1). */
  receivedE1Bytes: number;
  /** Bytes that came with the codepoint ECT(0). */
  receivedE0Bytes: number;
  /** Bytes that came with a congestion mark. */
  receivedCeBytes: number;
  /** ...and what of ours the peer says it has received. */
  deliveredCe: number;
  /** Of ours, bytes that came with the codepoint ECT(1). */
  deliveredE1Bytes: number;
  /** Of ours, bytes that came with the codepoint ECT(0). */
  deliveredE0Bytes: number;
  /** Of ours, bytes that came with a congestion mark. */
  deliveredCeBytes: number;

  /** How long an acknowledgement waits for company. */
  ato: number;
  /** How long ago data was sent, data came, and any acceptable segment came. */
  lastDataSent: number;
  /** How long ago data came. */
  lastDataReceived: number;
  /** How long ago any acceptable segment came. */
  lastReceived: number;

  /** The rate at which the window leaves; null before a round trip is measured. */
  pacingRate: number | null;
  /** What the network has delivered of late; 0 before that is measured. */
  deliveryRate: number;
  /** The application, and not the network, was what limited it. */
  deliveryRateAppLimited: boolean;
  /** The bottleneck's rate, if the congestion control estimates it (BBR). */
  bandwidth: number | null;
  /** Payload bytes sent, each once. */
  bytesSent: number;
  /** Bytes that the peer has acknowledged; our FIN counts, and our SYN if we have opened the connection. */
  bytesAcked: number;
  /** Payload bytes sent again. */
  bytesRetrans: number;
  /** Payload bytes received in order. */
  bytesReceived: number;
  /** Segments sent and received, and of these those with payload; they begin anew after 2^32. */
  segsOut: number;
  /** Segments sent with payload. */
  dataSegsOut: number;
  /** Segments received. */
  segsIn: number;
  /** Segments received with payload. */
  dataSegsIn: number;
  /** How long there was something to send or unacknowledged... */
  busyTime: number;
  /** ...and of this, how long the peer's window, and how long the send buffer was what held data back. */
  rwndLimited: number;
  /** How long the send buffer held data back. */
  sndbufLimited: number;

  /** How long until each timer expires; null for those that do not run. */
  timers: Record<TcpTimer, number | null>;
}

/** A flag of a TCP header. */
export type TcpFlag = "FIN" | "SYN" | "RST" | "PSH" | "ACK" | "URG" | "ECE" | "CWR" | "AE";

/** Why a segment was sent. */
export type SendReason =
  | "handshake"
  | "newData"
  /** New data that tries a larger segment size (RFC 4821). */
  | "mtuProbe"
  /** Acknowledgements told of a loss. */
  | "fastRetransmit"
  /** The retransmission timer did. */
  | "timeout"
  | "tailLossProbe"
  /** A probe of a closed window or of a silent peer. */
  | "probe"
  | "ack"
  /** One that repeats the last, since something came out of order or again. */
  | "duplicateAck"
  | "reset";

/** What all events of a trace have. */
export interface TraceEventBase {
  /** Milliseconds since 1970, with fractions. */
  time: number;
  /** The `id` of the {@link ConnectionInfo}; null for segments of no connection: half-open ones, TIME-WAIT, strangers. */
  connection: number | null;
  /** This end's port. */
  localPort: number;
  /** The peer's port. */
  remotePort: number;
}

/** Something that TCP did; `type` says what, and which fields there are. Times are milliseconds, sizes bytes. */
export type TraceEvent = TraceEventBase &
  (
    | {
        /** A segment left. */
        type: "sent";
        /** Why it was sent. */
        reason: SendReason;
        /** Its sequence number. */
        seq: number;
        /** Payload bytes. */
        length: number;
        /** The flags of its header. */
        flags: TcpFlag[];
      }
    | {
        /** A segment came and was processed. */
        type: "received";
        /** Its sequence number. */
        seq: number;
        /** Its acknowledgment number. */
        ack: number;
        /** Payload bytes. */
        length: number;
        /** The flags of its header. */
        flags: TcpFlag[];
        /** How far it moved what is acknowledged, in sequence numbers. */
        acknowledged: number;
        /** How far it moved what was received in order, in sequence numbers. */
        inOrder: number;
      }
    | {
        /** The connection's state changed. */
        type: "state";
        /** What it was. */
        from: TcpState;
        /** What it is now. */
        to: TcpState;
      }
    | {
        /** A timer was set. */
        type: "timerSet";
        /** Which one. */
        timer: TcpTimer;
        /** Until it expires. */
        delay: number;
      }
    | {
        /** A timer has expired. */
        type: "timerFired";
        /** Which one. */
        timer: TcpTimer;
      }
    | {
        /** The congestion window or the threshold of slow start has changed. */
        type: "window";
        /** The congestion window. */
        cwnd: number;
        /** `Infinity` before the first loss. */
        ssthresh: number;
      }
    | {
        /** Loss recovery changed its state. */
        type: "recovery";
        /** What it was. */
        from: CongestionState;
        /** What it is now. */
        to: CongestionState;
      }
    | {
        /** Segments are believed lost. */
        type: "lost";
        /** So many more. */
        segments: number;
      }
    | {
        /** A reduction of the window was taken back: nothing had been lost. */
        type: "undone";
      }
  );

/**
 * What TCP does, event by event, from the oldest that is kept on and then live until the stack is closed. Each event is given
 * once: two that iterate share them.
 */
export interface Trace extends AsyncIterable<TraceEvent> {
  /** Events that made room for newer ones before anybody took them. */
  readonly dropped: number;
  /** The events that wait, or the oldest `most` of them; they wait no more. Empty without a trace. */
  take(most?: number): TraceEvent[];
}
