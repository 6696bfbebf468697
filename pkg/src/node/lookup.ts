/** `dns.lookup` over a stack's resolver. */

import {
  ADDRCONFIG,
  ALL,
  getDefaultResultOrder,
  type LookupAddress,
  type LookupOptions,
  V4MAPPED,
} from "node:dns";
import { isIP } from "node:net";
import { LookupError } from "../resolver.js";
import type { StackImpl } from "../stack.js";
import {
  assertBoolean,
  assertFunction,
  assertNumber,
  assertString,
  codeOf,
  wrongType,
  wrongValue,
} from "./errors.js";
import { afterEvents, nextTick } from "./phases.js";

/** What `getaddrinfo` says where there is no such name; its number in libuv is that of EAI_NONAME... */
const NOT_FOUND = { errno: -3008, code: "ENOTFOUND" };
/** ...and where nobody could tell. */
const TRY_AGAIN = { errno: -3001, code: "EAI_AGAIN" };

const FAMILIES = [0, 4, 6];
const ORDERS = ["verbatim", "ipv4first", "ipv6first"];

type Order = "verbatim" | "ipv4first" | "ipv6first";
type Callback = (
  error: Error | null,
  found?: string | LookupAddress[] | null,
  family?: number,
) => void;

export type Lookup = (
  hostname: string,
  options: LookupOptions | number | Callback | undefined,
  callback?: Callback,
) => object;

/** What is asked. */
interface Question {
  family: 0 | 4 | 6;
  all: boolean;
  order: Order;
}

/** As in `getaddrinfo ENOTFOUND shop.test`. */
function lookupError(error: unknown, hostname: string): Error {
  const why = whyNot(error);
  const failure = new Error(`getaddrinfo ${why.code} ${hostname}`);
  return Object.assign(failure, why, { syscall: "getaddrinfo", hostname });
}

function whyNot(error: unknown): { errno: number | undefined; code: string } {
  if (error instanceof LookupError) {
    return error.reason === "noName" || error.reason === "noRecord" ? NOT_FOUND : TRY_AGAIN;
  }
  const code = codeOf(error);
  return code === NOT_FOUND.code ? NOT_FOUND : { errno: undefined, code };
}

function oneOf<T>(name: string, values: readonly T[], value: unknown): T {
  if (values.includes(value as T)) return value as T;
  const shown = values.map((item) => (typeof item === "string" ? `'${item}'` : String(item)));
  throw wrongValue(name, value, `must be one of: ${shown.join(", ")}`);
}

function questionOf(options: LookupOptions | number | undefined | null): Question {
  const question: Question = { family: 0, all: false, order: getDefaultResultOrder() as Order };
  if (typeof options === "number") {
    question.family = oneOf("family", FAMILIES, options) as 0 | 4 | 6;
    return question;
  }
  const { family, hints, all, verbatim, order } = (options ?? {}) as Omit<
    LookupOptions,
    "order"
  > & {
    order?: unknown;
  };
  if (hints !== undefined && hints !== null) checkHints(hints);
  if (family !== undefined && family !== null) {
    const number = family === "IPv4" ? 4 : family === "IPv6" ? 6 : family;
    question.family = oneOf("options.family", FAMILIES, number) as 0 | 4 | 6;
  }
  if (all !== undefined && all !== null) {
    assertBoolean("options.all", all);
    question.all = all;
  }
  if (verbatim !== undefined && verbatim !== null) {
    assertBoolean("options.verbatim", verbatim);
    question.order = verbatim ? "verbatim" : "ipv4first";
  }
  if (order !== undefined && order !== null) {
    question.order = oneOf("options.order", ORDERS, order) as Order;
  }
  return question;
}

function checkHints(hints: unknown): void {
  assertNumber("options.hints", hints);
  const flags = hints >>> 0;
  if ((flags & ~(ADDRCONFIG | ALL | V4MAPPED)) !== 0) throw wrongValue("hints", flags);
}

/** In the order that was asked for; `verbatim` is that of RFC 6724, in which the stack's resolver gives them. */
function ordered(addresses: readonly string[], order: Order): LookupAddress[] {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  if (order === "verbatim") return found;
  const first = order === "ipv4first" ? 4 : 6;
  return found.toSorted((a, b) => Number(b.family === first) - Number(a.family === first));
}

/** Makes `dns.lookup` for a stack. */
export function lookupOf(stack: StackImpl): Lookup {
  return function lookup(hostname, options, callback) {
    if (hostname) assertString("hostname", hostname);
    const tell = (typeof options === "function" ? options : callback) as Callback;
    assertFunction("callback", tell);
    const kind = typeof options;
    if (kind !== "function" && kind !== "number" && kind !== "object" && kind !== "undefined") {
      throw wrongType("options", "of type object or integer", options);
    }
    const question = questionOf(typeof options === "function" ? undefined : options);
    const literal = hostname ? isIP(hostname) : 0;
    const { all, family, order } = question;
    if (!hostname || literal !== 0) {
      const known = literal === 0 ? [] : [{ address: hostname, family: literal }];
      if (all) nextTick(tell, null, known);
      else nextTick(tell, null, hostname || null, literal || (family === 6 ? 6 : 4));
      return {};
    }
    // Told in a task of its own, as what a system call answers.
    stack.resolve(hostname, family === 0 ? {} : { family }).then(
      (addresses) => {
        const found = ordered(addresses, order);
        const [first] = found;
        if (all) afterEvents(tell, null, found);
        else afterEvents(tell, null, first?.address, first?.family);
      },
      (error) => afterEvents(tell, lookupError(error, hostname)),
    );
    return {};
  };
}
