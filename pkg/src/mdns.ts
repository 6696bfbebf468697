/** Multicast DNS and service discovery (RFC 6762, RFC 6763): core's state of a link, on UDP port 5353 of one interface. */

import * as check from "./arguments.js";
import { inBackground } from "./background.js";
import { deferred, type EngineCore } from "./engine_core.js";
import { SocketError } from "./errors.js";
import type { NicImpl } from "./nic.js";
import type { Services } from "./services.js";
import { DueTimer } from "./timer.js";
import type {
  Mdns,
  MdnsOptions,
  PublishedService,
  ServiceChange,
  ServiceDetails,
  ServiceName,
  ServiceOptions,
  ServiceText,
  Stack,
  UdpSocket,
  WaitOptions,
} from "./types.js";
import { aborted, Waiters } from "./waiters.js";
import type { Bindings } from "./wasm/services_bindings.js";

const PORT = 5353;
const GROUP_V4 = "224.0.0.251";
const GROUP_V6 = "ff02::fb";
/** RFC 6762 §11: "All Multicast DNS responses (including responses sent via unicast) SHOULD be sent with IP TTL set to 255." */
const HOP_LIMIT = 255;
/** How long an answer is waited for. */
const TIMEOUT = 5_000;
/** Octets of an item of a text (RFC 6763 §6.1). */
const MAX_ITEM = 255;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What `poll_mdns` of the module tells. */
interface Event {
  kind: "named" | "registered" | "answers";
  number: number;
}

/** What `found_service` of the module tells. */
interface Found {
  hostname: string;
  port: number;
  text: Uint8Array<ArrayBuffer> | null;
  addresses: string;
}

/** Who waits for the answers to a question. */
interface Question {
  /** There is more, less or other. */
  news(): void;
  over(error: Error): void;
}

/** The data of a TXT record: each item after an octet with its length. */
function encodeText(argument: string, text: ServiceText | undefined): Uint8Array {
  const items = Object.entries(check.options(argument, text)).map(([key, value]) => {
    // RFC 6763 §6.4: printable US-ASCII without "=".
    if (!/^[ -<>-~]+$/.test(key)) throw new RangeError(`${argument}: ${check.show(key)} is no key`);
    const own = value === true ? "" : `=${check.string(`${argument}.${key}`, value)}`;
    const item = encoder.encode(key + own);
    if (item.length > MAX_ITEM) throw new RangeError(`${argument}.${key} is too long`);
    return item;
  });
  const data = new Uint8Array(items.reduce((sum, item) => sum + 1 + item.length, 0));
  let at = 0;
  for (const item of items) {
    data[at] = item.length;
    data.set(item, at + 1);
    at += 1 + item.length;
  }
  return data;
}

/** The same backwards. RFC 6763 §6.4: items without a key are ignored, and of several with one key all but the first. */
function decodeText(data: Uint8Array): ServiceText {
  const text: Record<string, string | true> = {};
  for (let at = 0; at < data.length; at += 1 + (data[at] ?? 0)) {
    const item = decoder.decode(data.subarray(at + 1, at + 1 + (data[at] ?? 0)));
    const end = item.indexOf("=");
    const key = end < 0 ? item : item.slice(0, end);
    if (key !== "" && !Object.hasOwn(text, key)) text[key] = end < 0 ? true : item.slice(end + 1);
  }
  return text;
}

function serviceName(argument: string, service: ServiceName): ServiceName {
  const { name, type } = check.options(argument, service);
  return {
    name: check.string(`${argument}.name`, name),
    type: check.string(`${argument}.type`, type),
  };
}

/** See {@link Mdns}. */
export class MdnsImpl implements Mdns {
  readonly nic: NicImpl;
  readonly #engine: EngineCore;
  readonly #services: Services;
  readonly #socket: UdpSocket;
  readonly #timer: DueTimer;
  /** What the services' module calls it. */
  readonly #link: number;
  readonly #published = new Map<number, PublishedImpl>();
  readonly #questions = new Map<number, Question>();
  readonly #released: (mdns: MdnsImpl) => void;
  #addresses = "";
  #over: Error | null = null;

  /** @throws {SocketError} if port 5353 is taken by a socket that does not share it; RangeError if the name cannot be one. */
  constructor(
    stack: Stack,
    nic: NicImpl,
    services: Services,
    seed: readonly [number, number],
    options: MdnsOptions | undefined,
    released: (mdns: MdnsImpl) => void,
  ) {
    const given = check.options("options", options);
    const hostname = check.string("options.hostname", given.hostname ?? stack.hostname);
    this.nic = nic;
    this.#engine = nic.engine;
    this.#services = services;
    this.#released = released;
    const settings = { ttl: HOP_LIMIT, multicastTtl: HOP_LIMIT, sharePort: true };
    this.#socket = inBackground(stack.bindUdp({ port: PORT, ...settings }));
    try {
      for (const group of [GROUP_V4, GROUP_V6]) this.#socket.joinGroup(group, nic);
      this.#link = services.call((wasm) => wasm.create_mdns(...seed, nic.id, hostname));
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    this.#timer = new DueTimer(this.#engine, () => this.run());
    this.#socket.onready = () => this.#receive();
    this.run();
  }

  get hostname(): string {
    this.#assertOpen();
    return this.#services.call((wasm) => wasm.mdns_hostname(this.#link));
  }

  async publish(service: ServiceOptions): Promise<PublishedService> {
    const { name, type } = serviceName("service", service);
    const port = check.port("service.port", service.port);
    const text = encodeText("service.text", service.text);
    const subtypes = check.strings("service.subtypes", service.subtypes).join("\n");
    this.#assertOpen();
    const number = this.#services.call((wasm, now) =>
      wasm.publish_service(now, this.#link, name, type, subtypes, port, text),
    );
    const published = new PublishedImpl(this, number, type);
    this.#published.set(number, published);
    this.run();
    await published.registered;
    return published;
  }

  browse(type: string, options?: { signal?: AbortSignal }): AsyncIterableIterator<ServiceChange> {
    const wanted = check.string("type", type);
    const signal = check.abortSignal("options.signal", check.options("options", options).signal);
    this.#assertOpen();
    const number = this.#services.call((wasm, now) =>
      wasm.ask_for_service(now, this.#link, wanted, ""),
    );
    const browsing = new Browsing(
      wanted,
      signal,
      () => this.#instances(number),
      () => this.#cancel(number),
    );
    this.#questions.set(number, browsing);
    this.run();
    return browsing;
  }

  #instances(question: number): string[] {
    const rows = this.#services.rows<{ name: string }>((wasm) =>
      wasm.found_instances(this.#link, question),
    );
    return rows.map(({ name }) => name);
  }

  async resolve(service: ServiceName, options?: WaitOptions): Promise<ServiceDetails> {
    const { name, type } = serviceName("service", service);
    if (name === "") throw new RangeError("service.name must not be empty");
    return this.#ask(
      `${name}.${type}`,
      options,
      (wasm, now) => wasm.ask_for_service(now, this.#link, type, name),
      (number) => {
        const found = this.#services.row<Found>((wasm) => wasm.found_service(this.#link, number));
        if (found === null || found.text === null || found.addresses === "") return null;
        const { hostname, port, text, addresses } = found;
        return {
          name,
          type,
          hostname,
          port,
          text: decodeText(text),
          addresses: addresses.split(" "),
        };
      },
    );
  }

  async lookup(hostname: string, options?: WaitOptions): Promise<string[]> {
    const host = check.string("hostname", hostname);
    return this.#ask(
      host,
      options,
      (wasm, now) => wasm.ask_for_host(now, this.#link, host),
      (number) => {
        const found = this.#services.call((wasm) => wasm.found_addresses(this.#link, number));
        return found === "" ? null : found.split(" ");
      },
    );
  }

  /** Asks until there is an answer, or it is too late. */
  async #ask<T>(
    what: string,
    options: WaitOptions | undefined,
    begin: (wasm: Bindings, now: number) => number,
    answer: (question: number) => T | null,
  ): Promise<T> {
    const given = check.options("options", options);
    const signal = check.abortSignal("options.signal", given.signal);
    const timeout = check.duration("options.timeout", given.timeout ?? TIMEOUT, 1);
    this.#assertOpen();
    if (signal?.aborted) throw aborted(signal);
    const number = this.#services.call(begin);
    const settled = deferred<T>();
    const timer = this.#engine.clock.setTimer(
      () => settled.reject(new SocketError("ENOTFOUND", `${what}: nobody on the link answers`)),
      timeout,
    );
    const onAbort = (): void => {
      if (signal !== null) settled.reject(aborted(signal));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#questions.set(number, {
      news: () => {
        const found = answer(number);
        if (found !== null) settled.resolve(found);
      },
      over: (error) => settled.reject(error),
    });
    this.run();
    try {
      return await settled.promise;
    } finally {
      this.#engine.clock.clearTimer(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#cancel(number);
    }
  }

  #cancel(question: number): void {
    if (!this.#questions.delete(question) || this.#isOver) return;
    this.#services.call((wasm) => wasm.cancel_mdns_question(this.#link, question));
  }

  /** The name of a published service as it is now. */
  nameOf(service: number): string {
    this.#assertOpen();
    return this.#services.call((wasm) => wasm.published_name(this.#link, service)) ?? "";
  }

  setText(service: number, text: ServiceText): void {
    const data = encodeText("text", text);
    this.#assertOpen();
    this.#services.call((wasm, now) => wasm.set_service_text(now, this.#link, service, data));
    this.run();
  }

  withdraw(service: number): void {
    if (!this.#published.delete(service) || this.#isOver) return;
    this.#services.call((wasm, now) => wasm.withdraw_service(now, this.#link, service));
    this.run();
  }

  get #isOver(): boolean {
    return this.#over !== null || this.#engine.over !== null || this.#services.over !== null;
  }

  #assertOpen(): void {
    if (this.#over !== null) throw this.#over;
  }

  /** Does what is due, sends, and tells what is new. */
  run(): void {
    if (this.#isOver) return;
    const certain = this.nic
      .addressInfo()
      .filter(({ state }) => state === "preferred" || state === "deprecated")
      .map(({ prefix }) => prefix);
    const addresses = certain.join(" ");
    if (addresses !== this.#addresses) {
      this.#addresses = addresses;
      this.#services.call((wasm, now) => wasm.set_mdns_addresses(now, this.#link, addresses));
    }
    this.#send();
    this.#tell();
    if (this.#isOver) return;
    const due = this.#services.call((wasm) => wasm.mdns_due(this.#link));
    const isAwaited = [...this.#published.values()].some(({ isPending }) => isPending);
    this.#timer.set(due, isAwaited || this.#questions.size > 0);
  }

  #receive(): void {
    for (;;) {
      const datagram = this.#isOver ? null : this.#socket.tryReceive();
      if (datagram === null) break;
      const { data, remoteAddress, remotePort, localAddress, nic } = datagram;
      if (nic !== this.nic) continue;
      const answer = this.#services.row<{ message: Uint8Array<ArrayBuffer> }>((wasm, now) =>
        wasm.handle_mdns(now, this.#link, remoteAddress, remotePort, localAddress, data),
      );
      if (answer !== null) this.#sendTo(answer.message, remoteAddress, remotePort);
    }
    this.run();
  }

  #send(): void {
    const has = (mark: string) => this.#addresses.split(" ").some((text) => text.includes(mark));
    const groups = [...(has(".") ? [GROUP_V4] : []), ...(has(":") ? [GROUP_V6] : [])];
    for (;;) {
      const sent = this.#services.row<{ message: Uint8Array<ArrayBuffer> }>((wasm, now) =>
        wasm.transmit_mdns(now, this.#link),
      );
      if (sent === null) return;
      for (const group of groups) this.#sendTo(sent.message, group, PORT);
    }
  }

  #sendTo(message: Uint8Array<ArrayBuffer>, remoteAddress: string, remotePort: number): void {
    try {
      this.#socket.send(message, { remoteAddress, remotePort, nic: this.nic });
    } catch {
      // What the stack cannot send is lost like other messages, and what matters is told again.
    }
  }

  #tell(): void {
    for (;;) {
      if (this.#isOver) return;
      const event = this.#services.row<Event>((wasm) => wasm.poll_mdns(this.#link));
      if (event === null) return;
      if (event.kind === "registered") this.#published.get(event.number)?.register();
      if (event.kind === "answers") this.#questions.get(event.number)?.news();
    }
  }

  close(): void {
    this.end(new SocketError("ABORT_ERR", `multicast DNS on ${this.nic.name} was closed`));
  }

  /** Says good-bye, as far as that can still be done, and settles what waits. */
  end(error: Error): void {
    if (this.#over !== null) return;
    if (!this.#isOver && !this.nic.isClosed) {
      this.#services.call((wasm, now) => wasm.shut_down_mdns(now, this.#link));
      this.#send();
      this.#engine.call((wasm, now) => wasm.send_waiting(now));
    }
    if (!this.#isOver) this.#services.call((wasm) => wasm.forget_mdns(this.#link));
    this.#over = error;
    this.#timer.clear();
    if (this.#engine.over === null) this.#socket.close();
    for (const published of this.#published.values()) published.over(error);
    for (const question of this.#questions.values()) question.over(error);
    this.#published.clear();
    this.#questions.clear();
    this.#released(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** See {@link PublishedService}. */
class PublishedImpl implements PublishedService {
  readonly type: string;
  readonly #mdns: MdnsImpl;
  readonly #number: number;
  readonly #registering = deferred<void>();
  #isPending = true;
  #isOver = false;

  constructor(mdns: MdnsImpl, number: number, type: string) {
    this.#mdns = mdns;
    this.#number = number;
    this.type = type;
  }

  /** Until its name is certain to be its own. */
  get registered(): Promise<void> {
    return this.#registering.promise;
  }

  get isPending(): boolean {
    return this.#isPending;
  }

  register(): void {
    this.#isPending = false;
    this.#registering.resolve();
  }

  over(error: Error): void {
    this.#isOver = true;
    this.#registering.reject(error);
  }

  get name(): string {
    return this.#isOver ? "" : this.#mdns.nameOf(this.#number);
  }

  setText(text: ServiceText): void {
    if (this.#isOver) throw new TypeError("the service was withdrawn");
    this.#mdns.setText(this.#number, text);
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#mdns.withdraw(this.#number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The instances of a type of service, as they come and go. */
class Browsing implements AsyncIterableIterator<ServiceChange>, Question {
  readonly #type: string;
  readonly #signal: AbortSignal | null;
  readonly #instances: () => string[];
  readonly #cancel: () => void;
  readonly #told = new Set<string>();
  readonly #waiters = new Waiters<ServiceChange | null>();
  #over: Error | null = null;
  #isDone = false;

  constructor(
    type: string,
    signal: AbortSignal | null,
    instances: () => string[],
    cancel: () => void,
  ) {
    this.#type = type.split("._sub.").at(-1) ?? type;
    this.#signal = signal;
    this.#instances = instances;
    this.#cancel = cancel;
  }

  /** What differs from what was told: nothing has to be kept for who is late. */
  #next(): ServiceChange | null {
    const known = new Set(this.#instances());
    const gone = [...this.#told].find((name) => !known.has(name));
    const name = gone ?? [...known].find((found) => !this.#told.has(found));
    if (name === undefined) return null;
    if (gone === undefined) this.#told.add(name);
    else this.#told.delete(name);
    return { kind: gone === undefined ? "found" : "gone", service: { name, type: this.#type } };
  }

  news(): void {
    while (this.#waiters.length > 0) {
      const change = this.#next();
      if (change === null) return;
      this.#waiters.resolve(change);
    }
  }

  over(error: Error): void {
    this.#over = error;
    this.#waiters.rejectAll(error);
  }

  async next(): Promise<IteratorResult<ServiceChange, undefined>> {
    if (this.#isDone) return { value: undefined, done: true };
    try {
      if (this.#over !== null) throw this.#over;
      const known = this.#signal?.aborted || this.#waiters.length > 0 ? null : this.#next();
      const value = known ?? (await this.#waiters.wait(this.#signal));
      if (value !== null) return { value, done: false };
    } catch (error) {
      this.#end();
      throw error;
    }
    return { value: undefined, done: true };
  }

  async return(): Promise<IteratorResult<ServiceChange, undefined>> {
    this.#end();
    return { value: undefined, done: true };
  }

  #end(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#cancel();
    while (this.#waiters.length > 0) this.#waiters.resolve(null);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
