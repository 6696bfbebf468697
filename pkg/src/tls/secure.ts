/** What `secureTransport` and `tls` of connections and listeners mean. */

import * as check from "../arguments.js";
import type { EngineCore } from "../engine_core.js";
import type { ConnectOptions, ListenOptions, Socket, StartTlsOptions } from "../types.js";
import { clientContext, serverContext } from "./context.js";
import { Tls } from "./module.js";
import { TlsSocketImpl, type TlsStart } from "./socket.js";
import type { Transport } from "./transport.js";

/** Web IDL has a TypeError for words that an enumeration has not. */
function checkKind(kind: unknown): void {
  if (kind === "off" || kind === "on" || kind === "starttls") return;
  throw new TypeError(
    `options.secureTransport must be "off", "on" or "starttls", got ${check.show(kind)}`,
  );
}

/** What becomes of a connection when it is made. */
export interface Security<T extends Transport> {
  /** What the application gets: the socket, or one with TLS over it. */
  over(socket: T): T | TlsSocketImpl;
  /** Makes a socket with TLS of what this one was; null where that was not asked for. */
  readonly upgrade: ((successor: () => T, options: StartTlsOptions | undefined) => Socket) | null;
  /** Rejects if no connection can ever be made so; null if that is not to be expected. */
  readonly ready: Promise<void> | null;
}

const PLAIN = { over: <T>(socket: T): T => socket, upgrade: null, ready: null };

/** How a connection differs from another. */
interface How {
  allowHalfOpen: boolean;
  signal: AbortSignal | null;
  /** See {@link TlsStart}. */
  date?: () => number;
}

/**
 * What becomes of a connection that is opened. Without an engine, as of a stack in another thread, time is the platform's.
 * @throws {TypeError | RangeError} that names what is wrong with which option.
 */
export function clientSecurity<T extends Transport>(
  engine: EngineCore | null,
  given: Partial<ConnectOptions>,
  host: string,
  how: How,
): Security<T> {
  const { secureTransport = "off", sni, alpn, tls } = given;
  checkKind(secureTransport);
  if (secureTransport === "off") {
    if (tls === undefined) return PLAIN;
    throw new TypeError(`options.tls needs options.secureTransport to be "on" or "starttls"`);
  }
  const name = sni === undefined ? host : check.string("options.sni", sni);
  const begin = (transport: Transport, side: TlsStart["side"], upgraded: boolean) =>
    new TlsSocketImpl({ engine, transport, side, ...how, upgraded, secureTransport });
  if (secureTransport === "on") {
    const client = clientContext("options.tls", tls, name, alpn);
    return { ...PLAIN, over: (socket) => begin(socket, { client }, false) };
  }
  return {
    ...PLAIN,
    upgrade: (successor, options) => {
      const start = check.options<StartTlsOptions>("options", options);
      const expected = start.expectedServerHostname ?? name;
      const client = clientContext(
        "options.tls",
        start.tls ?? tls,
        check.string("options.expectedServerHostname", expected),
        start.alpn ?? alpn,
      );
      return begin(successor(), { client }, true);
    },
  };
}

/**
 * What becomes of connections that are accepted.
 * @throws {TypeError | RangeError} that names what is wrong with which option.
 */
export function serverSecurity<T extends Transport>(
  engine: EngineCore | null,
  given: Partial<ListenOptions>,
  backlog: number,
  how: How,
): Security<T> {
  const { tls } = given;
  const { secureTransport = tls === undefined ? "off" : "on" } = given;
  checkKind(secureTransport);
  if (secureTransport === "off") {
    if (tls === undefined) return PLAIN;
    throw new TypeError(`options.tls needs options.secureTransport to be "on" or "starttls"`);
  }
  if (tls === undefined) {
    throw new TypeError(`options.secureTransport "${secureTransport}" needs options.tls`);
  }
  const server = serverContext("options.tls", tls);
  const handshakes = new Handshakes(backlog);
  const begin = (transport: Transport, upgraded: boolean) => {
    const side = { server };
    const start = { engine, transport, side, ...how, upgraded, secureTransport };
    return handshakes.added(new TlsSocketImpl(start));
  };
  const ready = certificatesReady(engine, server.usual);
  return secureTransport === "on"
    ? { over: (socket) => begin(socket, false), upgrade: null, ready }
    : { over: (socket) => socket, upgrade: (successor) => begin(successor(), true), ready };
}

/**
 * The handshakes of a listener that have not ended. They are bounded as connections are that wait to be accepted: the oldest gives way to the next
 * one, so that clients who begin and say nothing more do not keep others out.
 */
class Handshakes {
  readonly #most: number;
  /** The oldest first. */
  readonly #unfinished = new Set<TlsSocketImpl>();

  constructor(most: number) {
    this.#most = most;
  }

  added(socket: TlsSocketImpl): TlsSocketImpl {
    this.#unfinished.add(socket);
    const ended = (): void => void this.#unfinished.delete(socket);
    socket.opened.then(ended, ended);
    if (this.#unfinished.size > this.#most) {
      const [oldest] = this.#unfinished;
      if (oldest !== undefined) this.#unfinished.delete(oldest);
      oldest?.giveWay();
    }
    return socket;
  }
}

/** Looks at the certificates before a client comes. */
async function certificatesReady(
  engine: EngineCore | null,
  usual: ReturnType<typeof serverContext>["usual"],
): Promise<void> {
  const module = await Tls.load(engine);
  const config = usual?.("localhost");
  if (config) module.config(config, engine);
}
