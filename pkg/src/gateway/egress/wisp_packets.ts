/**
 * Packets of the Wisp protocol, versions 1 and 2: each is one binary WebSocket message of a type, a stream's number and a payload, all numbers
 * little-endian. What is read here came from a server and may be anything.
 */

/** What a packet is about. */
export const PacketType = { connect: 1, data: 2, continue: 3, close: 4, info: 5 } as const;

/** Bytes before the payload: type and stream. */
export const HEADER_BYTES = 5;

/** The number of no stream: what it carries is about the connection. */
export const CONNECTION = 0;

/** The transports of a stream. */
export type WispTransport = "tcp" | "udp";
const TRANSPORTS: Readonly<Record<WispTransport, number>> = { tcp: 1, udp: 2 };

/** Extensions of version 2. */
export const Extension = {
  udp: 1,
  password: 2,
  key: 3,
  motd: 4,
  openConfirmation: 5,
} as const;

/** Why a stream or the connection is closed. */
export const CloseReason = {
  unknown: 0x01,
  voluntary: 0x02,
  networkError: 0x03,
  incompatible: 0x04,
  invalid: 0x41,
  unreachable: 0x42,
  timeout: 0x43,
  refused: 0x44,
  transferTimeout: 0x47,
  blocked: 0x48,
  throttled: 0x49,
  clientError: 0x81,
  badPassword: 0xc0,
  badSignature: 0xc1,
  credentialsMissing: 0xc2,
} as const;

const REASONS: Readonly<Record<number, string>> = {
  [CloseReason.unknown]: "for no reason that it told",
  [CloseReason.voluntary]: "as it wished",
  [CloseReason.networkError]: "after a network error",
  [CloseReason.incompatible]: "since the extensions are incompatible",
  [CloseReason.invalid]: "since the address or port is not valid",
  [CloseReason.unreachable]: "since the host cannot be reached",
  [CloseReason.timeout]: "since the host did not answer in time",
  [CloseReason.refused]: "since the host refused the connection",
  [CloseReason.transferTimeout]: "since the connection was idle for too long",
  [CloseReason.blocked]: "since it blocks that host",
  [CloseReason.throttled]: "since there were too many connections",
  [CloseReason.badPassword]: "since user name or password are wrong",
  [CloseReason.badSignature]: "since the key is not one that it knows",
  [CloseReason.credentialsMissing]: "since it wants a password or a key",
};

/** A reason in words, to follow "the server closed it". */
export function reasonText(reason: number): string {
  return REASONS[reason] ?? `with reason 0x${reason.toString(16).padStart(2, "0")}`;
}

/** An extension as an INFO packet lists it. */
export interface ExtensionEntry {
  id: number;
  metadata: Uint8Array;
}

/** What a server may send. */
export type ServerPacket =
  | { type: "data"; stream: number; data: Uint8Array }
  | { type: "continue"; stream: number; remaining: number }
  | { type: "close"; stream: number; reason: number }
  | { type: "info"; major: number; minor: number; extensions: ExtensionEntry[] };

/** An extension's number is a byte. */
const MOST_EXTENSIONS = 256;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A packet, or null for what is none. Payloads are views of `bytes`. */
export function parsePacket(bytes: Uint8Array): ServerPacket | null {
  if (bytes.byteLength < HEADER_BYTES) return null;
  const view = viewOf(bytes);
  const stream = view.getUint32(1, true);
  const payload = bytes.subarray(HEADER_BYTES);
  switch (bytes[0]) {
    case PacketType.data:
      return { type: "data", stream, data: payload };
    case PacketType.continue:
      if (payload.byteLength !== 4) return null;
      return { type: "continue", stream, remaining: view.getUint32(HEADER_BYTES, true) };
    case PacketType.close:
      if (payload.byteLength > 1) return null;
      return { type: "close", stream, reason: payload[0] ?? CloseReason.unknown };
    case PacketType.info:
      return stream === CONNECTION ? parseInfo(payload) : null;
    default:
      return null;
  }
}

function parseInfo(payload: Uint8Array): ServerPacket | null {
  const [major, minor] = payload;
  if (major === undefined || minor === undefined) return null;
  const view = viewOf(payload);
  const extensions: ExtensionEntry[] = [];
  let at = 2;
  while (at < payload.byteLength) {
    if (payload.byteLength - at < 5 || extensions.length === MOST_EXTENSIONS) return null;
    const length = view.getUint32(at + 1, true);
    if (length > payload.byteLength - at - 5) return null;
    extensions.push({ id: view.getUint8(at), metadata: payload.slice(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return { type: "info", major, minor, extensions };
}

/** An empty packet with room for `length` bytes of payload. */
export function emptyPacket(type: number, stream: number, length: number): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(HEADER_BYTES + length);
  packet[0] = type;
  viewOf(packet).setUint32(1, stream, true);
  return packet;
}

/** Asks for a stream. */
export function connectPacket(
  stream: number,
  transport: WispTransport,
  hostname: string,
  port: number,
): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(hostname);
  const packet = emptyPacket(PacketType.connect, stream, 3 + name.byteLength);
  packet[HEADER_BYTES] = TRANSPORTS[transport];
  viewOf(packet).setUint16(HEADER_BYTES + 1, port, true);
  packet.set(name, HEADER_BYTES + 3);
  return packet;
}

/** Ends a stream, or with {@link CONNECTION} all. */
export function closePacket(stream: number, reason: number): Uint8Array<ArrayBuffer> {
  const packet = emptyPacket(PacketType.close, stream, 1);
  packet[HEADER_BYTES] = reason;
  return packet;
}

/** Tells the version and the extensions of this side. */
export function infoPacket(
  major: number,
  minor: number,
  extensions: readonly ExtensionEntry[],
): Uint8Array<ArrayBuffer> {
  const length = extensions.reduce((sum, { metadata }) => sum + 5 + metadata.byteLength, 2);
  const packet = emptyPacket(PacketType.info, CONNECTION, length);
  const view = viewOf(packet);
  packet.set([major, minor], HEADER_BYTES);
  let at = HEADER_BYTES + 2;
  for (const { id, metadata } of extensions) {
    view.setUint8(at, id);
    view.setUint32(at + 1, metadata.byteLength, true);
    packet.set(metadata, at + 5);
    at += 5 + metadata.byteLength;
  }
  return packet;
}
