/** A stack of another thread, as this one uses it. */

import * as check from "../arguments.js";
import { connectPlan, listenPlan } from "../connect_options.js";
import { deferred } from "../engine_core.js";
import { SocketError } from "../errors.js";
import { messagePort } from "../ports/message.js";
import { clientSecurity, serverSecurity } from "../tls/secure.js";
import type {
  ConnectOptions,
  ConnectTarget,
  ListenOptions,
  SocketAddress,
  StackOptions,
  TraceEvent,
  TracerouteHop,
  TracerouteOptions,
  UdpOptions,
} from "../types.js";
import type { LinkPort } from "../types_ports.js";
import { aborted } from "../waiters.js";
import { Channel, received, STACK, sendable, type Target, withoutSignal } from "./channel.js";
import {
  HELLO,
  type Hello,
  NIC_METHODS,
  NIC_PROPERTIES,
  type NicInfo,
  STACK_METHODS,
  type Welcome,
} from "./protocol.js";
import { RemoteListener } from "./remote_listener.js";
import { RemoteSocket, securedBy } from "./remote_socket.js";
import { RemoteUdp } from "./remote_udp.js";
import type {
  WorkerInterfaceOptions,
  WorkerListener,
  WorkerNic,
  WorkerSocket,
  WorkerStack,
  WorkerTrace,
  WorkerUdpSocket,
} from "./types.js";

/** A worker, or what else a thread is reached by: a shared worker's port, a worker of Node. */
export interface WorkerTarget {
  /** Sends a message, and what moves with it. */
  postMessage(message: unknown, transfer: never): void;
  /** Listens for messages and errors, as browsers have it. */
  addEventListener?(type: string, listener: (event: unknown) => void): void;
  /** Takes that back. */
  removeEventListener?(type: string, listener: (event: unknown) => void): void;
  /** Listens for messages and errors, as Node has it. */
  on?(type: string, listener: (value: unknown) => void): unknown;
  /** Takes that back. */
  off?(type: string, listener: (value: unknown) => void): unknown;
  /** Lets messages come (`MessagePort`). */
  start?(): void;
}

/** How a stack of a worker is made. */
export interface WorkerStackOptions extends Omit<StackOptions, "engine"> {
  /** Ends the wait for the worker. */
  signal?: AbortSignal;
}

/**
 * Makes a stack in a worker whose script calls `exposeStack`. Rejects with what making it there was answered with, if the worker's script fails, or with
 * ABORT_ERR by the signal. The worker may have several. Closing the stack does not end the worker; when the worker ends, all that waits rejects.
 */
export async function createStackWorker(
  worker: WorkerTarget,
  options: WorkerStackOptions = {},
): Promise<WorkerStack> {
  const { sent, signal } = withoutSignal([check.options("options", options)]);
  if (signal?.aborted) throw aborted(signal);
  const { port1, port2 } = new MessageChannel();
  const settled = deferred<Welcome>();
  port1.onmessage = ({ data }: MessageEvent<Welcome>) => settled.resolve(data);
  const gone = watch(worker, (error) => settled.reject(error));
  const onAbort = (): void => {
    if (signal !== null) settled.reject(aborted(signal));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const hello: Hello = { [HELLO]: { port: port2, options: sent[0] as StackOptions } };
    worker.postMessage(hello, [port2] as never);
    const welcome = await settled.promise;
    if ("refused" in welcome) throw received(welcome.refused);
    const stack = new RemoteStack(port1, welcome.hostname, gone.forget);
    gone.tell((error) => stack.end(error));
    if (welcome.lock !== null) stack.watchLock(welcome.lock);
    return stack as unknown as WorkerStack;
  } catch (error) {
    port1.close();
    gone.forget();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Notices that a worker fails or ends. */
function watch(
  worker: WorkerTarget,
  first: (error: Error) => void,
): { tell(listener: (error: Error) => void): void; forget(): void } {
  let listener = first;
  const over = (text: string, cause?: unknown): void =>
    listener(new SocketError("ABORT_ERR", text, cause === undefined ? {} : { cause }));
  const events: [string, (event: unknown) => void][] = [
    // In browsers also for errors that the worker survives, which say so by their message.
    [
      "error",
      (event) => {
        if (worker.on !== undefined || listener === first) {
          const { message = "its script", error } = event as { message?: string; error?: unknown };
          over(`the worker of the stack has failed: ${message}`, error);
        }
      },
    ],
    ["exit", () => over("the worker of the stack has ended")],
  ];
  for (const [type, heard] of events) {
    if (worker.on !== undefined) worker.on(type, heard);
    else worker.addEventListener?.(type, heard);
  }
  return {
    tell(next) {
      listener = next;
    },
    forget() {
      for (const [type, heard] of events) {
        if (worker.off !== undefined) worker.off(type, heard);
        else worker.removeEventListener?.(type, heard);
      }
    },
  };
}

/** Gives a class methods that are calls to the other thread. */
function promiseMethods(of: { prototype: object }, methods: readonly string[]): void {
  for (const method of methods) {
    Object.defineProperty(of.prototype, method, {
      configurable: true,
      writable: true,
      value(this: { call(method: string, args: unknown[]): Promise<unknown> }, ...args: unknown[]) {
        return this.call(method, args);
      },
    });
  }
}

/** See {@link WorkerNic}; its methods are added below. */
class RemoteNic {
  readonly number: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly configured: Promise<void>;
  readonly #stack: RemoteStack;
  #port: LinkPort | null = null;

  constructor(stack: RemoteStack, { number, name, mac, mtu }: NicInfo) {
    this.#stack = stack;
    this.number = number;
    this.name = name;
    this.mac = mac;
    this.mtu = mtu;
    this.configured = this.call("configured", []) as Promise<void>;
    this.configured.catch(() => {});
  }

  call(method: string, args: unknown[]): Promise<unknown> {
    return this.#stack.callOf(this.number, method, args);
  }

  get dhcpError(): Promise<Error | null> {
    return this.call("dhcpError", []).then((error) => received(error) as Error | null);
  }

  get port(): LinkPort {
    if (this.#port === null) {
      const { port1, port2 } = new MessageChannel();
      this.#port = messagePort(port1 as never, { name: this.name });
      this.#stack.moveTo(this.number, "plug", port2).catch(() => this.#port?.close());
    }
    return this.#port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.call("close", []);
  }
}

promiseMethods(RemoteNic, NIC_METHODS);
for (const property of NIC_PROPERTIES) {
  Object.defineProperty(RemoteNic.prototype, property, {
    configurable: true,
    get(this: RemoteNic) {
      return this.call("get", [property]);
    },
  });
}

/** TLS is spoken in this thread, where certificates and the functions that choose them are: what the other needs to know of. */
function plain<T extends ConnectOptions | ListenOptions>(options: T): T {
  const { secureTransport, sni, alpn, tls, ...rest } = options as ConnectOptions;
  return rest as T;
}

/** See {@link WorkerStack}; its methods are added below. */
class RemoteStack implements Target {
  readonly hostname: string;
  readonly closed: Promise<void>;
  readonly trace: WorkerTrace;
  readonly #channel: Channel;
  readonly #forget: () => void;
  readonly #closing = deferred<void>();
  readonly #nics = new Map<number, RemoteNic>();
  readonly #unlocking = new AbortController();
  #last = STACK;

  constructor(port: MessagePort, hostname: string, forget: () => void) {
    this.hostname = hostname;
    this.closed = this.#closing.promise;
    this.#forget = forget;
    this.#channel = new Channel(port, null);
    this.#channel.add(STACK, this);
    const channel = this.#channel;
    const iterate = (): AsyncIterableIterator<TraceEvent, void, undefined> => {
      // Ends the `next` that waits in the other thread, and with it that of the generator.
      const end = new AbortController();
      const events = this.#iterate<TraceEvent>("trace", [], null, end.signal);
      return {
        next: () => events.next(),
        return: () => {
          end.abort();
          return events.return();
        },
        [Symbol.asyncIterator]() {
          return this;
        },
      };
    };
    this.trace = {
      get dropped() {
        return channel.call(STACK, "traceDropped", []) as Promise<number>;
      },
      take: (most) => this.call("takeTrace", [most]) as Promise<TraceEvent[]>,
      [Symbol.asyncIterator]: iterate,
    };
  }

  /** The other thread's stack is closed. */
  told(): void {
    this.end(new SocketError("ABORT_ERR", `the stack ${this.hostname} was closed`));
  }

  end(error: Error): void {
    this.#channel.end(error);
  }

  onChannelOver(): void {
    this.#forget();
    this.#unlocking.abort();
    this.#closing.resolve();
  }

  /** A lock that the worker holds is given to this thread when the worker is gone: `terminate` tells nobody otherwise. */
  watchLock(name: string): void {
    const { signal } = this.#unlocking;
    globalThis.navigator.locks
      .request(name, { signal }, () =>
        this.end(new SocketError("ABORT_ERR", "the worker of the stack has ended")),
      )
      .catch(() => {});
  }

  /** Interfaces cross as their numbers. */
  readonly #encoded = (value: unknown): unknown => {
    if (value instanceof RemoteNic) return { nicNumber: value.number };
    if (Array.isArray(value)) return value.map(this.#encoded);
    if (typeof value !== "object" || value === null) return value;
    if (Object.getPrototypeOf(value) !== Object.prototype) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, this.#encoded(item)]),
    );
  };

  async callOf(target: number, method: string, args: unknown[]): Promise<unknown> {
    return this.#channel.call(target, method, args.map(this.#encoded));
  }

  call(method: string, args: unknown[]): Promise<unknown> {
    return this.callOf(STACK, method, args);
  }

  async moveTo(target: number, method: string, port: MessagePort): Promise<unknown> {
    return this.#channel.call(target, method, [port], [port]);
  }

  #nic(info: NicInfo): RemoteNic {
    const known = this.#nics.get(info.number);
    if (known !== undefined) return known;
    const nic = new RemoteNic(this, info);
    this.#nics.set(info.number, nic);
    return nic;
  }

  get interfaces(): Promise<readonly WorkerNic[]> {
    return this.call("interfaces", []).then((list) =>
      (list as NicInfo[]).map((info) => this.#nic(info) as unknown as WorkerNic),
    );
  }

  get blocksInUse(): Promise<number> {
    return this.call("blocksInUse", []) as Promise<number>;
  }

  async addInterface(options: WorkerInterfaceOptions): Promise<WorkerNic> {
    const info = (await this.call("addInterface", [options])) as NicInfo;
    return this.#nic(info) as unknown as WorkerNic;
  }

  #next(): number {
    if (this.#channel.over !== null) throw this.#channel.over;
    this.#last += 1;
    return this.#last;
  }

  connect(address: ConnectTarget | string, options: ConnectOptions = {}): WorkerSocket {
    const plan = connectPlan(address, options);
    const { remote, allowHalfOpen, signal } = plan;
    const security = clientSecurity<RemoteSocket>(null, options, remote.address, plan);
    const number = this.#next();
    const { sent } = withoutSignal([plain(options)]);
    const { upgrade } = security;
    const start = { channel: this.#channel, number, remote, allowHalfOpen, signal, upgrade };
    const socket = new RemoteSocket(start);
    const given = securedBy(security, socket);
    if (socket.end !== null) return given;
    const target = { hostname: remote.address, port: remote.port };
    this.call("connect", [number, target, ...sent]).catch((error) => socket.fail(error));
    return given;
  }

  listen(options: ListenOptions): WorkerListener {
    const { allowHalfOpen, backlog } = listenPlan(options);
    const how = { allowHalfOpen, signal: null };
    const security = serverSecurity<RemoteSocket>(null, options, backlog, how);
    const number = this.#next();
    const listener = new RemoteListener(this.#channel, number, security);
    this.call("listen", [number, plain(options)]).catch((error) => listener.fail(error));
    return listener;
  }

  async bindUdp(options?: UdpOptions): Promise<WorkerUdpSocket> {
    const number = this.#next();
    const nicOf = (nic: number): WorkerNic | null =>
      (this.#nics.get(nic) as unknown as WorkerNic | undefined) ?? null;
    const socket = new RemoteUdp(this.#channel, number, nicOf, this.#encoded);
    try {
      socket.address = (await this.call("bindUdp", [number, options])) as SocketAddress;
    } catch (error) {
      socket.fail(error as Error);
      throw error;
    }
    return socket;
  }

  traceroute(
    hostname: string,
    options: TracerouteOptions = {},
  ): AsyncGenerator<TracerouteHop, void, undefined> {
    const { sent, signal } = withoutSignal([check.options("options", options)]);
    return this.#iterate<TracerouteHop>("traceroute", [hostname, ...sent], signal);
  }

  async *#iterate<T>(
    of: string,
    args: unknown[] = [],
    signal: AbortSignal | null = null,
    end: AbortSignal | null = null,
  ): AsyncGenerator<T, void, undefined> {
    if (signal?.aborted) throw aborted(signal);
    const number = (await this.call("iterate", [of, ...args])) as number;
    const onAbort = (): void =>
      void this.call("abort", [number, sendable(signal?.reason)]).catch(() => {});
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const onEnd = (): void => void this.call("return", [number]).catch(() => {});
    end?.addEventListener("abort", onEnd, { once: true });
    try {
      while (!end?.aborted) {
        const next = (await this.call("next", [number])) as IteratorResult<unknown>;
        if (next.done) return;
        yield withErrors(next.value) as T;
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (this.#channel.over === null) await this.call("return", [number]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#channel.over === null) await this.call("close", []);
  }
}

promiseMethods(RemoteStack, STACK_METHODS);

/** What came with errors in it. */
function withErrors(value: unknown): unknown {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map(withErrors);
  if ("sentError" in value) return received(value);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withErrors(item)]));
}
