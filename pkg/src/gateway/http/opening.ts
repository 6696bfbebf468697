/** Connections of a stack for HTTP, with TLS where the URL wants it. */

import * as check from "../../arguments.js";
import type { StackImpl } from "../../stack.js";
import { type ClientContext, clientContext } from "../../tls/context.js";
import { TlsSocketImpl } from "../../tls/socket.js";
import type { Socket, Stack, TlsOptions } from "../../types.js";
import type { Target } from "./target.js";

/** How TLS is spoken with the host of a URL. */
export interface SecureOptions {
  /** For `https:` and `wss:`: whom to trust as `ca`, and what else a client has. */
  tls?: TlsOptions;
}

/** What `fetch` over a stack is told: the platform's, and TLS's. */
export interface SecureRequestInit extends RequestInit, SecureOptions {}

/** What is spoken within TLS. */
const ALPN = ["http/1.1"];

/**
 * How TLS is spoken with the host of a URL.
 * @throws {TypeError | RangeError} that names what is wrong, or missing.
 */
export function secureBy(
  argument: string,
  options: TlsOptions | undefined,
  hostname: string,
): ClientContext {
  return clientContext(argument, options, check.addressLiteral(hostname) ?? hostname, ALPN);
}

/**
 * An open connection. The signal ends the attempt, and nothing after that: the connection may serve others later.
 * @throws why there is none, or the signal's reason.
 */
export async function openOver(
  stack: Stack,
  { hostname, port, tls }: Target,
  signal: AbortSignal | null,
): Promise<Socket> {
  signal?.throwIfAborted();
  const plain = stack.connect({ hostname, port }, { allowHalfOpen: true, noDelay: true });
  const socket = tls === null ? plain : secured(stack, plain, tls);
  const abort = () => socket.abort(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  // What ends it later is told by its reads and writes.
  socket.closed.catch(() => {});
  try {
    await socket.opened;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  return socket;
}

function secured(stack: Stack, transport: Socket, client: ClientContext): Socket {
  const { engine, date } = stack as StackImpl;
  return new TlsSocketImpl({
    engine,
    date,
    transport,
    side: { client },
    allowHalfOpen: true,
    signal: null,
    upgraded: false,
    secureTransport: "on",
  });
}
