/** What a connection's details show, in groups, as text for people. */

import type { ConnectionInfo, TcpTimer } from "ethertab";
import { formatBytes, formatMilliseconds, formatRate } from "./format.js";

/** A name, its value, and what the name means where it does not say so. */
export interface Figure {
  name: string;
  value: string;
  title?: string;
}

/** Figures that belong together. */
export interface FigureGroup {
  name: string;
  figures: readonly Figure[];
}

const NONE = "–";

/** How people call the algorithms. */
export const ALGORITHMS: Readonly<Record<ConnectionInfo["congestionControl"], string>> = {
  cubic: "CUBIC",
  reno: "NewReno",
  bbr: "BBR",
  unlimited: "none",
};

const RECOVERY: Readonly<Record<ConnectionInfo["congestionState"], string>> = {
  open: "open: nothing suspicious",
  disorder: "disorder: something came out of order",
  cwr: "CWR: the window is reduced",
  recovery: "recovery: a loss is being repaired",
  loss: "loss: a timeout expired",
};

const TIMERS: Readonly<Record<TcpTimer, string>> = {
  reordering: "reordering",
  tailLoss: "tail loss probe",
  retransmit: "retransmission",
  persist: "window probe",
  delayedAck: "delayed ACK",
  keepAlive: "keep-alive",
  connect: "connect",
  finWait2: "FIN-WAIT-2",
  memory: "memory",
  pacing: "pacing",
};

const ECN: Readonly<Record<ConnectionInfo["ecn"], string>> = {
  off: "no ECN",
  on: "ECN",
  accurate: "Accurate ECN",
};

/** All figures of a connection, in groups. */
export function figuresOf(info: ConnectionInfo): FigureGroup[] {
  const bytesRate = (rate: number | null) => (rate ? formatRate(rate * 8) : NONE);
  const time = (value: number | null) => (value === null ? NONE : formatMilliseconds(value));
  const count = String;
  return [
    {
      name: "Congestion control",
      figures: [
        { name: "algorithm", value: ALGORITHMS[info.congestionControl] },
        { name: "state", value: RECOVERY[info.congestionState] },
        { name: "cwnd", value: formatBytes(info.cwnd), title: "congestion window" },
        {
          name: "ssthresh",
          value: Number.isFinite(info.ssthresh) ? formatBytes(info.ssthresh) : NONE,
          title: "threshold of slow start; none before the first loss",
        },
        { name: "in flight", value: formatBytes(info.bytesInFlight) },
        { name: "pacing", value: bytesRate(info.pacingRate), title: "rate at which it leaves" },
        {
          name: "delivery",
          value: bytesRate(info.deliveryRate),
          title: "rate at which it arrives",
        },
        ...(info.bandwidth === null
          ? []
          : [{ name: "bottleneck", value: bytesRate(info.bandwidth), title: "as estimated" }]),
      ],
    },
    {
      name: "Round trip",
      figures: [
        { name: "srtt", value: time(info.srtt), title: "smoothed round-trip time" },
        { name: "rttvar", value: time(info.rttvar), title: "its variation" },
        { name: "least", value: time(info.minRtt) },
        { name: "rto", value: time(info.rto), title: "retransmission timeout" },
      ],
    },
    {
      name: "Losses",
      figures: [
        { name: "sent again", value: `${info.retransmits} (${formatBytes(info.bytesRetrans)})` },
        { name: "timeouts", value: count(info.totalRto) },
        { name: "now unacknowledged", value: count(info.unacked), title: "segments" },
        { name: "selectively acknowledged", value: count(info.sacked), title: "segments" },
        { name: "believed lost", value: count(info.lost), title: "segments" },
        { name: "duplicates reported", value: count(info.dsackDups), title: "by DSACK" },
        { name: "reordering", value: `${info.reordSeen} seen, bears ${info.reordering}` },
      ],
    },
    {
      name: "Segments and options",
      figures: [
        { name: "mss", value: `${info.mss} B`, title: "payload of a full segment" },
        { name: "path MTU", value: `${info.pmtu} B` },
        { name: "agreed", value: agreed(info) },
        { name: "sent", value: count(info.segsOut), title: "segments" },
        { name: "received", value: count(info.segsIn), title: "segments" },
      ],
    },
    {
      name: "Buffers and windows",
      figures: [
        { name: "to send", value: of(info.sendQueue, info.sendBuffer) },
        { name: "to read", value: of(info.receiveQueue, info.receiveBuffer) },
        { name: "peer's window", value: formatBytes(info.sendWindow) },
        { name: "our window", value: formatBytes(info.receiveWindow) },
        { name: "busy", value: time(info.busyTime), title: "time with something unacknowledged" },
        { name: "held by the peer's window", value: time(info.rwndLimited) },
        { name: "held by the send buffer", value: time(info.sndbufLimited) },
      ],
    },
    { name: "Timers", figures: timersOf(info) },
  ];
}

function of(used: number, size: number): string {
  return `${formatBytes(used)} of ${formatBytes(size)}`;
}

function agreed(info: ConnectionInfo): string {
  const { sndWscale, rcvWscale } = info;
  const options = [
    info.timestamps ? "timestamps" : "",
    info.sack ? "SACK" : "",
    sndWscale === null || rcvWscale === null ? "" : `window scales ${sndWscale}, ${rcvWscale}`,
    ECN[info.ecn],
  ];
  return options.filter((option) => option !== "").join(", ");
}

function timersOf({ timers }: ConnectionInfo): Figure[] {
  const running = Object.entries(timers).flatMap(([name, delay]) =>
    delay === null
      ? []
      : [{ name: TIMERS[name as TcpTimer], value: `in ${formatMilliseconds(delay)}` }],
  );
  return running.length > 0 ? running : [{ name: "none", value: "runs" }];
}
