/**
 * The two ends of a stack's channel: calls with answers, and what happens to sockets, as messages of a `MessagePort`.
 *
 * This is a protocol of its own and not an RPC library, since sockets need what those leave out: bytes that are moved under
 * credit, so that back-pressure reaches the TCP window; errors that keep their class and code; signals that cross; and an end of
 * the other thread that ends what waits for it.
 */

import { deferred, guarded } from "../engine_core.js";
import { EngineError, SocketError } from "../errors.js";

/** An error as it crosses. */
interface SentError {
  readonly error: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly localAddress: string | null;
  readonly remoteAddress: string | null;
  readonly cause: unknown;
}

/** Errors within errors that are followed. */
const DEEPEST_CAUSE = 4;

/** What can be sent for a thrown value. */
export function sendable(value: unknown, depth = 0): unknown {
  if (!(value instanceof Error)) return isCloneable(value) ? value : String(value);
  const { code, localAddress, remoteAddress } = value as Partial<SocketError>;
  const sent: SentError = {
    error: value.name,
    message: value.message,
    stack: value.stack,
    code: typeof code === "string" ? code : undefined,
    localAddress: localAddress ?? null,
    remoteAddress: remoteAddress ?? null,
    cause: depth < DEEPEST_CAUSE ? sendable(value.cause, depth + 1) : undefined,
  };
  return { sentError: sent };
}

function isCloneable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}

const CLASSES: Readonly<Record<string, new (message: string, options?: ErrorOptions) => Error>> = {
  TypeError,
  RangeError,
  EngineError,
  Error,
  RuntimeError: WebAssembly.RuntimeError,
};

/** The thrown value again: an error of the same class, with the same code, addresses, stack and cause. */
export function received(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("sentError" in value)) return value;
  const sent = value.sentError as SentError;
  const cause = received(sent.cause);
  const options = cause === undefined ? {} : { cause };
  let error: Error;
  if (sent.error === "SocketError") {
    const { localAddress, remoteAddress } = sent;
    const ends = { ...options, localAddress, remoteAddress };
    error = new SocketError(sent.code as SocketError["code"], "", ends);
    error.message = sent.message;
  } else if (typeof DOMException === "function" && isDomName(sent)) {
    error = new DOMException(sent.message, sent.error);
  } else {
    error = new (CLASSES[sent.error] ?? Error)(sent.message, options);
    if (error.name !== sent.error) error.name = sent.error;
    if (sent.code !== undefined) Object.assign(error, { code: sent.code });
  }
  if (sent.stack !== undefined) {
    Object.defineProperty(error, "stack", {
      value: sent.stack,
      configurable: true,
      writable: true,
    });
  }
  return error;
}

/** The names that signals abort with. */
function isDomName({ error }: SentError): boolean {
  return error === "AbortError" || error === "TimeoutError";
}

/** What calls name the nothing that they are about: the stack itself. */
export const STACK = 0;

/** Something at this end that the other end tells things, by a number that both know. */
export interface Target {
  /** Something has happened to it, or it is asked to do something. */
  told(what: string, value: never): void;
  /** The other end is gone. */
  onChannelOver(error: Error): void;
}

interface Call {
  call: number;
  target: number;
  method: string;
  args: unknown[];
  /** Which argument has a signal. */
  signal: number | null;
}

type Message =
  | Call
  | { answer: number; value: unknown }
  | { failure: number; error: unknown }
  | { abort: number; reason: unknown }
  | { tell: number; what: string; value: unknown };

/** Answers calls. */
export type Answering = (target: number, method: string, args: unknown[]) => unknown;

/** One end. */
export class Channel {
  readonly #port: MessagePort;
  readonly #answering: Answering | null;
  readonly #targets = new Map<number, Target>();
  readonly #calls = new Map<number, { resolve(value: unknown): void; reject(e: unknown): void }>();
  /** What the other end's calls can be aborted by. */
  readonly #running = new Map<number, AbortController>();
  #lastCall = 0;
  #over: Error | null = null;

  constructor(port: MessagePort, answering: Answering | null) {
    this.#port = port;
    this.#answering = answering;
    port.onmessage = ({ data }: MessageEvent<Message>) => this.#received(data);
    // Node's, and that of newer browsers, which tell so of a thread that is gone.
    port.addEventListener("close", () => {
      this.end(new SocketError("ABORT_ERR", "the thread of the stack has ended"));
    });
  }

  /** Why it has ended, or null. */
  get over(): Error | null {
    return this.#over;
  }

  add(number: number, target: Target): void {
    this.#targets.set(number, target);
  }

  remove(number: number): void {
    this.#targets.delete(number);
  }

  /** What has that number at this end. */
  target(number: number): Target | undefined {
    return this.#targets.get(number);
  }

  /**
   * Calls a method at the other end. A `signal` among the options that are the last argument crosses.
   * @throws what a copy of the arguments throws, and why the channel has ended.
   */
  call(
    target: number,
    method: string,
    args: readonly unknown[],
    transfer: Transferable[] = [],
  ): Promise<unknown> {
    if (this.#over !== null) return Promise.reject(this.#over);
    this.#lastCall += 1;
    const call = this.#lastCall;
    const { sent, at, signal } = withoutSignal(args);
    const { promise, resolve, reject } = deferred<unknown>();
    this.#post({ call, target, method, args: sent, signal: at }, transfer);
    this.#calls.set(call, { resolve, reject });
    if (signal === null) return promise;
    const onAbort = (): void => this.#post({ abort: call, reason: sendable(signal.reason) });
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => signal.removeEventListener("abort", onAbort);
    promise.then(forget, forget);
    return promise;
  }

  /** Tells something of the other end something; `transfer` moves there. */
  tell(target: number, what: string, value?: unknown, transfer: Transferable[] = []): void {
    if (this.#over === null) this.#post({ tell: target, what, value }, transfer);
  }

  #post(message: Message, transfer: Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #received(message: Message): void {
    if (this.#over !== null) return;
    if ("tell" in message) {
      const target = this.#targets.get(message.tell);
      if (target !== undefined) guarded(() => target.told(message.what, message.value as never));
    } else if ("answer" in message) {
      this.#settle(message.answer)?.resolve(message.value);
    } else if ("failure" in message) {
      this.#settle(message.failure)?.reject(received(message.error));
    } else if ("abort" in message) {
      this.#running.get(message.abort)?.abort(received(message.reason));
    } else void this.#answer(message);
  }

  #settle(call: number): { resolve(value: unknown): void; reject(e: unknown): void } | undefined {
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    return waiting;
  }

  async #answer({ call, target, method, args, signal: at }: Call): Promise<void> {
    let controller: AbortController | null = null;
    if (at !== null) {
      controller = new AbortController();
      this.#running.set(call, controller);
      args[at] = { ...(args[at] as object), signal: controller.signal };
    }
    try {
      const value = await this.#answering?.(target, method, args);
      if (this.#over === null) this.#post({ answer: call, value });
    } catch (error) {
      if (this.#over === null) this.#post({ failure: call, error: sendable(error) });
    } finally {
      this.#running.delete(call);
    }
  }

  /** All that waits for the other end fails. */
  end(error: Error): void {
    if (this.#over !== null) return;
    this.#over = error;
    this.#port.close();
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
    for (const controller of this.#running.values()) controller.abort(error);
    for (const target of [...this.#targets.values()]) guarded(() => target.onChannelOver(error));
    this.#targets.clear();
  }
}

/** Arguments as they can be copied, and the signal that was among the options. */
export function withoutSignal(args: readonly unknown[]): {
  sent: unknown[];
  at: number | null;
  signal: AbortSignal | null;
} {
  const sent = [...args];
  for (const [at, argument] of args.entries()) {
    if (typeof argument !== "object" || argument === null || !("signal" in argument)) continue;
    const { signal, ...rest } = argument;
    if (!(signal instanceof AbortSignal)) continue;
    sent[at] = rest;
    return { sent, at, signal };
  }
  return { sent, at: null, signal: null };
}
