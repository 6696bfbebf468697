/** What the classes share: conversions as Web IDL has them, and the platform's errors. */

import { addressLiteral, show } from "../arguments.js";
import { reasonOf } from "../errors.js";
import { parseIp } from "../ip.js";
import type { Stack } from "../types.js";
import type { WorkerStack } from "../worker/types.js";

/** The stack that sockets are made in: one of this thread, or one in a worker. */
export type AnyStack = Stack | WorkerStack;

/** Which records are asked for. */
export type SocketDnsQueryType = "ipv4" | "ipv6";

export const SHORT = 0xffff;
export const LONG = 0xffff_ffff;

/** An integer from 0 to `most`, as Web IDL's `[EnforceRange]` converts: TypeErrors for everything else. */
export function enforceRange(name: string, value: unknown, most: number): number {
  const number = Math.trunc(Number(value));
  if (!(number >= 0 && number <= most)) {
    throw new TypeError(`${name} must be a number from 0 to ${most}, got ${show(value)}`);
  }
  return number;
}

/** As {@link enforceRange}, undefined if it is not given; 0 is a TypeError. */
export function positive(name: string, value: unknown, most: number): number | undefined {
  if (value === undefined) return undefined;
  const number = enforceRange(name, value, most);
  if (number === 0) throw new TypeError(`${name} must not be 0`);
  return number;
}

/** A dictionary; absent means empty. */
export function dictionary<T extends object>(
  name: string,
  value: T | null | undefined,
): Partial<T> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") {
    throw new TypeError(`${name} must be an object, got ${show(value)}`);
  }
  return value;
}

/** Which family is asked for; 0 for both. */
export function queryFamily(name: string, value: unknown): 0 | 4 | 6 {
  if (value === undefined) return 0;
  if (value !== "ipv4" && value !== "ipv6") {
    throw new TypeError(`${name} must be "ipv4" or "ipv6", got ${show(value)}`);
  }
  return value === "ipv4" ? 4 : 6;
}

/** An IP address, written as one. */
export function ipLiteral(name: string, value: unknown): string {
  const text = String(value);
  if (parseIp(text) === null) {
    throw new TypeError(`${name} must be an IP address, got ${show(text)}`);
  }
  return text;
}

/** Whether an address stands for all of a host. */
export function isUnspecified(address: string): boolean {
  return familyOf(address) === 4
    ? address === "0.0.0.0"
    : parseIp(address)?.every((word) => word === 0) === true;
}

/** The family of an address. */
export function familyOf(address: string): 4 | 6 {
  return address.includes(":") ? 6 : 4;
}

/** The error of the platform for what a network has answered, with the stack's own error as `cause`. */
export function networkError(cause: unknown): DOMException {
  return withCause(new DOMException(reasonOf(cause), "NetworkError"), cause);
}

/** The error for what cannot be done now. */
export function invalidState(message: string): DOMException {
  return new DOMException(message, "InvalidStateError");
}

function withCause<T extends object>(error: T, cause: unknown): T {
  Object.defineProperty(error, "cause", { value: cause, configurable: true, writable: true });
  return error;
}

/** The address of a host, asked for by the family if one is wanted. */
export async function addressOf(stack: AnyStack, host: string, family: 0 | 4 | 6): Promise<string> {
  const literal = addressLiteral(host);
  if (literal !== null) return ipLiteral("remoteAddress", literal);
  const found = await stack.resolve(host, family === 0 ? {} : { family });
  return found[0] ?? host;
}

/** Ends one side of a socket with a stream's error, for what a network has answered. */
export function failing(
  sides: Sides,
  side: "readable" | "writable",
  controller: { error(error: unknown): void },
): (cause: unknown) => void {
  return (cause) => {
    if (!sides.isActive(side)) return;
    const error = networkError(cause);
    controller.error(error);
    sides.end(side, { error });
  };
}

/** Tells what has ended something when it has, whether or not somebody asks it for the next: asking fails with that. */
export function whenEnded(
  of: { readonly closed: Promise<void> },
  next: () => Promise<unknown>,
  ended: (cause: unknown) => void,
): void {
  of.closed.then(next).catch(ended);
}

/** The two sides of a socket: when none is active any more, the socket is closed. */
export class Sides {
  readonly #active: Set<"readable" | "writable">;
  readonly #over: (error: { error: unknown } | null) => void;
  #failure: { error: unknown } | null = null;

  constructor(
    sides: ("readable" | "writable")[],
    over: (error: { error: unknown } | null) => void,
  ) {
    this.#active = new Set(sides);
    this.#over = over;
  }

  isActive(side: "readable" | "writable"): boolean {
    return this.#active.has(side);
  }

  /** One side has ended, by its user or the peer, or with an error. */
  end(side: "readable" | "writable", failure: { error: unknown } | null = null): void {
    if (!this.#active.delete(side)) return;
    this.#failure ??= failure;
    if (this.#active.size === 0) this.#over(this.#failure);
  }
}
