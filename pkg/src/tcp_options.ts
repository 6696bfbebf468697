/** TCP's settings: checked on their way into the module, and told on the way out. */

import * as check from "./arguments.js";
import { SETTINGS } from "./names.js";
import { type Field, fieldsOf, shownAt } from "./records.js";
import type { KeepAliveOptions, TcpOptions, TcpSettings } from "./types.js";

const MICROSECONDS = 1_000;
const BITS = 8;
const KILOBYTE = 1024;
const LARGEST_BUFFER = 4 * KILOBYTE * KILOBYTE;

/** How a setting that is neither a word nor yes or no crosses, and what crosses for null, if that is possible. */
type Kind =
  | { readonly is: "count"; readonly min: number; readonly max: number; readonly none?: number }
  | { readonly is: "time"; readonly min: number; readonly none?: number }
  | { readonly is: "rate"; readonly none: number };

const count = (min: number, max: number): Kind => ({ is: "count", min, max });
const TIME: Kind = { is: "time", min: 0 };
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

const FIELDS = fieldsOf(SETTINGS);
const BY_NAME = new Map(FIELDS.map((field) => [field.name, field]));
/** The parts of `keepAlive`, which cross as settings of their own. */
const KEEP_ALIVE: Readonly<Record<keyof KeepAliveOptions, string>> = {
  idle: "keepAliveIdle",
  interval: "keepAliveInterval",
  probes: "keepAliveProbes",
};
const PARTS: ReadonlySet<string> = new Set(Object.values(KEEP_ALIVE));
const NOTHING = new Float64Array(0);

/** The numbers of the settings that are given, NaN for the others; empty if none is. */
export function tcpValues(
  argument: string,
  options: TcpOptions | undefined,
): Float64Array<ArrayBuffer> {
  const given = Object.entries(check.options(argument, options)).filter(
    ([, value]) => value !== undefined,
  );
  if (given.length === 0) return NOTHING;
  const numbers = new Map<string, number>();
  for (const [name, value] of given) {
    const field = BY_NAME.get(name);
    if (field === undefined || PARTS.has(name)) throw unknown(argument, name);
    if (name === "keepAlive" && typeof value === "object" && value !== null) {
      numbers.set(name, 1);
      const path = `${argument}.keepAlive`;
      for (const [part, partValue] of Object.entries(value)) {
        const place = BY_NAME.get(KEEP_ALIVE[part as keyof KeepAliveOptions] ?? "");
        if (place === undefined) throw unknown(path, part);
        if (partValue !== undefined) {
          numbers.set(place.name, numberOf(`${path}.${part}`, place, partValue));
        }
      }
    } else {
      numbers.set(name, numberOf(`${argument}.${name}`, field, value));
    }
  }
  return Float64Array.from(FIELDS, ({ name }) => numbers.get(name) ?? Number.NaN);
}

function unknown(argument: string, name: string): TypeError {
  return new TypeError(`${argument}.${name} is no setting of TCP`);
}

function numberOf(argument: string, field: Field, value: unknown): number {
  if (field.kind === "?") return Number(check.boolean(argument, value, false));
  if (field.kind === "=") return field.words.indexOf(check.oneOf(argument, field.words, value));
  const kind = KINDS[field.name] ?? TIME;
  if (value === null && kind.none !== undefined) return kind.none;
  switch (kind.is) {
    case "count":
      return check.integer(argument, value, kind.min, kind.max);
    case "rate":
      return Math.min(Math.ceil(check.rate(argument, value as number) / BITS), 2 ** 32 - 1);
    default:
      return check.duration(argument, value as number, kind.min) * MICROSECONDS;
  }
}

/** All settings by the numbers that the module tells. */
export function tcpSettings(numbers: ArrayLike<number>): TcpSettings {
  const settings: Record<string, unknown> = {};
  const keepAlive: Record<string, unknown> = {};
  FIELDS.forEach((field, at) => {
    const value = told(field, numbers, at);
    if (PARTS.has(field.name)) {
      const part = Object.entries(KEEP_ALIVE).find(([, name]) => name === field.name)?.[0] ?? "";
      keepAlive[part] = value;
    } else {
      settings[field.name] = value;
    }
  });
  if (settings["keepAlive"] === true) settings["keepAlive"] = keepAlive;
  return settings as unknown as TcpSettings;
}

function told(field: Field, numbers: ArrayLike<number>, at: number): unknown {
  const value = shownAt(field, numbers, at);
  const kind = KINDS[field.name];
  if (kind === undefined || typeof value !== "number") return value;
  if (value === kind.none) return null;
  if (kind.is === "rate") return value * BITS;
  return kind.is === "time" ? value / MICROSECONDS : value;
}
