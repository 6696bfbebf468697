/** Certificate authorities: certificates for any name, for those who trust the authority's own. */

import * as check from "../arguments.js";
import { SocketError } from "../errors.js";
import type { BufferSource } from "../platform.js";
import type { AuthorityOptions, CertificateAuthority, IssuedCertificate } from "../types.js";
import { Tls } from "./module.js";

const DAY = 24 * 3_600_000;
/** The longest that clients accept for a certificate under an authority which their user has installed. */
const LONGEST_LEAF_DAYS = 825;
/** Certificates of today that have fewer days left are made again. */
const SMALLEST_REST = 1;

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const LONGEST_HOST_NAME = 253;

/** A certificate that was made. */
interface Kept extends IssuedCertificate {
  /** In milliseconds since 1970. */
  readonly notAfter: number;
  readonly madeAt: number;
}

/** What of the options stays. */
interface Validity {
  readonly backdate: number;
  readonly leaf: number;
  readonly cacheSize: number;
  readonly date: () => number;
}

/** See {@link CertificateAuthority}. */
export class AuthorityImpl implements CertificateAuthority {
  readonly cert: string;
  readonly key: string;
  readonly #tls: Tls;
  readonly #id: number;
  readonly #leafKey: string;
  readonly #validity: Validity;
  /** By name, the one that was used last at the end. */
  readonly #kept = new Map<string, Kept>();
  #isClosed = false;

  constructor(tls: Tls, id: number, validity: Validity) {
    this.#tls = tls;
    this.#id = id;
    this.#validity = validity;
    this.cert = pem(
      "CERTIFICATE",
      tls.call((wasm) => wasm.authority_certificate(id)),
    );
    this.key = pem(
      "PRIVATE KEY",
      tls.call((wasm) => wasm.authority_key(id)),
    );
    this.#leafKey = pem(
      "PRIVATE KEY",
      tls.call((wasm) => wasm.leaf_key(id)),
    );
  }

  issue(hostname: string): IssuedCertificate {
    const name = hostName(hostname);
    if (this.#isClosed) throw new SocketError("ABORT_ERR", "the certificate authority was closed");
    const { backdate, leaf, cacheSize, date } = this.#validity;
    const now = date();
    const before = this.#kept.get(name);
    this.#kept.delete(name);
    const fits =
      before !== undefined &&
      now >= before.madeAt - backdate &&
      now < before.notAfter - SMALLEST_REST * DAY;
    const issued = fits ? before : this.#make(name, now, now - backdate, now + leaf);
    this.#kept.set(name, issued);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= cacheSize) break;
      this.#kept.delete(oldest);
    }
    return issued;
  }

  #make(name: string, madeAt: number, notBefore: number, notAfter: number): Kept {
    const der = this.#tls.call((wasm) => wasm.issue(this.#id, [name], notBefore, notAfter));
    return { cert: pem("CERTIFICATE", der), key: this.#leafKey, notAfter, madeAt };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#kept.clear();
    try {
      this.#tls.call((wasm) => wasm.free_authority(this.#id));
    } catch {
      // The module has trapped: there is nothing to free.
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Makes a certificate authority, or restores one.
 *
 * ```js
 * const authority = await createAuthority();
 * const server = stack.listen({ port: 443, tls: { authority } });
 * const socket = stack.connect("shop.test:443", { secureTransport: "on", tls: { ca: authority.cert } });
 * ```
 * @throws {TypeError | RangeError} that names what is wrong with which option; {@link EngineError} if the module of TLS cannot be loaded.
 */
export async function createAuthority(
  options: AuthorityOptions = {},
): Promise<CertificateAuthority> {
  const given = check.options("options", options);
  const { days = 3_650, backdateDays = 420, leafDays = 397, cacheSize = 256 } = given;
  const lifetime = check.integer("options.days", days, 1, 36_500) * DAY;
  const backdate = check.integer("options.backdateDays", backdateDays, 0, LONGEST_LEAF_DAYS);
  const leaf = check.integer("options.leafDays", leafDays, SMALLEST_REST + 1, LONGEST_LEAF_DAYS);
  if (backdate + leaf > LONGEST_LEAF_DAYS) {
    throw new RangeError(
      `options.backdateDays and options.leafDays must be ${LONGEST_LEAF_DAYS} together at most, got ${backdate + leaf}`,
    );
  }
  const date = check.callback("options.date", given.date) ?? Date.now;
  const validity = {
    backdate: backdate * DAY,
    leaf: leaf * DAY,
    cacheSize: check.integer("options.cacheSize", cacheSize, 1, 65_536),
    date,
  };
  const name = given.name === undefined ? null : check.string("options.name", given.name);
  const { cert, key } = given;
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError("options.cert and options.key must be given together");
  }
  const tls = await Tls.load(null);
  const id = tls.call((wasm) => {
    if (cert !== undefined && key !== undefined) {
      return wasm.restore_authority(bytesOf("options.cert", cert), bytesOf("options.key", key));
    }
    const now = date();
    return wasm.create_authority(name ?? ownName(), now - lifetime, now + lifetime);
  });
  return new AuthorityImpl(tls, id, validity);
}

/** Two authorities of the same name, both trusted, would be confused by those who trust them. */
function ownName(): string {
  const [number = 0] = crypto.getRandomValues(new Uint16Array(1));
  return `ethertab ${number.toString(16).padStart(4, "0")}`;
}

/** A name that a certificate can be for, as it is compared. */
function hostName(given: string): string {
  const name = check.string("hostname", given).toLowerCase().replace(/\.$/, "");
  const bare = name.replace(/^\[(.*)\]$/, "$1");
  const address = check.addressLiteral(bare);
  if (address !== null) return address;
  const labels = name.split(".");
  const [first = "", ...rest] = labels;
  const hasWildcard = first === "*" && rest.length > 0;
  const isName = (hasWildcard ? rest : labels).every((label) => LABEL.test(label));
  if (!isName || name.length > LONGEST_HOST_NAME) {
    throw new TypeError(`hostname must be a host name or an IP address, got ${check.show(given)}`);
  }
  return name;
}

function bytesOf(argument: string, given: string | BufferSource): Uint8Array {
  return typeof given === "string" ? new TextEncoder().encode(given) : check.bytes(argument, given);
}

/** RFC 7468 §2. */
function pem(label: string, der: Uint8Array): string {
  let binary = "";
  for (const byte of der) binary += String.fromCharCode(byte);
  const lines = btoa(binary).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
