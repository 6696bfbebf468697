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
  /** The caller ended it: a signal, `close`, `abort`, or the stack was closed. */
  | "ABORT_ERR";

/** A socket operation failed. Extends TypeError, as the Sockets API has it. */
export class SocketError extends TypeError {
  override readonly name = "SocketError";
  /** Why, for programs; the message says it for people and names the addresses. */
  readonly code: SocketErrorCode;

  constructor(code: SocketErrorCode, message: string, options?: ErrorOptions) {
    super(`${message} (${code})`, options);
    this.code = code;
  }
}

/**
 * A WebAssembly module could not be loaded, or it trapped; `cause` has the original error. After a trap everything in
 * that engine is over, and a new engine is needed; after one in a gateway's services, that gateway is.
 */
export class EngineError extends Error {
  override readonly name = "EngineError";
}
