/** The errors that this package rejects with and throws, apart from TypeError and RangeError for wrong arguments. */

/** Why an operation on a socket failed. */
export type SocketErrorCode =
  /** Nobody listens at that port. */
  | "ECONNREFUSED"
  /** The peer reset the connection. */
  | "ECONNRESET"
  /** No answer in time. */
  | "ETIMEDOUT"
  /** The host does not answer neighbour resolution, or a router said it cannot be reached. */
  | "EHOSTUNREACH"
  /** No route, or no source address for that destination. */
  | "ENETUNREACH"
  | "EADDRINUSE"
  /** Not an address of this stack. */
  | "EADDRNOTAVAIL"
  /** A limit of the stack is reached. */
  | "EMFILE"
  /** Payload memory ran out. */
  | "ENOMEM"
  /** A queue is full; try again later. */
  | "ENOBUFS"
  /** The datagram is too long. */
  | "EMSGSIZE"
  /** The socket must not send broadcasts. */
  | "EACCES"
  /** Written after the end. */
  | "EPIPE"
  /** What came over a port's link is no stream of frames. */
  | "EPROTO"
  /** The host name is no IP address, and no resolver is set up. */
  | "ENOTFOUND"
  /** The address to connect to is not written as one. */
  | "EINVAL"
  /** The caller ended it: a signal, `close`, `abort`, or the stack was closed. */
  | "ABORT_ERR"
  | TlsErrorCode;

/** Why TLS has failed: where Node has a code, that. */
export type TlsErrorCode =
  | "CERT_HAS_EXPIRED"
  | "CERT_NOT_YET_VALID"
  /** The certificate is for other names. */
  | "ERR_TLS_CERT_ALTNAME_INVALID"
  /** Nobody else has signed the certificate, and it is not among those that are trusted. */
  | "DEPTH_ZERO_SELF_SIGNED_CERT"
  /** The chain has its root with it, and that is not among those that are trusted. */
  | "SELF_SIGNED_CERT_IN_CHAIN"
  /** The certificate came without its issuer's, which is not among those that are trusted. */
  | "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
  | "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
  | "CERT_SIGNATURE_FAILURE"
  | "CERT_REVOKED"
  /** A certificate of a client for a server, or the other way round. */
  | "INVALID_PURPOSE"
  | "CERT_REJECTED"
  /** The private key is not that of the certificate. */
  | "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
  /** `startTls` of a socket that was not opened for it, or speaks TLS already. */
  | "ERR_INVALID_STATE"
  /** A reason of OpenSSL: `ERR_SSL_WRONG_VERSION_NUMBER` for what is no TLS, `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA` for an alert of the peer. */
  | `ERR_SSL_${string}`;

const PREFIX = "SocketError: ";

/** The ends of what failed, and why. */
export interface SocketErrorOptions extends ErrorOptions {
  /** This end, as `"10.0.0.1:49152"`. */
  localAddress?: string | null;
  /** The other end, in the same way. */
  remoteAddress?: string | null;
}

/** A socket operation failed. Extends TypeError, as the Sockets API has it, and its messages begin with "SocketError: ". */
export class SocketError extends TypeError {
  /** Always `"SocketError"`. */
  override readonly name = "SocketError";
  /** Why, for programs; the message says it for people and names the addresses. */
  readonly code: SocketErrorCode;
  /** This end as `"10.0.2.2:49152"` or `"[fd00::2]:49152"`; null where none was chosen yet. */
  readonly localAddress: string | null;
  /** The other end, in the same way; null where there is none, as for a listener. */
  readonly remoteAddress: string | null;

  constructor(code: SocketErrorCode, message: string, options?: SocketErrorOptions) {
    super(`${PREFIX}${message} (${code})`, options);
    this.code = code;
    this.localAddress = options?.localAddress ?? null;
    this.remoteAddress = options?.remoteAddress ?? null;
  }
}

/** The error, naming the ends of what it has ended: a new one, with the error as its cause, where a SocketError names none. */
export function withEnds(error: Error, ends: SocketErrorOptions): Error {
  if (!(error instanceof SocketError)) return error;
  if (error.localAddress !== null || error.remoteAddress !== null) return error;
  const named = new SocketError(error.code, "", { ...ends, cause: error });
  named.message = error.message;
  return named;
}

/** Why something failed, for within the message of another error: without the prefix. */
export function reasonOf(error: unknown): string {
  if (error instanceof SocketError) return error.message.slice(PREFIX.length);
  return error instanceof Error ? error.message : String(error);
}

/**
 * A WebAssembly module could not be loaded, or it trapped; `cause` has the original error. After a trap everything in
 * that engine is over, and a new engine is needed; after one in a gateway's services, that gateway is.
 */
export class EngineError extends Error {
  /** Always `"EngineError"`. */
  override readonly name = "EngineError";
}
