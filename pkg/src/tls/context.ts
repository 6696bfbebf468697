/** What a caller says about TLS, checked, as what the module makes a configuration of. */

import * as check from "../arguments.js";
import type { BufferSource } from "../platform.js";
import type {
  Certificates,
  TlsCommonOptions,
  TlsOptions,
  TlsServerOptions,
  TlsVersion,
} from "../types.js";
import type { Bindings } from "../wasm/tls_bindings.js";
import { AuthorityImpl } from "./authority.js";
import type { Configuring } from "./module.js";

/** As in Node. */
const HANDSHAKE_TIMEOUT = 120_000;

const VERSIONS: readonly TlsVersion[] = ["TLSv1.2", "TLSv1.3"];

/** Whether clients are asked for a certificate, by the module's numbers. */
const REQUEST = { no: 0, optional: 1, required: 2 } as const;

/** Names of protocols that fit in a record: RFC 7301 §3.1. */
const LONGEST_PROTOCOL = 255;

/** A configuration, and who is told the secrets of its connections. */
interface Logging extends Configuring {
  readonly keylog: ((line: string) => void) | null;
}

/** What a client needs to begin. */
export interface ClientContext extends Logging {
  /** The name that is asked for, and that the certificate must be for. */
  readonly servername: string;
  readonly handshakeTimeout: number;
}

/** What a server needs to begin. */
export interface ServerContext {
  /** What is taken for a name where nothing else is chosen. */
  readonly usual: ((servername: string | null) => Chosen) | null;
  /** For a client that asks for a name; null if it is refused. Promises are waited for. */
  choose(hello: { servername: string | null; alpn: readonly string[] }): Chosen | Promise<Chosen>;
  readonly handshakeTimeout: number;
}

type Chosen = Logging | null;

/**
 * Checks what a client was given.
 * @throws {TypeError | RangeError} that names what is wrong.
 */
export function clientContext(
  argument: string,
  options: TlsOptions | undefined,
  servername: string,
  alpn: readonly string[] | undefined,
): ClientContext {
  const given = check.options(argument, options);
  const verify = check.boolean(`${argument}.verify`, given.verify, true);
  const ca = verify ? trusted(argument, given.ca) : [];
  const cert = certificates(`${argument}.cert`, given.cert);
  const key = keyOf(argument, given, cert);
  const protocols = protocolsOf("options.alpn", alpn);
  const versions = versionsOf(argument, given);
  const keylog = check.callback(`${argument}.keylog`, given.keylog);
  const logsKeys = keylog !== null;
  const texts = ["client", ...ca, "", ...cert, "", key ?? "", ...protocols];
  return {
    servername,
    handshakeTimeout: handshakeTimeout(argument, given),
    keylog,
    key: identity(texts, versions, verify, logsKeys),
    make: (wasm) =>
      wasm.client_config(
        bytesOf(ca),
        bytesOf(cert),
        key === null ? null : bytesOf([key])[0],
        [...protocols],
        versions,
        verify,
        logsKeys,
      ),
  };
}

/**
 * Checks what a server was given.
 * @throws {TypeError | RangeError} that names what is wrong.
 */
export function serverContext(argument: string, options: TlsServerOptions): ServerContext {
  const given = check.options(argument, options);
  const select = check.callback(`${argument}.select`, given.select);
  const hasOwn =
    given.cert !== undefined || given.key !== undefined || given.authority !== undefined;
  if (!hasOwn && select === null) {
    throw new TypeError(
      `${argument} needs cert and key, an authority, or select, which gives them`,
    );
  }
  const usual = hasOwn ? chooser(argument, given) : null;
  return {
    usual,
    handshakeTimeout: handshakeTimeout(argument, given),
    choose(hello) {
      if (select === null) return usual?.(hello.servername) ?? null;
      const choose = (choice: Awaited<ReturnType<typeof select>>): Chosen => {
        if (choice === null || choice === undefined) return null;
        const chosen = check.options("what tls.select gives", choice);
        return chooser("what tls.select gives", merged(given, chosen))(hello.servername);
      };
      const choice = select({ servername: hello.servername, alpn: [...hello.alpn] });
      return choice instanceof Promise ? choice.then(choose) : choose(choice);
    },
  };
}

/** The options with those of a choice in their place; a certificate of one kind is in the place of one of the other. */
function merged(
  given: Partial<TlsServerOptions>,
  choice: Partial<TlsServerOptions>,
): Partial<TlsServerOptions> {
  const { cert, key, authority, ...rest } = given;
  const chooses = choice.cert !== undefined || choice.authority !== undefined;
  const own = chooses ? {} : { cert, key, authority };
  return { ...rest, ...(own as Partial<TlsServerOptions>), ...choice };
}

/** Makes configurations of options that have a certificate, or an authority for them. */
function chooser(
  argument: string,
  given: Partial<TlsServerOptions>,
): (servername: string | null) => Chosen {
  const { authority, requestCert = false } = given;
  const protocols = protocolsOf(`${argument}.alpn`, given.alpn);
  const versions = versionsOf(argument, given);
  if (requestCert !== "optional") check.boolean(`${argument}.requestCert`, requestCert, false);
  const request =
    requestCert === "optional" ? REQUEST.optional : requestCert ? REQUEST.required : REQUEST.no;
  const ca = request === REQUEST.no ? [] : trusted(argument, given.ca);
  const keylog = check.callback(`${argument}.keylog`, given.keylog);
  const logsKeys = keylog !== null;
  const configuring = (cert: readonly string[], key: string): Logging => ({
    keylog,
    key: identity(
      ["server", ...ca, "", ...cert, "", key, ...protocols],
      versions,
      request,
      logsKeys,
    ),
    make: (wasm: Bindings) =>
      wasm.server_config(
        bytesOf(ca),
        bytesOf(cert),
        bytesOf([key])[0] as Uint8Array,
        [...protocols],
        versions,
        request,
        logsKeys,
      ),
  });
  if (authority !== undefined) {
    if (!(authority instanceof AuthorityImpl)) {
      throw new TypeError(
        `${argument}.authority must come from createAuthority, got ${check.show(authority)}`,
      );
    }
    if (given.cert !== undefined || given.key !== undefined) {
      throw new TypeError(`${argument} must have either an authority or cert and key`);
    }
    return (servername) => {
      // A client that names nobody asks for the address that it has dialled, which is not known here.
      const { cert, key } = authority.issue(servername ?? "localhost");
      return configuring([cert], key);
    };
  }
  const cert = certificates(`${argument}.cert`, given.cert);
  const key = keyOf(argument, given, cert);
  if (key === null) throw new TypeError(`${argument}.cert and ${argument}.key must be given`);
  const own = configuring(cert, key);
  return () => own;
}

/** Certificates of authorities. */
function trusted(argument: string, given: Certificates | undefined): readonly string[] {
  const ca = given ?? platformAuthorities();
  if (ca === null) {
    throw new TypeError(
      `${argument}.ca must be given: the certificates of the authorities to trust, in PEM or DER. There is no list of public authorities here, since ` +
        `browsers keep theirs from scripts; Node's is tls.rootCertificates`,
    );
  }
  return certificates(`${argument}.ca`, ca);
}

/** Those that come with the platform, where scripts can have them: in Node. */
function platformAuthorities(): readonly string[] | null {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  const tls = process?.getBuiltinModule?.("node:tls") as
    | { rootCertificates?: readonly string[] }
    | undefined;
  return tls?.rootCertificates ?? null;
}

/** Certificates as texts: PEM as it is, bytes with a character for each, so that they can be compared. */
function certificates(argument: string, given: Certificates | undefined): readonly string[] {
  if (given === undefined) return [];
  const list = Array.isArray(given) ? (given as readonly (string | BufferSource)[]) : [given];
  if (list.length === 0) throw new TypeError(`${argument} must not be empty`);
  return list.map((one, index) =>
    textOf(Array.isArray(given) ? `${argument}[${index}]` : argument, one as string | BufferSource),
  );
}

function textOf(argument: string, given: string | BufferSource): string {
  if (typeof given === "string") return given;
  let text = "";
  for (const byte of check.bytes(argument, given)) text += String.fromCharCode(byte);
  return text;
}

/** The bytes that {@link textOf} has made a text of. What is PEM is ASCII where it counts. */
function bytesOf(texts: readonly string[]): Uint8Array<ArrayBuffer>[] {
  return texts.map((text) => Uint8Array.from(text, (character) => character.charCodeAt(0)));
}

function keyOf(
  argument: string,
  given: Partial<TlsCommonOptions>,
  cert: readonly string[],
): string | null {
  if ((given.key === undefined) !== (cert.length === 0)) {
    throw new TypeError(`${argument}.cert and ${argument}.key must be given together`);
  }
  return given.key === undefined ? null : textOf(`${argument}.key`, given.key);
}

function protocolsOf(argument: string, given: readonly string[] | undefined): readonly string[] {
  const protocols = check.strings(argument, given);
  for (const protocol of protocols) {
    const { length } = new TextEncoder().encode(protocol);
    if (length === 0 || length > LONGEST_PROTOCOL) {
      throw new RangeError(
        `${argument}: a protocol has 1 to ${LONGEST_PROTOCOL} bytes, got ${check.show(protocol)}`,
      );
    }
  }
  return protocols;
}

/** The versions that are spoken, as bits. */
function versionsOf(argument: string, given: Partial<TlsCommonOptions>): number {
  const { minVersion = "TLSv1.2", maxVersion = "TLSv1.3" } = given;
  check.oneOf(`${argument}.minVersion`, VERSIONS, minVersion);
  check.oneOf(`${argument}.maxVersion`, VERSIONS, maxVersion);
  let bits = 0;
  for (const [index, version] of VERSIONS.entries()) {
    if (version >= minVersion && version <= maxVersion) bits |= 1 << index;
  }
  if (bits === 0) {
    throw new RangeError(`${argument}.minVersion ${minVersion} is above maxVersion ${maxVersion}`);
  }
  return bits;
}

function handshakeTimeout(argument: string, given: Partial<TlsCommonOptions>): number {
  const { handshakeTimeout = HANDSHAKE_TIMEOUT } = given;
  return check.duration(`${argument}.handshakeTimeout`, handshakeTimeout, 1);
}

function identity(texts: readonly string[], ...numbers: (number | boolean)[]): string {
  return `${numbers.join()}\n${texts.map((text) => `${text.length}:${text}`).join("")}`;
}
