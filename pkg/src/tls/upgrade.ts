/** When a connection can change to TLS. */

import { SocketError } from "../errors.js";

/**
 * How a socket changes to TLS: what it was made with, if it can do that now.
 * @throws {SocketError} ERR_INVALID_STATE, or what has ended the socket.
 */
export function upgradeOf<T>(
  upgrade: T | null,
  end: { error: Error | null } | null,
  finSent: boolean,
): T {
  const state = (text: string) => new SocketError("ERR_INVALID_STATE", `startTls: ${text}`);
  if (upgrade === null) throw state(`the socket was made with secureTransport "off"`);
  if (end !== null) throw end.error ?? state("the socket is closed");
  if (finSent) throw state("the socket was shut down");
  return upgrade;
}
