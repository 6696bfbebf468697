/** A stack's resolver: core's state machine, and a socket of its own for each query that it sends. */

import { microtask } from "./clock.js";
import { deferred, type EngineCore } from "./engine_core.js";
import { SocketError } from "./errors.js";
import type { Services } from "./services.js";
import { DueTimer } from "./timer.js";
import type { DnsRecord, Stack } from "./types.js";
import { aborted } from "./waiters.js";
import type { Bindings } from "./wasm/services_bindings.js";

/** The response code of an answer that is one (RFC 1035 §4.1.1). */
const NO_ERROR = 0;

/** Why a name has no answer. */
export type LookupReason = "noName" | "noRecord" | "noAnswer" | "serversFailed" | "noServer";

/** What the module says, by reason. */
const REASONS: ReadonlyMap<string, LookupReason> = new Map([
  ["no server has answered", "noAnswer"],
  ["no server could tell", "serversFailed"],
  ["no name server is known", "noServer"],
]);

/** A name has no answer, for people ENOTFOUND; why, for who has to tell the cases apart. */
export class LookupError extends SocketError {
  readonly reason: LookupReason;

  constructor(host: string, text: string, reason: LookupReason = REASONS.get(text) ?? "noName") {
    super("ENOTFOUND", `${host}: ${text}`);
    this.reason = reason;
  }
}

/** What is known of a name. */
export interface Resolved {
  /** 4 or 6 while only that family is known, 0 while none is, 46 at the end. */
  known: number;
  /** IPv6 first. */
  addresses: string[];
}

interface RawOutcome {
  known: number;
  addresses: string;
  failure: string | null;
}

/** A query to send. */
interface RawQuery {
  query: string;
  message: Uint8Array<ArrayBuffer>;
  address: string;
  port: number;
  stream: number;
}

interface Pending {
  host: string;
  settle: ReturnType<typeof deferred<string[]>>;
  progress: ((resolved: Resolved) => void) | null;
}

/** A question whose answer is wanted as a message. */
interface Asked {
  host: string;
  type: string;
  settle: ReturnType<typeof deferred<Uint8Array<ArrayBuffer>>>;
}

/** See the module's comment. */
export class Resolver {
  readonly #engine: EngineCore;
  readonly #stack: Stack;
  readonly #services: Services;
  readonly #timer: DueTimer;
  readonly #lookups = new Map<number, Pending>();
  readonly #asked = new Map<number, Asked>();
  /** What closes the socket of a query. */
  readonly #queries = new Map<string, () => void>();

  constructor(stack: Stack, services: Services, seed: readonly [number, number]) {
    this.#engine = stack.engine as EngineCore;
    this.#stack = stack;
    this.#services = services;
    this.#timer = new DueTimer(this.#engine, () => this.#run());
    services.call((wasm) => wasm.create_resolver(...seed));
  }

  /** Says which servers are asked, and which domains complete short names. */
  configure(servers: readonly string[], search: readonly string[]): void {
    this.#services.call((wasm) => wasm.configure_resolver(servers.join(" "), search.join(" ")));
  }

  /** The addresses of a name, IPv6 first; `progress` is told of the family that is known first. */
  resolve(
    host: string,
    family: 0 | 4 | 6,
    signal: AbortSignal | null,
    progress: ((resolved: Resolved) => void) | null = null,
  ): Promise<string[]> {
    const settle = deferred<string[]>();
    return this.#begin(
      (wasm, now) => wasm.resolve(now, host, family),
      (lookup) => this.#lookups.set(lookup, { host, settle, progress }),
      settle,
      signal,
    );
  }

  /** What a server answers to a question of any type, as a message. */
  ask(host: string, type: string, signal: AbortSignal | null): Promise<Uint8Array<ArrayBuffer>> {
    const settle = deferred<Uint8Array<ArrayBuffer>>();
    return this.#begin(
      (wasm, now) => wasm.ask(now, host, type),
      (lookup) => this.#asked.set(lookup, { host, type, settle }),
      settle,
      signal,
    );
  }

  /** The records of a type, whatever aliases lead to them. */
  async records(host: string, type: string, signal: AbortSignal | null): Promise<DnsRecord[]> {
    const message = await this.ask(host, type, signal);
    const code = this.#services.call((wasm) => wasm.response_code(message));
    const found =
      code === NO_ERROR
        ? this.#services.rows<DnsRecord>((wasm) => wasm.answers_in(message, type))
        : [];
    if (found.length > 0) return found;
    if (code === NO_ERROR)
      throw new LookupError(host, `the name has no ${type} record`, "noRecord");
    throw new LookupError(host, "there is no such name");
  }

  #begin<T>(
    start: (wasm: Bindings, now: number) => number,
    keep: (lookup: number) => void,
    settle: ReturnType<typeof deferred<T>>,
    signal: AbortSignal | null,
  ): Promise<T> {
    if (signal?.aborted) return Promise.reject(aborted(signal));
    let lookup: number;
    try {
      lookup = this.#services.call(start);
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      return Promise.reject(new SocketError("ENOTFOUND", text, { cause }));
    }
    keep(lookup);
    const onAbort = (): void => {
      const isOpen = this.#lookups.delete(lookup) || this.#asked.delete(lookup);
      if (!isOpen || signal === null) return;
      this.#services.call((wasm) => wasm.cancel_lookup(lookup));
      settle.reject(aborted(signal));
      this.#run();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#run();
    return settle.promise.finally(() => signal?.removeEventListener("abort", onAbort));
  }

  /** What is waited for here, for people. */
  waits(): string[] {
    return [
      ...[...this.#lookups.values()].map(({ host }) => `resolve ${host}`),
      ...[...this.#asked.values()].map(({ host, type }) => `resolve ${host}, type ${type}`),
    ];
  }

  /** Those who wait for answers wait for ever. */
  vanish(): void {
    this.#timer.clear();
    this.#lookups.clear();
    this.#asked.clear();
  }

  close(error: Error): void {
    this.#timer.clear();
    for (const { settle } of this.#lookups.values()) settle.reject(error);
    for (const { settle } of this.#asked.values()) settle.reject(error);
    this.#lookups.clear();
    this.#asked.clear();
  }

  #run(): void {
    if (this.#engine.over !== null || this.#services.over !== null) return;
    let due = this.#services.call((wasm, now) => wasm.resolver_due(now));
    for (;;) {
      const query = this.#services.row<RawQuery>((wasm, now) => wasm.transmit_query(now));
      if (query === null) break;
      if (query.stream === 1) void this.#sendByTcp(query);
      else this.#sendByUdp(query);
      due = this.#services.call((wasm, now) => wasm.resolver_due(now));
    }
    for (const [query, close] of [...this.#queries]) {
      if (this.#services.call((wasm) => wasm.query_is_waiting(query))) continue;
      this.#queries.delete(query);
      close();
    }
    for (const [lookup, pending] of [...this.#lookups]) this.#look(lookup, pending);
    for (const [lookup, asked] of [...this.#asked]) this.#lookForAnswer(lookup, asked);
    this.#timer.set(due, this.#lookups.size + this.#asked.size > 0);
  }

  #look(lookup: number, { host, settle, progress }: Pending): void {
    const outcome = this.#services.row<RawOutcome>((wasm) => wasm.lookup_outcome(lookup));
    if (outcome === null) return;
    const addresses = outcome.addresses === "" ? [] : outcome.addresses.split(" ");
    if (outcome.known !== 46) {
      if (outcome.known !== 0) progress?.({ known: outcome.known, addresses });
      return;
    }
    this.#lookups.delete(lookup);
    if (outcome.failure === null) settle.resolve(addresses);
    else settle.reject(new LookupError(host, outcome.failure));
  }

  #lookForAnswer(lookup: number, { host, settle }: Asked): void {
    const message = this.#services.call((wasm) => wasm.answer_to(lookup));
    if (message !== undefined) {
      this.#asked.delete(lookup);
      settle.resolve(message as Uint8Array<ArrayBuffer>);
      return;
    }
    const outcome = this.#services.row<RawOutcome>((wasm) => wasm.lookup_outcome(lookup));
    if (outcome === null || outcome.failure === null) return;
    this.#asked.delete(lookup);
    settle.reject(new LookupError(host, outcome.failure));
  }

  /** Gives the resolver what came, or tells it that nothing will, and goes on. */
  #hear({ query, address, port }: RawQuery, message: Uint8Array): void {
    if (this.#engine.over !== null || this.#services.over !== null) return;
    this.#services.call((wasm, now) => wasm.handle_query(now, query, address, port, message));
    microtask(() => this.#run());
  }

  #sendByUdp(sent: RawQuery): void {
    const nothing = new Uint8Array(0);
    try {
      const socket = this.#stack.bindUdp();
      this.#queries.set(sent.query, () => void socket.close());
      socket.onready = () => {
        for (;;) {
          const datagram = socket.tryReceive();
          if (datagram === null) return;
          const { remoteAddress: address, remotePort: port, data } = datagram;
          if (data.byteLength > 0) this.#hear({ ...sent, address, port }, data);
        }
      };
      socket.onerror = () => this.#hear(sent, nothing);
      socket.send(sent.message, { remoteAddress: sent.address, remotePort: sent.port });
    } catch {
      // No port, no route: another server may have one.
      this.#hear(sent, nothing);
    }
  }

  /** RFC 7766 §8: two octets of length, then the message. */
  async #sendByTcp(sent: RawQuery): Promise<void> {
    let answer: Uint8Array = new Uint8Array(0);
    const socket = this.#stack.connect({ hostname: sent.address, port: sent.port });
    this.#queries.set(sent.query, () => socket.abort());
    socket.closed.catch(() => {});
    try {
      const framed = new Uint8Array(2 + sent.message.byteLength);
      new DataView(framed.buffer).setUint16(0, sent.message.byteLength);
      framed.set(sent.message, 2);
      await socket.writable.getWriter().write(framed);
      answer = await readFramed(socket.readable);
    } catch {
      // The resolver turns to another server.
    }
    this.#hear(sent, answer);
  }
}

/** The message that a stream begins with; empty if it ends before. */
async function readFramed(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
  let bytes = new Uint8Array(0);
  for await (const chunk of stream) {
    const longer = new Uint8Array(bytes.byteLength + chunk.byteLength);
    longer.set(bytes);
    longer.set(chunk, bytes.byteLength);
    bytes = longer;
    if (bytes.byteLength < 2) continue;
    const length = new DataView(bytes.buffer).getUint16(0);
    if (bytes.byteLength >= 2 + length) return bytes.slice(2, 2 + length);
  }
  return new Uint8Array(0);
}
