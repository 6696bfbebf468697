/** TLS over connections of any origin: a socket, or a pair of streams such as a tunnel through a proxy gives. */

import * as check from "../arguments.js";
import type { Socket, TlsOptions, TlsServerOptions } from "../types.js";
import { clientContext, serverContext } from "./context.js";
import { TlsSocketImpl } from "./socket.js";
import { type StreamPair, transportOf } from "./transport.js";

/** What is the same for both sides of {@link wrapTls} and {@link acceptTls}. */
export interface WrapOptions {
  /** As in {@link ConnectOptions}. */
  allowHalfOpen?: boolean;
  /** Ends the connection when it aborts. */
  signal?: AbortSignal;
}

/** How a client wraps a connection. */
export interface WrapTlsOptions extends WrapOptions {
  /** The name that the server is asked for, and that its certificate must be for: a host name or an IP address. */
  hostname: string;
  /** Protocols that are offered, most preferred first. */
  alpn?: readonly string[];
  /** Whom to trust, and what else a client has. */
  tls?: TlsOptions;
}

/** How a server wraps a connection. */
export interface AcceptTlsOptions extends WrapOptions {
  /** Certificates and what else a server has. */
  tls: TlsServerOptions;
}

/**
 * Speaks TLS as a client over a connection that is there. The socket or the streams belong to what it returns from then on.
 * @throws {TypeError | RangeError} that names what is wrong.
 */
export function wrapTls(connection: StreamPair | Socket, options: WrapTlsOptions): Socket {
  const given = check.options("options", options);
  const hostname = check.string("options.hostname", given.hostname);
  const client = clientContext("options.tls", given.tls, hostname, given.alpn);
  return begin(connection, given, { client });
}

/**
 * Speaks TLS as a server over a connection that is there; see {@link wrapTls}.
 * @throws {TypeError | RangeError} that names what is wrong.
 */
export function acceptTls(connection: StreamPair | Socket, options: AcceptTlsOptions): Socket {
  const given = check.options("options", options);
  const server = serverContext("options.tls", given.tls as TlsServerOptions);
  return begin(connection, given, { server });
}

function begin(
  connection: StreamPair | Socket,
  given: WrapOptions,
  side: ConstructorParameters<typeof TlsSocketImpl>[0]["side"],
): Socket {
  const allowHalfOpen = check.boolean("options.allowHalfOpen", given.allowHalfOpen, false);
  const signal = check.abortSignal("options.signal", given.signal);
  return new TlsSocketImpl({
    engine: null,
    transport: transportOf("connection", connection),
    side,
    allowHalfOpen,
    signal,
    upgraded: true,
    secureTransport: "on",
  });
}
