/** Errors as Node's own modules make them: the same classes, properties and texts, so that programs which look at them work. */

import { getSystemErrorMap, inspect } from "node:util";
import { SocketError } from "../errors.js";

/** What the errors of system calls have in Node. */
export interface SystemError extends Error {
  errno: number;
  code: string;
  syscall: string;
  address?: string;
  port?: number;
}

/** Errors by their names, such as -111 and its text for ECONNREFUSED: numbers differ between systems. */
let systemErrors: ReadonlyMap<string, { errno: number; text: string }> | null = null;

function systemError(code: string): { errno: number; text: string } {
  systemErrors ??= new Map(
    [...getSystemErrorMap()].map(([errno, [name, text]]) => [name, { errno, text }]),
  );
  return systemErrors.get(code) ?? { errno: 0, text: code };
}

/** The name that a system would give to why the stack failed. */
export function codeOf(error: unknown): string {
  if (!(error instanceof SocketError)) return "ECONNABORTED";
  return error.code === "ABORT_ERR" ? "ECONNABORTED" : error.code;
}

/** As in `read ECONNRESET`. */
export function callError(code: string, syscall: string): SystemError {
  const { errno } = systemError(code);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}

function place(address: string | undefined, port: number | undefined): string {
  if (port !== undefined && port > 0) return ` ${address}:${port}`;
  return address ? ` ${address}` : "";
}

/** As in `connect ECONNREFUSED 10.0.2.15:80`, with `local` for `- Local (0.0.0.0:0)` after it. */
export function addressError(
  code: string,
  syscall: string,
  address?: string,
  port?: number,
  local?: string,
): SystemError {
  const suffix = local ? ` - Local (${local})` : "";
  const message = `${syscall} ${code}${place(address, port)}${suffix}`;
  return located(message, code, syscall, address, port);
}

/** As in `listen EADDRINUSE: address already in use 10.0.2.2:80`. */
export function explainedError(
  code: string,
  syscall: string,
  address?: string,
  port?: number,
): SystemError {
  const message = `${syscall} ${code}: ${systemError(code).text}${place(address, port)}`;
  return located(message, code, syscall, address, port);
}

function located(
  message: string,
  code: string,
  syscall: string,
  address: string | undefined,
  port: number | undefined,
): SystemError {
  const { errno } = systemError(code);
  const error: SystemError = Object.assign(new Error(message), { errno, code, syscall });
  if (address !== undefined) error.address = address;
  if (port) error.port = port;
  return error;
}

type ErrorClass = new (message: string) => Error;

/** An error with a code of Node's own, such as ERR_SOCKET_CLOSED. */
export function nodeError(
  kind: ErrorClass,
  code: string,
  message: string,
): Error & { code: string } {
  const error = Object.assign(new kind(message), { code });
  const title = `${error.name} [${code}]`;
  if (error.stack !== undefined) error.stack = error.stack.replace(error.name, title);
  Object.defineProperty(error, "toString", { value: () => `${title}: ${message}` });
  return error;
}

function received(value: unknown): string {
  if (value === undefined || value === null) return `Received ${value}`;
  if (typeof value === "function") return `Received function ${value.name}`;
  if (typeof value === "object") {
    const name: unknown = value.constructor?.name;
    if (typeof name === "string" && name !== "") return `Received an instance of ${name}`;
    return `Received ${inspect(value, { depth: -1 })}`;
  }
  const shown = inspect(value, { colors: false });
  return `Received type ${typeof value} (${shown.length > 28 ? `${shown.slice(0, 25)}...` : shown})`;
}

/** `expected` is as in "of type number". */
export function wrongType(name: string, expected: string, value: unknown): Error {
  const what = name.includes(".") ? "property" : "argument";
  const message = `The "${name}" ${what} must be ${expected}. ${received(value)}`;
  return nodeError(TypeError, "ERR_INVALID_ARG_TYPE", message);
}

/** `expected` is as in ">= 0 && <= 9". */
export function outOfRange(name: string, expected: string, value: unknown): Error {
  const shown =
    typeof value === "number" && Number.isInteger(value) && Math.abs(value) > 2 ** 32
      ? String(value).replace(/\B(?=(\d{3})+$)/g, "_")
      : inspect(value);
  const message = `The value of "${name}" is out of range. It must be ${expected}. Received ${shown}`;
  return nodeError(RangeError, "ERR_OUT_OF_RANGE", message);
}

export function wrongValue(name: string, value: unknown, reason = "is invalid"): Error {
  const shown = inspect(value);
  const text = shown.length > 128 ? `${shown.slice(0, 128)}...` : shown;
  const what = name.includes(".") ? "property" : "argument";
  const message = `The ${what} '${name}' ${reason}. Received ${text}`;
  return nodeError(TypeError, "ERR_INVALID_ARG_VALUE", message);
}

export function assertNumber(name: string, value: unknown): asserts value is number {
  if (typeof value !== "number") throw wrongType(name, "of type number", value);
}

export function assertInt32(
  name: string,
  value: unknown,
  min: number,
  max = 2 ** 31 - 1,
): asserts value is number {
  assertNumber(name, value);
  if (!Number.isInteger(value)) throw outOfRange(name, "an integer", value);
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value);
}

export function assertBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== "boolean") throw wrongType(name, "of type boolean", value);
}

export function assertString(name: string, value: unknown): asserts value is string {
  if (typeof value !== "string") throw wrongType(name, "of type string", value);
}

export function assertFunction(name: string, value: unknown): void {
  if (typeof value !== "function") throw wrongType(name, "of type function", value);
}

export function assertSignal(name: string, value: unknown): asserts value is AbortSignal {
  if (value === null || typeof value !== "object" || !("aborted" in value)) {
    throw wrongType(name, "an instance of AbortSignal", value);
  }
}

/** A port number, or a text that is one. */
export function portOf(name: string, value: unknown, allowZero = true): number {
  const number =
    typeof value === "string" && value.trim() === "" ? Number.NaN : Number(value as number);
  const isPort =
    (typeof value === "number" || typeof value === "string") &&
    number === number >>> 0 &&
    number <= 0xffff &&
    (number > 0 || allowZero);
  if (isPort) return number;
  const least = allowZero ? ">=" : ">";
  const message = `${name} should be ${least} 0 and < 65536. ${received(value)}.`;
  throw nodeError(RangeError, "ERR_SOCKET_BAD_PORT", message);
}

/** A span in milliseconds that timers take. */
export function durationOf(name: string, value: unknown): number {
  assertNumber(name, value);
  if (value < 0 || !Number.isFinite(value)) {
    throw outOfRange(name, "a non-negative finite number", value);
  }
  const longest = 2 ** 31 - 1;
  if (value <= longest) return value;
  process.emitWarning(
    `${value} does not fit into a 32-bit signed integer.\nTimer duration was truncated to ${longest}.`,
    "TimeoutOverflowWarning",
  );
  return longest;
}

/** A `BlockList` has the address. */
export function blockedError(address: string): Error & { code: string } {
  return nodeError(Error, "ERR_IP_BLOCKED", `IP(${address}) is blocked by net.BlockList`);
}
