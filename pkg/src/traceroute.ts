/**
 * The way to a host: probes whose hop limit is used up on the way, and the ICMP errors of the routers that see it happen.
 *
 * Each method has probes of its own (UDP datagrams to ports where nobody listens, echo requests, SYNs), which differ in what
 * firewalls let through. The probes of a hop are sent at once, hop after hop.
 */

import * as check from "./arguments.js";
import { deferred, type EngineCore, type Sink } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { ipNumbers, optionalIp } from "./ip.js";
import { ICMP_REPORT } from "./names.js";
import { echo } from "./ping.js";
import { fieldsOf } from "./records.js";
import { closeReason, Signal } from "./socket.js";
import { tcpValues } from "./tcp_options.js";
import { DueTimer } from "./timer.js";
import type {
  IcmpReport,
  TracerouteHop,
  TracerouteOptions,
  TracerouteProbe,
  UdpSocket,
} from "./types.js";
import { aborted } from "./waiters.js";

const DEFAULT_TIMEOUT = 3_000;
const DEFAULT_HOPS = 30;
const DEFAULT_PROBES = 3;
/** The port of the first probe by UDP, as everywhere: RFC 1393 §2 and the traceroutes of all systems. */
const UDP_PORT = 33_434;
const TCP_PORT = 80;
/** Payload bytes, so that a packet has 60 bytes over IPv4. */
const DEFAULT_SIZE = 32;
const LARGEST = 65_507;
const MICROSECONDS = 1_000;
const METHODS = ["udp", "icmp", "tcp"];

const report = fieldsOf(ICMP_REPORT);

/** Where it is done. */
export interface Tracing {
  engine: EngineCore;
  host: number;
  /** What ends with the stack. */
  open: Set<{ close(error: Error): unknown }>;
  /** The addresses of a name. */
  resolve: (hostname: string, signal: AbortSignal) => Promise<string[]>;
  bindUdp: () => UdpSocket;
}

/** What a trace is, its options checked. */
interface Plan {
  method: string;
  port: number;
  size: number;
  firstHop: number;
  maxHops: number;
  probes: number;
  timeout: number;
  signal: AbortSignal | null;
}

/** One probe: how far it may go, and which it is of all of the trace. */
interface Probe {
  to: string;
  hop: number;
  index: number;
  plan: Plan;
  signal: AbortSignal;
}

type Prober = (probe: Probe) => Promise<TracerouteProbe>;

function planOf(options: TracerouteOptions | undefined): Plan {
  const given = check.options("options", options);
  const count = (
    name: "maxHops" | "firstHop" | "probes",
    fallback: number,
    most: number,
  ): number =>
    given[name] === undefined ? fallback : check.integer(`options.${name}`, given[name], 1, most);
  const method = check.oneOf("options.method", METHODS, given.method ?? "udp");
  const plan = {
    method,
    port:
      given.port === undefined
        ? method === "tcp"
          ? TCP_PORT
          : UDP_PORT
        : check.port("options.port", given.port),
    size:
      given.size === undefined
        ? DEFAULT_SIZE
        : check.integer("options.size", given.size, 0, LARGEST),
    maxHops: count("maxHops", DEFAULT_HOPS, 255),
    firstHop: count("firstHop", 1, 255),
    probes: count("probes", DEFAULT_PROBES, 10),
    timeout: check.duration("options.timeout", given.timeout ?? DEFAULT_TIMEOUT, 1),
    signal: check.abortSignal("options.signal", given.signal),
  };
  const ports = (plan.maxHops - plan.firstHop + 1) * plan.probes;
  if (method === "udp" && plan.port + ports - 1 > 65_535) {
    throw new RangeError(
      `options.port must leave ${ports} ports for as many probes, got ${plan.port}`,
    );
  }
  return plan;
}

/** Traces the way to a host; options are checked at once. */
export function traceroute(
  tracing: Tracing,
  hostname: string,
  options: TracerouteOptions | undefined,
): AsyncGenerator<TracerouteHop, void, undefined> {
  const host = check.string("hostname", hostname);
  return hops(tracing, host, planOf(options));
}

async function* hops(
  tracing: Tracing,
  host: string,
  plan: Plan,
): AsyncGenerator<TracerouteHop, void, undefined> {
  if (plan.signal?.aborted) throw aborted(plan.signal);
  // Everything ends by this: the caller's signal, the end of the stack, and that nobody asks any more.
  const end = new AbortController();
  const onAbort = (): void => end.abort(plan.signal === null ? undefined : aborted(plan.signal));
  plan.signal?.addEventListener("abort", onAbort, { once: true });
  const closing = { close: (error: Error): void => end.abort(error) };
  tracing.open.add(closing);
  let udp: UdpProber | null = null;
  try {
    const to = check.addressLiteral(host) ?? (await tracing.resolve(host, end.signal))[0] ?? host;
    if (plan.method === "udp") udp = new UdpProber(tracing);
    const prober = udp?.probe ?? (plan.method === "tcp" ? tcpProber(tracing) : icmpProber(tracing));
    for (let hop = plan.firstHop; hop <= plan.maxHops; hop += 1) {
      const probes = await Promise.all(
        Array.from({ length: plan.probes }, (_, number) => {
          const index = (hop - plan.firstHop) * plan.probes + number;
          return prober({ to, hop, index, plan, signal: end.signal });
        }),
      );
      const isLast = probes.some(({ result }) => result === "reached" || result === "unreachable");
      yield { hop, probes, reached: probes.some(({ result }) => result === "reached") };
      if (isLast) return;
    }
  } catch (error) {
    // A probe names the signal that ended all of them as its cause.
    throw end.signal.aborted ? end.signal.reason : error;
  } finally {
    end.abort();
    udp?.close();
    tracing.open.delete(closing);
    plan.signal?.removeEventListener("abort", onAbort);
  }
}

const SILENCE: TracerouteProbe = { address: null, rtt: null, result: "timeout", error: null };

/** What an ICMP error says about the way to `to`. */
function resultOf(to: string, { reporter, type, code }: IcmpReport): TracerouteProbe["result"] {
  const isIpv6 = to.includes(":");
  if (type === (isIpv6 ? 3 : 11)) return "exceeded";
  const isPortUnreachable = isIpv6 ? type === 1 && code === 4 : type === 3 && code === 3;
  return isPortUnreachable && reporter === to ? "reached" : "unreachable";
}

/** Milliseconds since a point of the engine's time. */
function since(engine: EngineCore, micros: number): number {
  return (engine.now() - micros) / MICROSECONDS;
}

/** Settles a probe, once: by an answer, by time, or by the signal. */
function waiting(
  { engine }: Tracing,
  { plan, signal }: Probe,
  ended: () => void,
): { promise: Promise<TracerouteProbe>; answer: (answer: TracerouteProbe) => void } {
  const { promise, resolve, reject } = deferred<TracerouteProbe>();
  const finish = (): void => {
    timer.clear();
    signal.removeEventListener("abort", onAbort);
    ended();
  };
  const answer = (given: TracerouteProbe): void => {
    finish();
    resolve(given);
  };
  const onAbort = (): void => {
    finish();
    reject(signal.reason);
  };
  const timer = new DueTimer(engine, () => answer(SILENCE));
  timer.set(engine.now() + plan.timeout * MICROSECONDS, true);
  signal.addEventListener("abort", onAbort, { once: true });
  return { promise, answer };
}

/** Echo requests: whom they reach answers. */
function icmpProber({ engine, host, open }: Tracing): Prober {
  return async ({ to, hop, plan, signal }) => {
    const begun = engine.now();
    const { size, timeout } = plan;
    const outcome = await echo(engine, host, { to, size, timeout, ttl: hop, signal }, open);
    if (outcome.rtt !== null) {
      return { address: to, rtt: outcome.rtt, result: "reached", error: null };
    }
    if (outcome.why === null) return SILENCE;
    const { reporter: address, exceeded, why } = outcome;
    const rtt = since(engine, begun);
    if (exceeded) return { address, rtt, result: "exceeded", error: null };
    const options = { remoteAddress: to };
    const error = new SocketError(why.code, `traceroute to ${to}: ${why.text}`, options);
    return { address, rtt, result: "unreachable", error };
  };
}

/** Datagrams, each to a port of its own, by which the errors are told apart. */
class UdpProber {
  readonly probe: Prober = (probe) => this.#send(probe);
  readonly #tracing: Tracing;
  readonly #socket: UdpSocket;
  /** Who waits, by the port that was asked. */
  readonly #waiting = new Map<
    number,
    { begun: number; answer: (given: TracerouteProbe) => void }
  >();

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
    this.#socket = tracing.bindUdp();
    this.#socket.onerror = (error, target, icmp) => {
      const { reporter: address } = icmp;
      const result = resultOf(target.address, icmp);
      const why = result === "unreachable" ? error : null;
      this.#answer(target.port, (rtt) => ({ address, rtt, result, error: why }));
    };
    this.#socket.onready = (socket) => {
      for (let next = socket.tryReceive(); next !== null; next = socket.tryReceive()) {
        const { remoteAddress: address, remotePort } = next;
        this.#answer(remotePort, (rtt) => ({ address, rtt, result: "reached", error: null }));
      }
    };
  }

  #answer(port: number, given: (rtt: number) => TracerouteProbe): void {
    const waiter = this.#waiting.get(port);
    waiter?.answer(given(since(this.#tracing.engine, waiter.begun)));
  }

  #send(probe: Probe): Promise<TracerouteProbe> {
    const { to, hop, index, plan } = probe;
    const port = plan.port + index;
    this.#socket.setOptions({ ttl: hop });
    this.#socket.send(new Uint8Array(plan.size), { remoteAddress: to, remotePort: port });
    const { promise, answer } = waiting(this.#tracing, probe, () => this.#waiting.delete(port));
    this.#waiting.set(port, { begun: this.#tracing.engine.now(), answer });
    return promise;
  }

  close(): void {
    void this.#socket.close();
  }
}

/** SYNs: whom they reach accepts, which is answered by a reset, or refuses. */
function tcpProber(tracing: Tracing): Prober {
  const { engine, host } = tracing;
  return (probe) => {
    const { to, hop, plan } = probe;
    const id = engine.call(
      (wasm, now) => {
        const settings = tcpValues("options", { hopLimit: hop });
        const count = engine.give(ipNumbers(to), optionalIp(""), settings);
        return wasm.connect(now, host, plan.port, 0, Number.POSITIVE_INFINITY, false, count);
      },
      `traceroute to ${to}`,
      { remoteAddress: to },
    );
    const begun = engine.now();
    const { promise, answer } = waiting(tracing, probe, () => {
      engine.removeObserver(look);
      engine.removeSink(id);
      if (engine.over === null) engine.call((wasm, now) => wasm.close(now, id, true));
      engine.wake();
    });
    // A router's error does not end an attempt to connect, so nobody is told of it.
    const look = (): void => {
      const icmp = engine.record<IcmpReport>(report, (wasm) => wasm.connection_report(id));
      if (icmp === null) return;
      const result = resultOf(to, icmp);
      const text = `traceroute to ${to}: unreachable (ICMP type ${icmp.type}, code ${icmp.code})`;
      const error =
        result === "unreachable"
          ? new SocketError("EHOSTUNREACH", text, { remoteAddress: to })
          : null;
      answer({ address: icmp.reporter, rtt: since(engine, begun), result, error });
    };
    const sink: Sink = {
      onSignals(signals) {
        const rtt = since(engine, begun);
        const reached: TracerouteProbe = { address: to, rtt, result: "reached", error: null };
        if (signals & Signal.connected) answer(reached);
        if ((signals & Signal.closed) === 0 || (signals & Signal.connected) !== 0) return;
        const why = closeReason(engine, id)?.why ?? null;
        if (why?.code === "ECONNREFUSED") answer(reached);
        else look();
      },
      onEngineOver() {},
    };
    engine.addSink(id, sink);
    engine.addObserver(look);
    engine.wake();
    return promise;
  };
}
