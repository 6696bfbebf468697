/** The stack's side: answers what another thread asks. */

import * as check from "../arguments.js";
import { macrotask } from "../clock.js";
import type { ListenerImpl } from "../listener.js";
import { plug } from "../plug.js";
import { messagePort } from "../ports/message.js";
import type { SocketImpl } from "../socket.js";
import { createStack } from "../stack.js";
import type { ConnectTarget, Nic, Stack, StackOptions } from "../types.js";
import { Channel, received, STACK, sendable } from "./channel.js";
import { HostedListener, HostedSocket, HostedUdp, Numbers } from "./hosted_sockets.js";
import { HELLO, type Hello, NIC_METHODS, type NicInfo, STACK_METHODS } from "./protocol.js";

/** Makes the stack that another thread asks for with these options, or gives one that exists. */
export type StackSource = (options: StackOptions) => Stack | Promise<Stack>;

/** What a stack is asked for by: a worker's scope, or any other end of a channel. */
export interface MessageScope {
  /** Listens for messages, as browsers have it. */
  addEventListener?(type: "message", listener: (event: { data: unknown }) => void): void;
  /** Listens for messages, as Node has it. */
  on?(type: "message", listener: (message: unknown) => void): unknown;
}

/**
 * Lets the thread that has made this worker use a stack of it, by `createStackWorker`: one that is made with its options, or the stack, or what
 * the function, that is given. Call it while the worker's script runs first. `scope` is where the other thread posts to, by default the worker
 * itself.
 */
export function exposeStack(
  source: Stack | StackSource = createStack,
  scope: MessageScope = ownScope(),
): void {
  const make = typeof source === "function" ? source : () => source;
  const heard = (message: unknown): void => {
    if (isHello(message)) void host(make, message);
  };
  if (scope.addEventListener !== undefined) {
    scope.addEventListener("message", ({ data }) => heard(data));
  } else if (scope.on !== undefined) scope.on("message", heard);
  else throw new TypeError(`scope must be a worker's scope or a port, got ${check.show(scope)}`);
}

function isHello(message: unknown): message is Hello {
  return typeof message === "object" && message !== null && HELLO in message;
}

function ownScope(): MessageScope {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  const threads = process?.getBuiltinModule?.("node:worker_threads") as
    | { parentPort: MessageScope | null }
    | undefined;
  return threads?.parentPort ?? (globalThis as MessageScope);
}

/** The name of a lock that this worker holds as long as it lives. */
async function lifeline(): Promise<string | null> {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  if (locks === undefined) return null;
  const name = `ethertab-${crypto.randomUUID()}`;
  return new Promise((resolve) => {
    const held = locks.request(name, () => {
      resolve(name);
      return new Promise<never>(() => {});
    });
    held.catch(() => resolve(null));
  });
}

async function host(make: StackSource, hello: Hello): Promise<void> {
  const { port, options } = hello[HELLO];
  let stack: Stack;
  try {
    stack = await make(options);
  } catch (error) {
    port.postMessage({ refused: sendable(error) });
    port.close();
    return;
  }
  const hosted = new HostedStack(stack, port);
  port.postMessage({ hostname: stack.hostname, lock: await lifeline() });
  stack.closed.finally(() => hosted.end());
}

/** An iteration that the other thread goes through. */
interface Iteration {
  iterator: AsyncIterator<unknown>;
  controller: AbortController;
}

/** One stack and one thread that uses it. */
class HostedStack {
  readonly #stack: Stack;
  readonly #channel: Channel;
  readonly #numbers = new Numbers();
  readonly #nics = new Map<number, Nic>();
  readonly #iterations = new Map<number, Iteration>();

  constructor(stack: Stack, port: MessagePort) {
    this.#stack = stack;
    this.#channel = new Channel(port, (target, method, args) => this.#call(target, method, args));
  }

  /** The stack is closed: what it had is told by itself. */
  end(): void {
    // Behind what the end of the sockets tells.
    macrotask(() => this.#channel.tell(STACK, "closed"));
  }

  #nicNumber(nic: unknown): number | null {
    if (nic === null || nic === undefined) return null;
    for (const [number, known] of this.#nics) if (known === nic) return number;
    const number = this.#numbers.next();
    this.#nics.set(number, nic as Nic);
    return number;
  }

  #nicInfo(nic: Nic): NicInfo {
    const { name, mac, mtu } = nic;
    return { number: this.#nicNumber(nic) ?? 0, name, mac, mtu };
  }

  /** Interfaces are told by their numbers. */
  #withNics(value: unknown): unknown {
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
    if (Array.isArray(value)) return value.map((item) => this.#withNics(item));
    if (value instanceof AbortSignal || Object.getPrototypeOf(value) !== Object.prototype) {
      return value;
    }
    if ("nicNumber" in value) return this.#nics.get(value.nicNumber as number);
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, this.#withNics(item)]),
    );
  }

  async #call(target: number, method: string, given: unknown[]): Promise<unknown> {
    const args = given.map((value) => this.#withNics(value));
    if (target === STACK) return this.#stackCall(method, args);
    const nic = this.#nics.get(target);
    if (nic !== undefined) return this.#nicCall(nic, method, args);
    const held = this.#channel.target(target);
    if (held instanceof HostedSocket) {
      if (method === "info") return held.socket.info();
      if (method === "tcpSettings") return held.socket.tcpSettings();
    } else if (held instanceof HostedListener) {
      if (method === "tcpSettings") return held.listener.tcpSettings();
    } else if (held instanceof HostedUdp) {
      return invoke(held.socket, UDP_METHODS, method, args);
    } else if (method === "info" || method === "tcpSettings" || method === "settings") {
      // It ended meanwhile.
      return null;
    }
    throw new TypeError(`there is no ${method} of ${target}`);
  }

  async #stackCall(method: string, args: unknown[]): Promise<unknown> {
    const channel = this.#channel;
    switch (method) {
      case "connect": {
        const [number, address, options] = args as [number, ConnectTarget, object];
        new HostedSocket(channel, number, this.#stack.connect(address, options) as SocketImpl);
        return null;
      }
      case "listen": {
        const [number, options] = args as [number, { port: number }];
        const listener = this.#stack.listen(options) as ListenerImpl;
        new HostedListener(channel, number, listener, this.#numbers);
        return null;
      }
      case "bindUdp": {
        const [number, options] = args as [number, object];
        const socket = this.#stack.bindUdp(options);
        new HostedUdp(channel, number, socket, (nic) => this.#nicNumber(nic));
        return socket.address;
      }
      case "addInterface":
        return this.#nicInfo(this.#stack.addInterface(args[0] as object));
      case "interfaces":
        return this.#stack.interfaces.map((nic) => this.#nicInfo(nic));
      case "blocksInUse":
        return this.#stack.blocksInUse;
      case "traceDropped":
        return this.#stack.trace.dropped;
      case "takeTrace":
        return this.#stack.trace.take(args[0] as number | undefined);
      case "iterate": {
        const [of, hostname, options] = args as [string, string, object | undefined];
        const controller = new AbortController();
        const { signal } = controller;
        const iterable =
          of === "traceroute"
            ? this.#stack.traceroute(hostname, { ...options, signal })
            : this.#stack.trace;
        const number = this.#numbers.next();
        this.#iterations.set(number, { iterator: iterable[Symbol.asyncIterator](), controller });
        return number;
      }
      case "next": {
        const number = args[0] as number;
        const result = await this.#iterations.get(number)?.iterator.next();
        if (result?.done !== false) this.#iterations.delete(number);
        return { done: result?.done !== false, value: withSendableErrors(result?.value) };
      }
      case "abort": {
        const [number, reason] = args as [number, unknown];
        this.#iterations.get(number)?.controller.abort(received(reason));
        return null;
      }
      case "return": {
        const number = args[0] as number;
        const iteration = this.#iterations.get(number);
        this.#iterations.delete(number);
        await iteration?.iterator.return?.();
        return null;
      }
    }
    return invoke(this.#stack, STACK_METHODS, method, args);
  }

  async #nicCall(nic: Nic, method: string, args: unknown[]): Promise<unknown> {
    switch (method) {
      case "plug":
        plug(nic, messagePort(args[0] as never));
        return null;
      case "get":
        return nic[args[0] as "addresses" | "lease" | "lease6" | "counters" | "isPlugged"];
      case "configured":
        return nic.configured;
      case "dhcpError":
        return sendable(nic.dhcpError);
    }
    return invoke(nic, NIC_METHODS, method, args);
  }
}

const UDP_METHODS = ["send", "connect", "setOptions", "settings", "joinGroup", "leaveGroup"];

async function invoke(
  of: object,
  methods: readonly string[],
  method: string,
  args: unknown[],
): Promise<unknown> {
  if (!methods.includes(method)) throw new TypeError(`there is no method ${method}`);
  const call = (of as Record<string, (...args: unknown[]) => unknown>)[method];
  return call?.apply(of, args);
}

/** A value that can cross: errors within it, too. */
function withSendableErrors(value: unknown): unknown {
  if (value instanceof Error) return sendable(value);
  if (Array.isArray(value)) return value.map(withSendableErrors);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, withSendableErrors(item)]),
  );
}
