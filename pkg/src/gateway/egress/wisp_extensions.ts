/** The extensions of Wisp version 2: what a client answers to those that a server offers. */

import * as check from "../../arguments.js";
import type { KeyPair } from "../../platform.js";
import { Extension, type ExtensionEntry } from "./wisp_packets.js";

/** Who the client is, to a server that asks for a user name and a password. */
export interface WispPassword {
  /** At most 255 bytes of UTF-8. */
  username: string;
  /** At most 65,535 bytes of UTF-8. */
  password: string;
}

/** What the extensions ask of their user. */
export interface WispCredentials {
  password: WispPassword | null;
  /** An Ed25519 key pair, whose public key must be extractable: the server is told its hash. */
  key: KeyPair | null;
}

/** What a server's INFO means to this client. */
export interface Agreement {
  udp: boolean;
  /** A CONTINUE packet of its own tells that a TCP stream is open. */
  openConfirmation: boolean;
  /** The server's message of the day. */
  motd: string | null;
  /** The answer. */
  extensions: ExtensionEntry[];
}

/** The server asks for what was not given. */
export class CredentialsError extends Error {
  override readonly name = "CredentialsError";
}

const NOTHING = new Uint8Array(0);
/** The bit of Ed25519 among the algorithms of a server. */
const ED25519 = 1;
/** A message of the day has no bound in the protocol. */
const LONGEST_MOTD = 64 * 1024;

/** Checks what a user gave. */
export function credentialsOf(
  password: WispPassword | undefined,
  key: KeyPair | undefined,
): WispCredentials {
  return {
    password: password === undefined ? null : passwordOf(password),
    key: key === undefined ? null : keyOf(key),
  };
}

function passwordOf(given: WispPassword): WispPassword {
  const { username, password } = check.options("options.password", given);
  const checked = (argument: string, value: unknown, most: number): string => {
    const text = check.string(argument, value);
    const { byteLength } = new TextEncoder().encode(text);
    if (byteLength > most) {
      throw new RangeError(`${argument} must have at most ${most} bytes, got ${byteLength}`);
    }
    return text;
  };
  return {
    username: checked("options.password.username", username, 0xff),
    password: checked("options.password.password", password, 0xffff),
  };
}

function keyOf(given: KeyPair): KeyPair {
  const { privateKey, publicKey } = check.options("options.key", given);
  const fits =
    typeof CryptoKey === "function" &&
    privateKey instanceof CryptoKey &&
    publicKey instanceof CryptoKey &&
    privateKey.algorithm.name === "Ed25519" &&
    privateKey.usages.includes("sign") &&
    publicKey.extractable;
  if (!fits) {
    throw new TypeError(
      `options.key must be a pair of Ed25519 keys of WebCrypto that may sign, with a public key that can be exported, got ${check.show(given)}`,
    );
  }
  return { privateKey, publicKey };
}

/**
 * What this client and a server agree on.
 * @throws {CredentialsError} if the server asks for a password or a key that there is not.
 */
export async function agree(
  offered: readonly ExtensionEntry[],
  { password, key }: WispCredentials,
): Promise<Agreement> {
  const find = (id: number) => offered.find((entry) => entry.id === id)?.metadata ?? null;
  const passwordOffer = find(Extension.password);
  const keyOffer = find(Extension.key);
  const extensions: ExtensionEntry[] = [];
  for (const id of [Extension.udp, Extension.motd, Extension.openConfirmation]) {
    if (find(id) !== null) extensions.push({ id, metadata: NOTHING });
  }
  // The first draft of the extension has no byte that says so: a server that lists it requires it.
  const needsPassword = passwordOffer !== null && passwordOffer[0] !== 0;
  const needsKey = keyOffer !== null && keyOffer[0] !== 0;
  const canSign = keyOffer !== null && ((keyOffer[1] ?? 0) & ED25519) !== 0;
  if (keyOffer !== null && canSign && key !== null) {
    extensions.push({ id: Extension.key, metadata: await signed(keyOffer.slice(2), key) });
  }
  if (passwordOffer !== null && password !== null) {
    extensions.push({ id: Extension.password, metadata: passwordMetadata(password) });
  }
  const hasKey = canSign && key !== null;
  const hasPassword = passwordOffer !== null && password !== null;
  // A server that requires both leaves the choice to its client.
  if ((needsPassword || needsKey) && !hasKey && !hasPassword) {
    const wanted = [needsPassword && "options.password", needsKey && "options.key"];
    throw new CredentialsError(`the server asks for ${wanted.filter(Boolean).join(" or ")}`);
  }
  const motd = find(Extension.motd);
  return {
    udp: find(Extension.udp) !== null,
    openConfirmation: find(Extension.openConfirmation) !== null,
    motd: motd === null ? null : new TextDecoder().decode(motd.subarray(0, LONGEST_MOTD)),
    extensions,
  };
}

function passwordMetadata(credentials: WispPassword): Uint8Array {
  const encoder = new TextEncoder();
  const username = encoder.encode(credentials.username);
  const password = encoder.encode(credentials.password);
  const metadata = new Uint8Array(3 + username.byteLength + password.byteLength);
  metadata[0] = username.byteLength;
  new DataView(metadata.buffer).setUint16(1, password.byteLength, true);
  metadata.set(username, 3);
  metadata.set(password, 3 + username.byteLength);
  return metadata;
}

async function signed(
  challenge: Uint8Array<ArrayBuffer>,
  { privateKey, publicKey }: KeyPair,
): Promise<Uint8Array> {
  const { subtle } = crypto;
  const [raw, signature] = await Promise.all([
    subtle.exportKey("raw", publicKey),
    subtle.sign("Ed25519", privateKey, challenge),
  ]);
  const hash = await subtle.digest("SHA-512", raw);
  const metadata = new Uint8Array(1 + hash.byteLength + signature.byteLength);
  metadata[0] = ED25519;
  metadata.set(new Uint8Array(hash), 1);
  metadata.set(new Uint8Array(signature), 1 + hash.byteLength);
  return metadata;
}
