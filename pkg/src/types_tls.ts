/** The types of TLS. */

import type { BufferSource } from "./platform.js";
import type { DurationLike } from "./types.js";

/** A certificate, or several: PEM as a text or bytes, which may hold several, or DER, which is one. */
export type Certificates = string | BufferSource | readonly (string | BufferSource)[];

/** The versions of TLS that are spoken. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** What clients and servers are told alike. */
export interface TlsCommonOptions {
  /**
   * Certificates of the authorities that are trusted. A certificate that a peer has itself is trusted too, if it is among them. By default those of
   * `node:tls` where there are any; browsers keep theirs from scripts, so that there is no default in a page.
   */
  ca?: Certificates;
  /** The own certificate, with those that lead from it to an authority behind it. */
  cert?: Certificates;
  /** Its private key: PEM or DER, in PKCS #8, PKCS #1 or SEC1, not encrypted. */
  key?: string | BufferSource;
  /** By default `"TLSv1.2"`. */
  minVersion?: TlsVersion;
  /** By default `"TLSv1.3"`. */
  maxVersion?: TlsVersion;
  /** Rejects with ETIMEDOUT if the handshake takes longer. By default two minutes, as in Node. */
  handshakeTimeout?: DurationLike;
  /**
   * Called with each line that `SSLKEYLOGFILE` would get, its end included, as Node's event `keylog` tells them: with those lines Wireshark reads what a
   * capture has of the connection, and so can anybody else who has both.
   */
  keylog?: (line: string) => void;
}

/** How a client speaks TLS. */
export interface TlsOptions extends TlsCommonOptions {
  /** False takes any certificate from anybody. By default true. */
  verify?: boolean;
}

/** What a client has asked for in its first message. */
export interface ClientHello {
  /** The name of the server that it wants (SNI); null if it gives none, as for an IP address. */
  readonly servername: string | null;
  /** The protocols that it would speak, the preferred one first (ALPN). */
  readonly alpn: readonly string[];
}

/** How a server speaks TLS. */
export interface TlsServerOptions extends TlsCommonOptions {
  /** Makes a certificate for each name that clients ask for, in the place of `cert` and `key`. */
  authority?: CertificateAuthority;
  /** Protocols that are spoken, the preferred one first (ALPN). A client that speaks none of them is refused; one that asks for none is not. */
  alpn?: readonly string[];
  /** Whether clients are asked for a certificate, which `ca` must then trust: true refuses those that have none. By default false. */
  requestCert?: boolean | "optional";
  /**
   * Called with what a client asks for before anything is answered: gives what replaces the options above, such as another certificate, or null to refuse
   * the name.
   */
  select?: (
    hello: ClientHello,
  ) => TlsServerChoice | null | undefined | Promise<TlsServerChoice | null | undefined>;
}

/** What a server may choose for a client. */
export type TlsServerChoice = Omit<TlsServerOptions, "select" | "handshakeTimeout">;

/** What both ends of a TLS connection have agreed on. */
export interface TlsInfo {
  /** The version that was agreed on. */
  readonly protocol: TlsVersion;
  /** Its name in the registry, such as `"TLS13_CHACHA20_POLY1305_SHA256"`. */
  readonly cipher: string;
  /** The protocol of the ALPN, null if none was agreed on. */
  readonly alpn: string | null;
  /** The name that the client asked for: of a client, the one that the certificate was checked against. */
  readonly servername: string | null;
  /** Whether it goes on with an earlier session. */
  readonly resumed: boolean;
  /** What the peer has presented, its own certificate first, in DER. */
  readonly peerCertificates: readonly Uint8Array<ArrayBuffer>[];
}

/** How a certificate authority is made. */
export interface AuthorityOptions {
  /** The name in its certificate, for people. By default `"ethertab"`, with a few digits that tell it from others. */
  name?: string;
  /** An earlier one: its certificate and its key, as `authority.cert` and `authority.key` tell them. */
  cert?: string | BufferSource;
  /** The key of `cert`. */
  key?: string | BufferSource;
  /** Days for which the authority's certificate is valid, from today. By default 3650. It was valid for as many before. */
  days?: number;
  /** Days for which the certificates that it makes were valid before now, since guests may have old clocks. By default 420. */
  backdateDays?: number;
  /** Days for which they are valid from now on. By default 397; together with `backdateDays` at most 825, as some clients want it. */
  leafDays?: number;
  /** Names whose certificates are kept; the one that was not used for longest makes room. By default 256. */
  cacheSize?: number;
  /** Milliseconds since 1970. By default `Date.now()`. */
  date?: () => number;
}

/** A certificate with its key, in PEM. */
export interface IssuedCertificate {
  /** The certificate with those above it, in PEM. */
  readonly cert: string;
  /** Its private key, in PEM. */
  readonly key: string;
}

/** A certificate authority of your own: whoever trusts its certificate believes what it says of any name. */
export interface CertificateAuthority {
  /** Its certificate in PEM, for those who are to trust it. */
  readonly cert: string;
  /** Its private key in PEM. Who has it can be anybody to those who trust the certificate. */
  readonly key: string;
  /** A certificate for a host name, a name such as `"*.shop.test"`, or an IP address. It is made once and kept. */
  issue(hostname: string): IssuedCertificate;
  /** Frees what belongs to it. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}
