/** TCP's settings: checked on their way into the module, and told on the way out. */

import * as check from "./arguments.js";
import { SETTINGS } from "./names.js";
import { count, type Kind, NO_SETTINGS, SettingsTable, TIME } from "./settings.js";
import type { KeepAliveOptions, TcpOptions, TcpSettings } from "./types.js";

const KILOBYTE = 1024;
const LARGEST_BUFFER = 4 * KILOBYTE * KILOBYTE;

/** What is repeated after this time would be repeated without end after none. */
const INTERVAL: Kind = { is: "time", min: 1 };
const TIME_OR_NONE: Kind = { is: "time", min: 0, none: Number.POSITIVE_INFINITY };
const BUFFER = count(4 * KILOBYTE, LARGEST_BUFFER);

const KINDS: Readonly<Record<string, Kind>> = {
  sendBuffer: BUFFER,
  initialSendBuffer: BUFFER,
  receiveBuffer: BUFFER,
  initialReceiveBuffer: BUFFER,
  windowClamp: { is: "count", min: 1, max: LARGEST_BUFFER, none: 0 },
  notSentLowat: { is: "count", min: 1, max: LARGEST_BUFFER, none: 2 ** 32 - 1 },
  receiveLowat: count(1, LARGEST_BUFFER),
  maxSegmentSize: { is: "count", min: 88, max: 65_535, none: 0 },
  hopLimit: { is: "count", min: 1, max: 255, none: 0 },
  trafficClass: count(0, 255),
  delayedAck: TIME,
  initialRto: INTERVAL,
  minRto: INTERVAL,
  maxRto: INTERVAL,
  timeWait: TIME,
  finWait2: TIME,
  userTimeout: TIME_OR_NONE,
  linger: TIME_OR_NONE,
  challengeInterval: TIME,
  deferAccept: TIME,
  synRetries: count(1, 100),
  linearSynTimeouts: count(0, 100),
  synAckRetries: count(1, 100),
  retries: count(1, 100),
  orphanRetries: count(1, 100),
  initialWindow: count(1, 255),
  reordering: count(1, 255),
  maxReordering: count(1, 65_535),
  growthLimit: count(0, 255),
  compressedAcks: count(0, 255),
  maxPacingRate: { is: "rate", none: 0 },
  keepAliveIdle: INTERVAL,
  keepAliveInterval: INTERVAL,
  keepAliveProbes: count(1, 255),
};

const TABLE = new SettingsTable(SETTINGS, KINDS, "TCP");
/** The parts of `keepAlive`, which cross as settings of their own. */
const KEEP_ALIVE: Readonly<Record<keyof KeepAliveOptions, string>> = {
  idle: "keepAliveIdle",
  interval: "keepAliveInterval",
  probes: "keepAliveProbes",
};
const PARTS: ReadonlySet<string> = new Set(Object.values(KEEP_ALIVE));

/** The numbers of the settings that are given, NaN for the others; empty if none is. */
export function tcpValues(
  argument: string,
  options: TcpOptions | undefined,
): Float64Array<ArrayBuffer> {
  if (options === undefined) return NO_SETTINGS;
  const numbers = new Map<string, number>();
  for (const [name, value] of Object.entries(check.options(argument, options))) {
    if (value === undefined) continue;
    const path = `${argument}.${name}`;
    if (PARTS.has(name)) throw unknown(path);
    if (name === "keepAlive" && typeof value === "object" && value !== null) {
      numbers.set(name, 1);
      for (const [part, partValue] of Object.entries(value)) {
        const whole = KEEP_ALIVE[part as keyof KeepAliveOptions];
        if (whole === undefined) throw unknown(`${path}.${part}`);
        if (partValue !== undefined) {
          numbers.set(whole, TABLE.numberOf(`${path}.${part}`, whole, partValue));
        }
      }
    } else {
      numbers.set(name, TABLE.numberOf(path, name, value));
    }
  }
  return TABLE.inOrder(numbers);
}

function unknown(argument: string): TypeError {
  return new TypeError(`${argument} is no setting of TCP`);
}

/** All settings by the numbers that the module tells. */
export function tcpSettings(numbers: ArrayLike<number>): TcpSettings {
  const settings = TABLE.told(numbers);
  const parts = Object.entries(KEEP_ALIVE).map(([part, whole]) => [part, settings[whole]]);
  for (const whole of PARTS) delete settings[whole];
  if (settings["keepAlive"] === true) settings["keepAlive"] = Object.fromEntries(parts);
  return settings as unknown as TcpSettings;
}
