/** HTTPS for guests: TLS ends at the gateway, with certificates of an authority that guests are told to trust. */

import * as check from "../arguments.js";
import type { EngineCore } from "../engine_core.js";
import { AuthorityImpl, createAuthority } from "../tls/authority.js";
import { serverContext } from "../tls/context.js";
import { TlsSocketImpl } from "../tls/socket.js";
import type { Transport } from "../tls/transport.js";
import type { CertificateAuthority, Socket } from "../types.js";

/** An authority as `save` of a gateway keeps it. */
export interface SavedAuthority {
  /** Its certificate, in PEM. */
  cert: string;
  /** Its private key, in PEM: a secret. */
  key: string;
}

/** Ends TLS of a guest's connection in the name of the server that it wants, or else in that of `hostname`. */
export type Securing = (connection: Transport, hostname?: string) => Socket;

/** Where guests find the certificate, on every name of the gateway. */
const CERTIFICATE_PATH = "/ca.pem";
const INSTALLED = "/usr/local/share/ca-certificates/ethertab.crt";

/** See the module's comment. */
export class Https {
  readonly authority: CertificateAuthority;
  readonly secured: Securing;
  readonly #isOwn: boolean;

  constructor(engine: EngineCore, authority: CertificateAuthority, isOwn: boolean) {
    this.authority = authority;
    this.#isOwn = isOwn;
    this.secured = (transport, hostname) => {
      // Who connects to an address gives no name: the certificate is for that address.
      const fallback = hostname ?? transport.local?.address ?? "localhost";
      const server = serverContext("options.authority", {
        // Who offers only protocols that are not here is refused (RFC 7301 §3.2), and `curl --http1.0` offers http/1.0.
        alpn: ["http/1.1", "http/1.0"],
        select: ({ servername }) => authority.issue(servername ?? fallback),
      });
      return new TlsSocketImpl({
        engine,
        transport,
        side: { server },
        allowHalfOpen: true,
        signal: null,
        upgraded: false,
        secureTransport: "on",
      });
    };
  }

  /** Answers who asks for the certificate; null for other requests. */
  answer(url: URL): Response | null {
    if (url.protocol !== "http:" || url.pathname !== CERTIFICATE_PATH) return null;
    const headers = {
      "content-type": "application/x-pem-file",
      "content-disposition": 'attachment; filename="ethertab.crt"',
    };
    return new Response(this.authority.cert, { headers });
  }

  /** What a guest is told to do. */
  trustCommand(address: string): string {
    return `wget -O ${INSTALLED} http://${address}${CERTIFICATE_PATH} && update-ca-certificates`;
  }

  close(): void {
    if (this.#isOwn) this.authority.close();
  }
}

/**
 * The HTTPS that options ask for: null for none.
 * @throws {TypeError} that says what is wrong.
 */
export async function httpsOf(
  engine: EngineCore,
  given: boolean | CertificateAuthority | undefined,
  saved: SavedAuthority | undefined,
): Promise<Https | null> {
  if (given instanceof AuthorityImpl) return new Https(engine, given, false);
  if (given === false || (given === undefined && saved === undefined)) return null;
  if (given !== true && given !== undefined) {
    throw new TypeError(
      `options.authority must be a boolean or come from createAuthority, got ${check.show(given)}`,
    );
  }
  const date = (): number => engine.date();
  return new Https(engine, await createAuthority({ ...saved, date }), true);
}
