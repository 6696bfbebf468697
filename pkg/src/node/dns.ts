/** `node:dns` over a stack's resolver. */

import * as dns from "node:dns";
import { isIP, isIPv6 } from "node:net";
import { promisify } from "node:util";
import { SocketError } from "../errors.js";
import { LookupError, type LookupReason, type Resolver } from "../resolver.js";
import type { StackImpl } from "../stack.js";
import type { DnsRecord, Stack } from "../types.js";
import { KINDS, type RecordKind } from "./dns_records.js";
import {
  addressError,
  assertFunction,
  assertString,
  nodeError,
  portOf,
  wrongType,
  wrongValue,
} from "./errors.js";
import { NodeHost } from "./host.js";
import { afterEvents } from "./phases.js";

/** The shape of `node:dns`. */
export type Dns = typeof dns;

type Callback = (error: Error | null, found?: unknown, more?: unknown) => void;

/** c-ares' names of what went wrong. */
const CODES: Readonly<Record<LookupReason, string>> = {
  noName: dns.NOTFOUND,
  noRecord: dns.NODATA,
  noAnswer: dns.TIMEOUT,
  serversFailed: dns.SERVFAIL,
  noServer: dns.CONNREFUSED,
};

/** As in `queryMx ENOTFOUND shop.test`. */
function queryError(code: string, syscall: string, hostname: string): Error {
  const failure = new Error(`${syscall} ${code} ${hostname}`);
  return Object.assign(failure, { errno: undefined, code, syscall, hostname });
}

function codeOfQuery(error: unknown): string {
  if (error instanceof LookupError) return CODES[error.reason];
  const isAborted = error instanceof SocketError && error.code === "ABORT_ERR";
  return isAborted ? dns.CANCELLED : dns.NOTFOUND;
}

/** The name that tells whose an address is (RFC 1035 §3.5, RFC 3596 §2.5). */
function reverseName(address: string): string {
  if (!isIPv6(address)) return `${address.split(".").reverse().join(".")}.in-addr.arpa`;
  const bare = address.split("%")[0] ?? "";
  const [head = "", tail] = bare.split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":"));
  const first = groups(head);
  const last = groups(tail ?? "");
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => "0");
  const all = tail === undefined ? first : [...first, ...zeros, ...last];
  const digits = all.map((group) => group.padStart(4, "0")).join("");
  return `${[...digits].reverse().join(".")}.ip6.arpa`;
}

/** A server as `setServers` takes it, without its port, which has to be DNS's. */
function serverOf(text: unknown): string {
  assertString("server", text);
  if (isIP(text) !== 0) return text;
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? "";
  const port = match?.[3] ?? "53";
  if (isIP(address) === 0 || port !== "53") {
    throw nodeError(TypeError, "ERR_INVALID_IP_ADDRESS", `Invalid IP address: ${text}`);
  }
  return address;
}

function reconfigured(resolver: Resolver, servers: readonly string[]): Resolver {
  resolver.configure(servers, []);
  return resolver;
}

/** Asks the stack's servers, or servers of its own. */
class Questions {
  readonly #stack: StackImpl;
  #servers: readonly string[] | null = null;
  #own: Promise<Resolver> | null = null;
  #cancelled = new AbortController();

  constructor(stack: StackImpl) {
    this.#stack = stack;
  }

  get servers(): string[] {
    return [...(this.#servers ?? this.#stack.nameServers)];
  }

  set servers(servers: readonly unknown[]) {
    if (!Array.isArray(servers)) throw wrongType("servers", "an instance of Array", servers);
    const checked = servers.map(serverOf);
    this.#servers = checked;
    this.#own = this.#own?.then((resolver) => reconfigured(resolver, checked)) ?? null;
  }

  cancel(): void {
    this.#cancelled.abort();
    this.#cancelled = new AbortController();
  }

  async ask(name: string, { type, syscall }: RecordKind): Promise<DnsRecord[]> {
    const { signal } = this.#cancelled;
    try {
      if (this.#servers === null) return await this.#stack.resolveRecords(name, type, { signal });
      this.#own ??= this.#stack.ownResolver(this.#servers);
      const resolver = await this.#own;
      return await resolver.records(name, type, signal);
    } catch (error) {
      throw queryError(codeOfQuery(error), syscall, name);
    }
  }
}

/** Answers that are not told by the records alone. */
function answers(records: readonly DnsRecord[], kind: RecordKind, options: unknown): unknown {
  const found = records.map((record) => kind.read(record)).filter((item) => item !== null);
  const wantsTtl = typeof options === "object" && options !== null && "ttl" in options;
  if (wantsTtl && options.ttl && (kind.type === "A" || kind.type === "AAAA")) {
    return records.map(({ data, ttl }) => ({ address: data, ttl }));
  }
  return kind.type === "SOA" ? found[0] : found;
}

/** The names of an address. */
async function reverse(questions: Questions, address: string): Promise<unknown> {
  const kind: RecordKind = { type: "PTR", syscall: "getHostByAddr", read: ({ data }) => data };
  try {
    return answers(await questions.ask(reverseName(address), kind), kind, null);
  } catch (error) {
    throw queryError((error as { code: string }).code, kind.syscall, address);
  }
}

type Methods = Record<string, (...args: unknown[]) => Promise<unknown>>;

/** The methods of resolvers, `resolve4` and so on, with a promise each: those that this Node has. */
function methodsOf(questionsOf: (resolver: unknown) => Questions): Methods {
  const kindOf = (type: unknown): RecordKind => {
    assertString("rrtype", type);
    const kind = KINDS[type];
    if (kind === undefined) throw wrongValue("rrtype", type);
    return kind;
  };
  async function ask(self: unknown, kind: RecordKind, name: string, options?: unknown) {
    return answers(await questionsOf(self).ask(name, kind), kind, options);
  }
  const methods: Methods = {
    resolve(name, type = "A") {
      return ask(this, kindOf(type), hostOf(name));
    },
    reverse(address) {
      const text = hostOf(address);
      if (isIP(text) === 0) throw addressError("EINVAL", "getHostByAddr", text);
      return reverse(questionsOf(this), text);
    },
  };
  for (const [type, kind] of Object.entries(KINDS)) {
    const method = `resolve${type === "A" ? "4" : type === "AAAA" ? "6" : capitalised(type)}`;
    if (!(method in dns)) continue;
    methods[method] = function (name, options) {
      return ask(this, kind, hostOf(name), options);
    };
  }
  return methods;
}

const capitalised = (type: string) => `${type[0]}${type.slice(1).toLowerCase()}`;

function hostOf(name: unknown): string {
  assertString("name", name);
  return name;
}

/** What is wrong with the arguments is thrown, and only what the network says is told to the callback. */
function withCallback(method: (...args: unknown[]) => Promise<unknown>) {
  return function (this: unknown, ...args: unknown[]): object {
    const callback = args.length > 2 ? args[2] : args[1];
    assertString("name", args[0]);
    assertFunction("callback", callback);
    const tell = callback as Callback;
    method.apply(this, args.slice(0, args.length > 2 ? 2 : 1)).then(
      (found) => afterEvents(tell, null, found),
      (error) => afterEvents(tell, error),
    );
    return {};
  };
}

/** The classes `Resolver` of the callback and the promise interface. */
function resolverClass(stack: StackImpl, isPromised: boolean) {
  class Resolver {
    readonly #questions = new Questions(stack);

    static questionsOf(resolver: unknown): Questions {
      return (resolver as Resolver).#questions;
    }

    getServers(): string[] {
      return this.#questions.servers;
    }

    setServers(servers: readonly string[]): void {
      this.#questions.servers = servers;
    }

    cancel(): void {
      this.#questions.cancel();
    }

    setLocalAddress(): void {
      // The stack chooses the source address of each question.
    }
  }
  const methods = methodsOf(Resolver.questionsOf);
  Reflect.deleteProperty(Resolver, "questionsOf");
  for (const [name, method] of Object.entries(methods)) {
    const value = isPromised ? method : withCallback(method);
    const attributes = { value, configurable: true, writable: true, enumerable: true };
    Object.defineProperty(Resolver.prototype, name, attributes);
  }
  return Resolver;
}

/** Ports that have a name in `lookupService` (RFC 6335). */
const SERVICES: Readonly<Record<number, string>> = {
  21: "ftp",
  22: "ssh",
  23: "telnet",
  25: "smtp",
  53: "domain",
  80: "http",
  110: "pop3",
  123: "ntp",
  143: "imap2",
  443: "https",
};

/**
 * What `node:dns` is for the operating system, for a stack: `lookup` and `resolve*` ask the stack's name servers, which its settings, leases
 * and routers name, or those of `setServers`.
 */
export function createDns(stack: Stack): Dns {
  const { stack: own, lookup } = new NodeHost(stack);
  const questions = new Questions(own);
  const methods = methodsOf(() => questions);
  const lookupService = (...args: [string, number, Callback]) => {
    const [address, port, callback] = args;
    if (args.length !== 3) {
      const message = 'The "address", "port", and "callback" arguments must be specified';
      throw nodeError(TypeError, "ERR_MISSING_ARGS", message);
    }
    if (isIP(address) === 0) throw wrongValue("address", address);
    const number = portOf("Port", port);
    assertFunction("callback", callback);
    const service = SERVICES[number] ?? String(number);
    // An address without a name is its own, as with getnameinfo.
    reverse(questions, address).then(
      (names) => afterEvents(callback, null, (names as string[])[0] ?? address, service),
      () => afterEvents(callback, null, address, service),
    );
    return {};
  };

  const servers = {
    getServers: () => questions.servers,
    setServers: (given: readonly string[]) => {
      questions.servers = given;
    },
  };
  const promisedLookup = (hostname: string, options?: dns.LookupOptions | number) =>
    new Promise((resolve, reject) => {
      lookup(hostname, options, (error, found, family) => {
        if (error !== null) reject(error);
        else resolve(Array.isArray(found) ? found : { address: found, family });
      });
    });
  const promisedService = (address: string, port: number) =>
    new Promise((resolve, reject) => {
      lookupService(address, port, (error, hostname, service) => {
        if (error !== null) reject(error);
        else resolve({ hostname, service });
      });
    });
  Object.defineProperty(lookup, promisify.custom, { value: promisedLookup });
  Object.defineProperty(lookupService, promisify.custom, { value: promisedService });

  const shape = {
    ...dns,
    ...servers,
    lookup,
    lookupService,
    Resolver: resolverClass(own, false),
    ...mapped(methods, withCallback),
    promises: {
      ...dns.promises,
      ...servers,
      ...methods,
      lookup: promisedLookup,
      lookupService: promisedService,
      Resolver: resolverClass(own, true),
    },
  };
  Reflect.deleteProperty(shape, "default");
  return shape as unknown as Dns;
}

function mapped<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U) {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}
