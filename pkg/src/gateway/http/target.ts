/** Where a URL leads: a host and a port, and how TLS is spoken there. */

import type { ClientContext } from "../../tls/context.js";

/** Whom a connection is to. */
export interface Target {
  /** As URLs have it: IPv6 addresses in brackets. */
  readonly hostname: string;
  readonly port: number;
  /** Null where TLS is not spoken. */
  readonly tls: ClientContext | null;
}

/** How TLS is spoken with a host. @throws {TypeError | RangeError} that says what is wrong, or missing. */
export type Secure = (hostname: string) => ClientContext;

const HTTP_PORT = 80;
const HTTPS_PORT = 443;

/** See the module's comment. @throws as `secure` does. */
export function targetOf({ protocol, hostname, port }: URL, secure: Secure): Target {
  const isSecure = protocol === "https:" || protocol === "wss:";
  return {
    hostname,
    port: Number(port || (isSecure ? HTTPS_PORT : HTTP_PORT)),
    tls: isSecure ? secure(hostname) : null,
  };
}

/** Whether a connection to one serves the other: who trusts more, or others, opens his own. */
export function isSameTarget(one: Target, other: Target): boolean {
  return (
    one.hostname === other.hostname && one.port === other.port && one.tls?.key === other.tls?.key
  );
}
