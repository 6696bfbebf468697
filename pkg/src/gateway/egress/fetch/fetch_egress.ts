/** The way out for HTTP that needs no server: what guests ask web servers is asked by `fetch`. */

import { parseIp } from "../../../ip.js";
import type { Socket } from "../../../types.js";
import type { HttpSocket } from "../../http/connection.js";
import { HttpError, type RequestHead } from "../../http/head.js";
import { plainResponse } from "../../http/response.js";
import { requestUrl } from "../../http/routes.js";
import { type Resolved, type ServerContext, serveConnection } from "../../http/server.js";
import { GuestFlow } from "../flow.js";
import type { Egress, EgressFlow } from "../types.js";
import { exchange } from "./exchange.js";
import {
  type FetchEgressOptions,
  type FetchSettings,
  fetchSettings,
  HTTP_PORT,
  TLS_PORT,
} from "./options.js";
import { PeekedSocket } from "./peeked_socket.js";

/** The first byte of a TLS connection: a record of the handshake (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 22;

/** What {@link fetchEgress} counts. */
export interface FetchCounters {
  /** Connections of guests that were taken, and those of them by TLS. */
  connections: number;
  /** Of `connections`, those by TLS. */
  tlsConnections: number;
  /** Connections that were refused by their port, and that were reset since they speak something else. */
  refused: number;
  /** Connections that were reset since they speak something else. */
  notHttp: number;
  /** Requests that guests have made. */
  requests: number;
  /** Requests that were answered with 502. */
  failures: number;
  /** Uploads that were answered with 413. */
  uploadsTooLarge: number;
  /** Requests for a host that the rules lead elsewhere, which were answered with 421. */
  misdirected: number;
  /** Bodies' bytes. */
  bytesUp: number;
  /** Bytes of responses' bodies. */
  bytesDown: number;
}

/** An egress that does guests' HTTP by `fetch`. */
export interface FetchEgress extends Egress {
  tcp(flow: EgressFlow): Promise<void>;
  counters(): FetchCounters & Record<string, number>;
}

/**
 * An egress by `fetch`, for gateways in pages: guests' HTTP/1.1 connections are ended here, and each request is made by the platform. Names resolve to
 * addresses that stand for them. What is not HTTP, and all UDP, is refused.
 *
 * ```js
 * const gateway = await createGateway({ egress: fetchEgress() });
 * ```
 * @throws {TypeError | RangeError} that names what is wrong with which option.
 */
export function fetchEgress(options?: FetchEgressOptions): FetchEgress {
  const settings = fetchSettings(options);
  const counters: FetchCounters = {
    connections: 0,
    tlsConnections: 0,
    refused: 0,
    notHttp: 0,
    requests: 0,
    failures: 0,
    uploadsTooLarge: 0,
    misdirected: 0,
    bytesUp: 0,
    bytesDown: 0,
  };
  return {
    name: "fetch",
    async tcp(flow) {
      const { port } = flow.local;
      const isTaken = settings.ports.some(([first, last]) => port >= first && port <= last);
      if (!isTaken || (port === TLS_PORT && endingOf(flow, settings) === null)) {
        counters.refused += 1;
        return flow.refuse();
      }
      await serve(flow, settings, counters);
    },
    counters: () => ({ ...counters }),
  };
}

/** Takes a flow, and serves it once its first bytes tell what it speaks. */
async function serve(
  flow: EgressFlow,
  settings: FetchSettings,
  counters: FetchCounters,
): Promise<void> {
  if (!(flow instanceof GuestFlow)) {
    throw new TypeError("fetchEgress takes flows of a gateway, and of nobody else");
  }
  const { clock } = flow.place;
  const socket = new PeekedSocket(await flow.accept({ allowHalfOpen: true }));
  counters.connections += 1;
  const [first] = await socket.peek(clock, settings.http.keepAliveTimeout);
  const ending = endingOf(flow, settings);
  if (first === TLS_HANDSHAKE && ending !== null) {
    counters.tlsConnections += 1;
    await serveTls(flow, socket, ending, settings, counters);
  } else if (first !== undefined && isHttp(first)) {
    await serveHttp(flow, socket, "http:", settings, counters);
  } else {
    if (first !== undefined) counters.notHttp += 1;
    socket.abort(new Error("what is spoken is not HTTP"));
  }
}

/** Whether a request may begin with this byte: a method, or the empty line that a server ignores before one. */
function isHttp(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || byte === 13 || byte === 10;
}

type Ending = NonNullable<FetchSettings["tls"]>;

/** What ends a guest's TLS: what the caller has given, or the gateway. */
function endingOf(flow: EgressFlow, settings: FetchSettings): Ending | null {
  return settings.tls ?? (flow instanceof GuestFlow ? flow.place.secured : null);
}

async function serveTls(
  flow: EgressFlow & GuestFlow,
  socket: PeekedSocket,
  ending: Ending,
  settings: FetchSettings,
  counters: FetchCounters,
): Promise<void> {
  let secured: Socket;
  try {
    secured = await ending(socket as unknown as Socket, flow.hostname);
    secured.closed.catch(() => {});
    await secured.opened;
  } catch (error) {
    // A guest that does not trust the certificate ends the handshake: that is its affair.
    socket.abort(error);
    return;
  }
  await serveHttp(flow, secured, "https:", settings, counters);
}

async function serveHttp(
  flow: EgressFlow & GuestFlow,
  socket: HttpSocket,
  scheme: "http:" | "https:",
  settings: FetchSettings,
  counters: FetchCounters,
): Promise<void> {
  const { clock, parser } = flow.place;
  const context: ServerContext = {
    parser,
    clock,
    limits: settings.http,
    resolve: (head) => resolve(head, flow, scheme, settings, counters),
    exchanged: ({ bytesReceived, bytesSent }) => {
      counters.bytesUp += bytesReceived;
      counters.bytesDown += bytesSent;
    },
    failed: () => {
      // The response's body ended early: the guest's connection is reset, since its head was sent.
      counters.failures += 1;
    },
  };
  await serveConnection(socket, flow.local.port, context);
}

/** The URL of a guest's request, and who answers it: `fetch`, unless the rules lead that host elsewhere. */
function resolve(
  head: RequestHead,
  flow: EgressFlow,
  scheme: "http:" | "https:",
  settings: FetchSettings,
  counters: FetchCounters,
): Resolved {
  const literal = parseIp(flow.hostname) !== null && flow.hostname.includes(":");
  const url = requestUrl(head, scheme, literal ? `[${flow.hostname}]` : flow.hostname);
  // The guest has said by its connection which port it means.
  url.port = String(flow.local.port);
  if (!flow.leadsTo(hostOf(url))) {
    counters.misdirected += 1;
    const text = `${url.host} is not reached by this connection, which is for ${flow.hostname}.\n`;
    return { url, answer: plainResponse(421, text) };
  }
  if (head.fields.tokens("upgrade").includes("websocket")) {
    throw new HttpError(501, "WebSockets are not carried by fetch");
  }
  const leadsTo = (to: URL): boolean =>
    flow.leadsTo(hostOf(to), Number(to.port) || (to.protocol === "https:" ? TLS_PORT : HTTP_PORT));
  return { url, answer: (request) => exchange(request, settings, counters, leadsTo) };
}

/** The host of a URL as rules name it. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
}
