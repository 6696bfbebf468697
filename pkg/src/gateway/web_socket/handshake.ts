/** The opening handshake of a WebSocket client (RFC 6455 §4.1). */

import type { Connection } from "../http/connection.js";
import {
  byteString,
  findHeadEnd,
  formatHead,
  type HeadParser,
  parseResponseHead,
  type ResponseHead,
} from "../http/head.js";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_HEAD = 64 * 1024;

/** Asks a server for a WebSocket; resolves with the protocol that it chose. @throws what is wrong with its answer. */
export async function shakeHands(
  connection: Connection,
  parser: HeadParser,
  url: URL,
  protocols: readonly string[],
): Promise<string> {
  const key = base64(crypto.getRandomValues(new Uint8Array(16)));
  const fields: [string, string][] = [
    ["host", url.host],
    ["upgrade", "websocket"],
    ["connection", "Upgrade"],
    ["sec-websocket-key", key],
    ["sec-websocket-version", "13"],
  ];
  if (protocols.length > 0) fields.push(["sec-websocket-protocol", protocols.join(", ")]);
  await connection.write(formatHead(`GET ${url.pathname}${url.search} HTTP/1.1`, fields));
  const head = await receiveHead(connection, parser);
  if (head.status !== 101) {
    throw new Error(`the server answered ${head.status} ${head.reason}, and not 101`);
  }
  const { fields: answer } = head;
  if (!answer.tokens("upgrade").includes("websocket")) throw new Error("no Upgrade: websocket");
  if (!answer.tokens("connection").includes("upgrade")) throw new Error("no Connection: Upgrade");
  const accept = answer.all("sec-websocket-accept").join().trim();
  if (accept !== base64(sha1(byteString(key + GUID)))) {
    throw new Error("the server's Sec-WebSocket-Accept does not fit the key");
  }
  if (answer.tokens("sec-websocket-extensions").length > 0) {
    throw new Error("the server uses an extension that was not asked for");
  }
  const chosen = answer.all("sec-websocket-protocol").join().trim();
  if (chosen !== "" && !protocols.includes(chosen)) {
    throw new Error(`the server chose the protocol "${chosen}", which was not offered`);
  }
  return chosen;
}

async function receiveHead(connection: Connection, parser: HeadParser): Promise<ResponseHead> {
  for (let searched = 0; ; ) {
    const bytes = connection.buffered;
    const length = findHeadEnd(bytes, searched);
    if ((length === -1 ? bytes.length : length) > MAX_HEAD) {
      throw new Error(`the response's head has more than ${MAX_HEAD} bytes`);
    }
    if (length !== -1) {
      const head = parseResponseHead(parser, bytes.slice(0, length));
      connection.consume(length);
      return head;
    }
    searched = bytes.length;
    if (!(await connection.fill())) throw new Error("the server closed the connection");
  }
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** SHA-1 of a short message (RFC 3174). The platform's is for secure contexts only, and a page with a VM may be none. */
export function sha1(message: Uint8Array): Uint8Array {
  const blocks = new Uint8Array((((message.length + 8) >> 6) + 1) << 6);
  blocks.set(message);
  blocks[message.length] = 0x80;
  const view = new DataView(blocks.buffer);
  view.setUint32(blocks.length - 4, message.length * 8);
  const state = Uint32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
  const words = new Uint32Array(80);
  const word = (at: number) => words[at] ?? 0;
  for (let block = 0; block < blocks.length; block += 64) {
    for (let t = 0; t < 80; t += 1) {
      words[t] =
        t < 16
          ? view.getUint32(block + t * 4)
          : rotated(word(t - 3) ^ word(t - 8) ^ word(t - 14) ^ word(t - 16), 1);
    }
    let [a = 0, b = 0, c = 0, d = 0, e = 0] = state;
    for (let t = 0; t < 80; t += 1) {
      const [mixed, constant] = round(t, b, c, d);
      const next = (rotated(a, 5) + mixed + e + word(t) + constant) | 0;
      [a, b, c, d, e] = [next, a, rotated(b, 30), c, d];
    }
    for (const [index, value] of [a, b, c, d, e].entries()) {
      state[index] = (state[index] ?? 0) + value;
    }
  }
  const digest = new DataView(new ArrayBuffer(20));
  for (const [index, value] of state.entries()) digest.setUint32(index * 4, value);
  return new Uint8Array(digest.buffer);
}

function round(t: number, b: number, c: number, d: number): [mixed: number, constant: number] {
  if (t < 20) return [(b & c) | (~b & d), 0x5a827999];
  if (t < 40) return [b ^ c ^ d, 0x6ed9eba1];
  if (t < 60) return [(b & c) | (b & d) | (c & d), 0x8f1bbcdc];
  return [b ^ c ^ d, 0xca62c1d6];
}

function rotated(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
