/**
 * Checks of arguments from callers. Each throws a TypeError (wrong kind of value) or a RangeError (right kind, value not
 * possible) that names the argument and shows the value.
 */

import { canonicalIp } from "./ip.js";
import type { Clock, DurationLike, RateLike } from "./types.js";

/** A value in an error message: short, and safe for values that don't print themselves. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    case "object": {
      if (value === null) return "null";
      if (Array.isArray(value)) return `an array of ${value.length}`;
      const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
      return typeof name === "string" && name !== "Object" ? `an instance of ${name}` : "an object";
    }
    default:
      return String(value);
  }
}

function wrongType(argument: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${argument} must be ${expected}, got ${show(value)}`);
}

function outOfRange(argument: string, expected: string, value: unknown): RangeError {
  return new RangeError(`${argument} must be ${expected}, got ${show(value)}`);
}

/** An options object; absent means empty. */
export function options<T extends object>(argument: string, value: T | undefined): Partial<T> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null) throw wrongType(argument, "an object", value);
  return value;
}

/** An integer between two bounds. */
export function integer(argument: string, value: unknown, min: number, max: number): number {
  if (typeof value !== "number") throw wrongType(argument, "a number", value);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw outOfRange(argument, `an integer from ${min} to ${max}`, value);
  }
  return value;
}

/** A probability. */
export function probability(argument: string, value: unknown): number {
  if (typeof value !== "number") throw wrongType(argument, "a number", value);
  if (!(value >= 0 && value <= 1)) throw outOfRange(argument, "from 0 to 1", value);
  return value;
}

/** A string. */
export function string(argument: string, value: unknown): string {
  if (typeof value !== "string") throw wrongType(argument, "a string", value);
  return value;
}

/** True, false, or the default. */
export function boolean(argument: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw wrongType(argument, "a boolean", value);
  return value;
}

/** One of some words. */
export function oneOf(argument: string, words: readonly string[], value: unknown): string {
  const choices = words.map(show).join(", ");
  if (typeof value !== "string") throw wrongType(argument, `one of ${choices}`, value);
  if (!words.includes(value)) throw outOfRange(argument, `one of ${choices}`, value);
  return value;
}

/** A function, or nothing. */
export function callback<T>(argument: string, value: T | null | undefined): T | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "function") throw wrongType(argument, "a function", value);
  return value;
}

/** A source of time. */
export function clock(argument: string, value: unknown): Clock {
  if (typeof value !== "object" || value === null) throw wrongType(argument, "an object", value);
  const given = value as Record<string, unknown>;
  for (const name of ["now", "setTimer", "clearTimer"]) {
    if (typeof given[name] !== "function")
      throw wrongType(`${argument}.${name}`, "a function", given[name]);
  }
  for (const name of ["date", "defer", "hold"]) callback(`${argument}.${name}`, given[name]);
  return value as Clock;
}

/** An array, or nothing. */
export function array<T>(argument: string, value: readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrongType(argument, "an array", value);
  return value;
}

/** Strings; none if the argument is not given. */
export function strings(argument: string, value: readonly string[] | undefined): readonly string[] {
  return array(argument, value).map((item, index) => string(`${argument}[${index}]`, item));
}

/** Bytes of any kind as a `Uint8Array` over the same memory. */
export function bytes(argument: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  try {
    if (ArrayBuffer.isView(value))
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
  } catch {
    // Web IDL, "get a copy of the bytes held by the buffer source": memory that was transferred away has none.
    return new Uint8Array(0);
  }
  throw wrongType(argument, "a Uint8Array, another view of bytes, or an ArrayBuffer", value);
}

/** A signal, or nothing. */
export function abortSignal(argument: string, value: unknown): AbortSignal | null {
  if (value === undefined || value === null) return null;
  if (value instanceof AbortSignal) return value;
  throw wrongType(argument, "an AbortSignal", value);
}

const DURATION = /^(\d+(?:\.\d+)?)(us|ms|s|m|h)$/;
const MILLISECONDS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
/** A year; longer waits are mistakes. */
const LONGEST = 365 * 24 * 3_600_000;

/** A span of time of at least `min` milliseconds, in milliseconds. */
export function duration(argument: string, value: DurationLike, min = 0): number {
  let milliseconds: unknown = value;
  if (typeof value === "string") {
    const match = DURATION.exec(value);
    const factor = MILLISECONDS[match?.[2] ?? ""];
    if (factor === undefined) {
      throw outOfRange(argument, 'milliseconds or a text like "250us", "40ms" or "2s"', value);
    }
    milliseconds = Number(match?.[1]) * factor;
  }
  if (typeof milliseconds !== "number")
    throw wrongType(argument, 'milliseconds or a text like "40ms"', value);
  if (!(milliseconds >= min && milliseconds <= LONGEST)) {
    throw outOfRange(argument, `from ${min} to ${LONGEST} milliseconds`, value);
  }
  return milliseconds;
}

const RATE = /^(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)$/;
const BITS: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** A rate, in bits per second. */
export function rate(argument: string, value: RateLike): number {
  let perSecond: unknown = value;
  if (typeof value === "string") {
    const match = RATE.exec(value);
    const factor = BITS[match?.[2] ?? ""];
    if (factor === undefined) {
      throw outOfRange(argument, 'bits per second or a text like "64kbit" or "10mbit"', value);
    }
    perSecond = Number(match?.[1]) * factor;
  }
  if (typeof perSecond !== "number")
    throw wrongType(argument, 'bits per second or a text like "10mbit"', value);
  if (!(perSecond >= 1 && perSecond <= 1e15))
    throw outOfRange(argument, "from 1 to 1e15 bits per second", value);
  return perSecond;
}

/** A seed as 64 bits, in two halves. */
export function seed(argument: string, value: unknown): [high: number, low: number] {
  if (value === undefined) {
    const random = crypto.getRandomValues(new Uint32Array(2));
    return [random[0] ?? 0, random[1] ?? 0];
  }
  if (typeof value === "number") {
    const whole = integer(argument, value, 0, Number.MAX_SAFE_INTEGER);
    return [Math.floor(whole / 2 ** 32), whole >>> 0];
  }
  if (typeof value !== "bigint") throw wrongType(argument, "a number or a bigint", value);
  if (value < 0n || value >= 1n << 64n) throw outOfRange(argument, "from 0 to 2^64 - 1", value);
  return [Number(value >> 32n), Number(value & 0xffff_ffffn)];
}

const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;

/** A MAC address as six bytes. */
export function mac(argument: string, value: unknown): Uint8Array {
  const text = string(argument, value);
  if (!MAC.test(text)) throw outOfRange(argument, 'a MAC address like "02:00:00:00:00:01"', value);
  return Uint8Array.from(text.split(":"), (octet) => Number.parseInt(octet, 16));
}

/** Six bytes as one number, the first byte highest. */
export function macNumber(octets: Iterable<number>): number {
  let number = 0;
  for (const octet of octets) number = number * 256 + octet;
  return number;
}

/** Six bytes as a MAC address. */
export function macText(octets: Iterable<number>): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join(":");
}

/** Which family an address literal looks to be of; what it means exactly is checked by the stack. */
function looksLikeAddress(text: string): boolean {
  return (
    /^\d{1,3}(\.\d{1,3}){3}$/.test(text) || (text.includes(":") && /^[0-9a-f:.]+$/i.test(text))
  );
}

/**
 * The address that a host is written as, which may have the brackets that URLs put around IPv6; null if it is none. However an address
 * was written, it is the text that the stack has for it.
 */
export function addressLiteral(text: string): string | null {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  return looksLikeAddress(bare) ? canonicalIp(bare) : null;
}

/** An IP address. */
export function address(argument: string, value: unknown): string {
  const text = string(argument, value);
  const literal = addressLiteral(text);
  if (literal === null)
    throw outOfRange(argument, 'an IP address like "10.0.2.15" or "fd00::2"', value);
  return literal;
}

/** A port number that may be connected to. */
export function port(argument: string, value: unknown, min: 0 | 1 = 1): number {
  return integer(argument, value, min, 65_535);
}

/** An IP address and a port, such as `"10.0.2.15:80"`. */
export function endpoint(argument: string, value: unknown): [address: string, port: number] {
  const text = string(argument, value);
  const match = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text);
  const literal = addressLiteral(match?.[1] ?? "");
  if (match === null || literal === null) {
    throw outOfRange(argument, 'an address and a port like "10.0.2.15:80"', value);
  }
  return [literal, port(`the port in ${argument}`, Number(match[2]))];
}

/** `address:port`, with brackets around IPv6. */
export function hostPort(host: string, portNumber: number): string {
  return host.includes(":") ? `[${host}]:${portNumber}` : `${host}:${portNumber}`;
}
