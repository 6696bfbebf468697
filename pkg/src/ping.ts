/** Echo requests. */

import * as check from "./arguments.js";
import { deferred, type EngineCore, type Sink } from "./engine_core.js";
import { SocketError, withEnds } from "./errors.js";
import { ipNumbers } from "./ip.js";
import { PING_RESULT } from "./names.js";
import { fieldsOf, type Why } from "./records.js";
import type { PingOptions, PingReply } from "./types.js";
import { aborted } from "./waiters.js";

const DEFAULT_SIZE = 56;
const DEFAULT_TIMEOUT = 5_000;
const MICROSECONDS = 1_000;
const LARGEST = 65_507;

/** What `ping_result` of the module tells: an answer, or why there is none, or nothing of these when time is out. */
type Outcome =
  | Omit<PingReply, "address">
  | { rtt: null; reporter: string | null; exceeded: boolean | null; why: Why | null };

const RESULT = fieldsOf(PING_RESULT);

/** An echo request, its options checked. */
export interface Echo {
  to: string;
  /** Payload bytes. */
  size: number;
  /** Milliseconds. */
  timeout: number;
  /** TTL or hop limit; 0 for the stack's. */
  ttl: number;
  signal: AbortSignal | null;
}

/** Where it is done. */
export interface Pinging {
  engine: EngineCore;
  host: number;
  /** What ends with the stack. */
  open: Set<{ close(error: Error): unknown }>;
  /** The addresses of a name. */
  resolve: (hostname: string, options: { signal?: AbortSignal }) => Promise<string[]>;
}

/** Sends an echo request to the first address of a host and waits for the answer. */
export async function ping(
  { engine, host, open, resolve }: Pinging,
  hostname: string,
  options: PingOptions | undefined,
): Promise<PingReply> {
  const name = check.string("hostname", hostname);
  const given = check.options("options", options);
  const size =
    given.size === undefined ? DEFAULT_SIZE : check.integer("options.size", given.size, 0, LARGEST);
  const timeout = check.duration("options.timeout", given.timeout ?? DEFAULT_TIMEOUT);
  const ttl = given.ttl === undefined ? 0 : check.integer("options.ttl", given.ttl, 1, 255);
  const signal = check.abortSignal("options.signal", given.signal);
  const named = signal === null ? {} : { signal };
  const to = check.addressLiteral(name) ?? (await resolve(name, named))[0] ?? name;
  const outcome = await echo(engine, host, { to, size, timeout, ttl, signal }, open);
  return replyOf(to, timeout, outcome);
}

/** Sends an echo request and waits for what comes of it. While it waits it is among what `open` has, to be closed. */
export async function echo(
  engine: EngineCore,
  host: number,
  { to, size, timeout, ttl, signal }: Echo,
  open: Set<{ close(error: Error): unknown }>,
): Promise<Outcome> {
  const ends = { remoteAddress: to };
  if (signal?.aborted) throw aborted(signal, ends);
  const { promise, resolve, reject } = deferred<Outcome>();
  const id = engine.call(
    (wasm, now) => {
      engine.give(ipNumbers(to));
      return wasm.ping(now, host, size, timeout * MICROSECONDS, ttl);
    },
    `ping ${to}`,
    ends,
  );
  // Its number may be another's between its end and the end of this function.
  let ended = false;
  const sink: Sink = {
    onSignals() {
      const outcome = engine.record<Outcome>(RESULT, (wasm) => wasm.ping_result(id));
      if (outcome === null) return;
      ended = true;
      engine.removeSink(id);
      resolve(outcome);
    },
    onEngineOver: (error) => reject(withEnds(error, ends)),
  };
  engine.addSink(id, sink);
  engine.wake();
  const waiting = {
    close(error: Error): void {
      if (ended) return;
      ended = true;
      engine.removeSink(id);
      if (engine.over === null) engine.call((wasm) => wasm.ping_cancel(id));
      reject(withEnds(error, ends));
    },
    /** Who waits for it waits for ever. */
    vanish(): void {
      ended = true;
      engine.removeSink(id);
      open.delete(waiting);
    },
    waits: () => [`ping ${to}`],
  };
  const onAbort = (): void => {
    if (signal !== null) waiting.close(aborted(signal, ends));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  open.add(waiting);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    open.delete(waiting);
  }
}

function replyOf(to: string, timeout: number, outcome: Outcome): PingReply {
  if (outcome.rtt !== null) {
    return { address: to, rtt: outcome.rtt, ttl: outcome.ttl, size: outcome.size };
  }
  const { why, reporter } = outcome;
  const ends = { remoteAddress: to };
  if (why === null) {
    throw new SocketError("ETIMEDOUT", `ping ${to}: no answer within ${timeout} ms`, ends);
  }
  const from = reporter === null || reporter === to ? "" : `, says ${reporter}`;
  throw new SocketError(why.code, `ping ${to}: ${why.text}${from}`, ends);
}
