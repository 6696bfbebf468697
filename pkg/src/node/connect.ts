/** How a socket connects: names are looked up, and the addresses of both families tried one soon after the other. */

import { ADDRCONFIG, type LookupAddress } from "node:dns";
import * as net from "node:net";
import {
  addressError,
  assertBoolean,
  assertFunction,
  assertInt32,
  assertNumber,
  assertString,
  blockedError,
  nodeError,
  portOf,
  type SystemError,
  wrongType,
} from "./errors.js";
import type { NodeHost } from "./host.js";
import { ListenHandle } from "./listen_handle.js";
import { nextTick } from "./phases.js";
import type { NetSocket } from "./socket.js";
import { TcpHandle } from "./tcp_handle.js";

/** Node tries no address for less than this. */
const LEAST_ATTEMPT = 10;

/** What `connect` takes. */
export interface ConnectOptions {
  port?: number | string | null;
  host?: string;
  path?: string;
  localAddress?: string;
  localPort?: number;
  family?: number | string;
  hints?: number;
  lookup?: Lookup;
  autoSelectFamily?: boolean | null;
  autoSelectFamilyAttemptTimeout?: number | null;
  noDelay?: boolean;
  timeout?: number;
  blockList?: net.BlockList;
}

type LookupOptions = { family: number | undefined; hints: number; all?: boolean };
type LookupCallback = (
  error: Error | null,
  found: string | LookupAddress[],
  family?: number,
) => void;
/** Looks a name up as `dns.lookup` does. */
export type Lookup = (host: string, options: LookupOptions, callback: LookupCallback) => void;

/** Before version 22 of Node the lookup is the first that looks at a host. */
const hostArgument = Number.parseInt(process.versions.node, 10) < 22 ? "hostname" : "options.host";

/** What all attempts of one `connect` have in common. */
interface Plan {
  socket: NetSocket;
  host: NodeHost;
  port: number;
  localAddress: string | undefined;
  localPort: number | undefined;
  blockList: net.BlockList | undefined;
}

interface Attempt {
  address: string;
  family: 4 | 6;
}

/** Begins to connect; what is wrong with the options is thrown. */
export function connectSocket(socket: NetSocket, host: NodeHost, options: ConnectOptions): void {
  const { localAddress, localPort, path } = options;
  if (path) {
    if (typeof path !== "string") throw wrongType("options.path", "of type string", path);
    // Local sockets are the operating system's, and no stack has any.
    socket.destroy(addressError("ENOTSUP", "connect", path));
    return;
  }
  if (localAddress && net.isIP(localAddress) === 0) throw invalidAddress(localAddress);
  if (localPort) assertNumber("options.localPort", localPort);
  const port = portOption(options.port);
  const autoSelect = options.autoSelectFamily ?? net.getDefaultAutoSelectFamily();
  assertBoolean("options.autoSelectFamily", autoSelect);
  const patience = attemptTimeout(options.autoSelectFamilyAttemptTimeout);
  const { blockList } = options;
  const plan: Plan = { socket, host, port, localAddress, localPort, blockList };
  const name = options.host || "localhost";
  assertString(hostArgument, name);
  const literal = net.isIP(name);
  if (literal === 4 || literal === 6) {
    nextTick(() => {
      if (socket.connecting) attemptOne(plan, { address: name, family: literal });
    });
    return;
  }
  if (options.lookup !== undefined && options.lookup !== null) {
    assertFunction("options.lookup", options.lookup);
  }
  socket._host = name;
  const lookup = options.lookup ?? (host.lookup as Lookup);
  const family = familyOf(options.family);
  const isGiven = family === 4 || family === 6;
  const hints = options.hints || (isGiven || process.platform === "win32" ? 0 : ADDRCONFIG);
  const questions: LookupOptions = { family, hints };
  if (isGiven || localAddress || !autoSelect) lookUpOne(plan, name, lookup, questions, options);
  else lookUpAll(plan, name, lookup, { ...questions, all: true }, options, patience);
}

function portOption(port: unknown): number {
  if (port === undefined) return 0;
  if (typeof port !== "number" && typeof port !== "string") {
    throw wrongType("options.port", "one of type number or string", port);
  }
  return portOf("Port", port);
}

function attemptTimeout(given: number | null | undefined): number {
  if (given === undefined || given === null) return net.getDefaultAutoSelectFamilyAttemptTimeout();
  assertInt32("options.autoSelectFamilyAttemptTimeout", given, 1);
  return Math.max(LEAST_ATTEMPT, given);
}

function familyOf(family: number | string | undefined): number | undefined {
  if (family === "IPv4") return 4;
  if (family === "IPv6") return 6;
  return family as number | undefined;
}

const invalidAddress = (address: unknown) =>
  nodeError(TypeError, "ERR_INVALID_IP_ADDRESS", `Invalid IP address: ${address}`);

function invalidFamily(family: unknown, { host, port }: ConnectOptions): Error {
  const message = `Invalid address family: ${family} ${host}:${port}`;
  return Object.assign(nodeError(RangeError, "ERR_INVALID_ADDRESS_FAMILY", message), {
    host,
    port,
  });
}

/** What is wrong with an address that a lookup gave. */
function unusable(address: unknown, family: unknown, options: ConnectOptions): Error | null {
  if (net.isIP(address as string) === 0) return invalidAddress(address);
  if (family !== 4 && family !== 6) return invalidFamily(family, options);
  return null;
}

/** Not before the listeners of `error` are there. */
function failSoon(socket: NetSocket, error: Error): void {
  nextTick(() => socket.destroy(error));
}

function lookUpOne(
  plan: Plan,
  name: string,
  lookup: Lookup,
  questions: LookupOptions,
  options: ConnectOptions,
): void {
  const { socket } = plan;
  lookup(name, questions, (error, address, family) => {
    socket.emit("lookup", error, address, family, name);
    if (!socket.connecting) return;
    const problem = error ?? unusable(address, family, options);
    if (problem) {
      failSoon(socket, problem);
      return;
    }
    socket._unrefTimer();
    attemptOne(plan, { address: address as string, family: family as 4 | 6 });
  });
}

function lookUpAll(
  plan: Plan,
  name: string,
  lookup: Lookup,
  questions: LookupOptions,
  options: ConnectOptions,
  patience: number,
): void {
  const { socket } = plan;
  lookup(name, questions, (error, found) => {
    if (!socket.connecting) return;
    if (error) {
      socket.emit("lookup", error, undefined, undefined, name);
      failSoon(socket, error);
      return;
    }
    const addresses = found as LookupAddress[];
    for (const { address, family } of addresses) {
      socket.emit("lookup", error, address, family, name);
      if (!socket.connecting) return;
    }
    const attempts = alternating(addresses);
    const [first] = attempts;
    if (first === undefined) {
      const [given] = addresses;
      const problem = unusable(given?.address, given?.family, options);
      if (problem !== null) failSoon(socket, problem);
      return;
    }
    socket._unrefTimer();
    if (attempts.length === 1) {
      attemptOne(plan, first);
      return;
    }
    socket.autoSelectFamilyAttemptedAddresses = [];
    attemptNext({ plan, attempts, at: 0, errors: [], patience, timer: null });
  });
}

/** Those that can be tried, each once, families in turns beginning with the first's. */
function alternating(found: readonly LookupAddress[]): Attempt[] {
  const usable = found.filter(
    ({ address, family }, index) =>
      unusable(address, family, {}) === null &&
      found.findIndex((other) => other.address === address) === index,
  ) as Attempt[];
  const preferred = usable.filter(({ family }) => family === usable[0]?.family);
  const others = usable.filter(({ family }) => family !== usable[0]?.family);
  const attempts: Attempt[] = [];
  for (let at = 0; at < Math.max(preferred.length, others.length); at += 1) {
    for (const attempt of [preferred[at], others[at]]) {
      if (attempt !== undefined) attempts.push(attempt);
    }
  }
  return attempts;
}

// One address.

const ANY_OF = { 4: "0.0.0.0", 6: "::" } as const;

/** An attempt's error; `done` is called only if there is none at once. */
function begin(
  plan: Plan,
  handle: TcpHandle,
  { address, family }: Attempt,
  done: (error: SystemError | null) => void,
): Error | null {
  const { socket, port, localPort } = plan;
  const localAddress = plan.localAddress ?? (localPort ? ANY_OF[family] : undefined);
  if (localAddress !== undefined && net.isIP(localAddress) !== family) {
    return addressError("EINVAL", "bind", localAddress, localPort);
  }
  const isAny = localAddress === ANY_OF[4] || localAddress === ANY_OF[6];
  const target = {
    address,
    port,
    localAddress: isAny ? undefined : localAddress,
    localPort: localPort || undefined,
  };
  if (plan.blockList?.check(address, `ipv${family}`)) {
    socket.emit("connectionAttempt", address, port, family);
    return blockedError(address);
  }
  const isTaken =
    localPort !== undefined &&
    localPort > 0 &&
    ListenHandle.isListening(plan.host, localAddress ?? ANY_OF[family], localPort);
  if (isTaken) return addressError("EADDRINUSE", "bind", localAddress, localPort);
  const failure = handle.connect(target, {}, (code) =>
    done(code === null ? null : late(code, plan, address, localAddress)),
  );
  // The stack binds and connects in one step, and what it says of the first is no attempt.
  if (localAddress !== undefined && (failure === "EADDRINUSE" || failure === "EADDRNOTAVAIL")) {
    return addressError(failure, "bind", localAddress, localPort);
  }
  socket.emit("connectionAttempt", address, port, family);
  if (failure === null) return null;
  const { address: own, port: ownPort } = socket.address();
  return addressError(
    failure,
    "connect",
    address,
    port,
    `${own ?? ANY_OF[family]}:${ownPort ?? 0}`,
  );
}

/** The error of an attempt that had begun. */
function late(code: string, plan: Plan, address: string, localAddress?: string): SystemError {
  const { port, localPort } = plan;
  const isBound = localAddress !== undefined && localPort;
  const local = isBound ? `${localAddress}:${localPort}` : undefined;
  const error = addressError(code, "connect", address, port, local);
  return isBound ? Object.assign(error, { localAddress, localPort }) : error;
}

function attemptOne(plan: Plan, attempt: Attempt): void {
  const { socket } = plan;
  const handle = socket._handle;
  if (handle === null) return;
  const failure = begin(plan, handle, attempt, (error) => {
    if (socket.destroyed) return;
    if (error === null) {
      socket._connected();
      return;
    }
    socket.connecting = false;
    socket.emit("connectionAttemptFailed", attempt.address, plan.port, attempt.family, error);
    socket.destroy(error);
  });
  if (failure !== null) socket.destroy(failure);
}

// Several addresses.

interface Race {
  plan: Plan;
  attempts: readonly Attempt[];
  /** The attempt that is next. */
  at: number;
  errors: Error[];
  patience: number;
  timer: unknown;
}

function attemptNext(race: Race): void {
  const { plan, attempts, errors } = race;
  const { socket, host, port } = plan;
  stopTimer(race);
  if (socket._aborted) return;
  const attempt = attempts[race.at];
  if (attempt === undefined) {
    socket.destroy(together(errors));
    return;
  }
  if (race.at > 0) {
    socket._handle?.close();
    socket._useHandle(new TcpHandle(host));
  }
  const current = race.at;
  race.at += 1;
  const handle = socket._handle;
  if (handle === null) return;
  const { address, family } = attempt;
  socket.autoSelectFamilyAttemptedAddresses?.push(`${address}:${port}`);
  let isGivenUp = false;
  const fail = (error: Error) => {
    errors.push(error);
    socket.emit("connectionAttemptFailed", address, port, family, error);
    if (socket.connecting) attemptNext(race);
  };
  const failure = begin(plan, handle, attempt, (error) => {
    if (isGivenUp || socket.destroyed) return;
    stopTimer(race);
    if (error !== null) fail(error);
    else if (current === race.at - 1) socket._connected();
  });
  if (failure !== null) {
    fail(failure);
    return;
  }
  if (race.at === attempts.length) return;
  race.timer = host.clock.setTimer(() => {
    race.timer = null;
    socket.emit("connectionAttemptTimeout", address, port, family);
    isGivenUp = true;
    errors.push(late("ETIMEDOUT", plan, address));
    handle.close();
    if (socket.connecting) attemptNext(race);
  }, race.patience);
}

function stopTimer(race: Race): void {
  if (race.timer !== null) race.plan.host.clock.clearTimer(race.timer);
  race.timer = null;
}

function together(errors: readonly Error[]): Error {
  const [first] = errors;
  if (first === undefined) {
    const message = "Socket connection timeout";
    return nodeError(Error, "ERR_SOCKET_CONNECTION_TIMEOUT", message);
  }
  const { code } = first as SystemError;
  const error = Object.assign(new AggregateError(errors), { code });
  if (error.stack !== undefined) {
    error.stack = error.stack.replace("AggregateError", `AggregateError [${code}]: `);
  }
  return error;
}
