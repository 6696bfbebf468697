/** What the suite moves and how it is set up, the same in Node, in a page and in remote.mjs. */

/** Settings of every gateway; the MTU differs from the usual one so that its arrival shows. */
export const GATEWAY = {
  network: "10.0.2.0/24",
  network6: "fd00:2::/64",
  domain: "lab.test",
  mtu: 1400,
};

export const MiB = 1 << 20;

/** What remote.mjs serves, and what two guests exchange. */
export const FILE = { length: 5 * MiB, seed: 4 };

/**
 * Deterministic bytes without period (xorshift32), so that a lost, repeated or
 * displaced piece changes the digest.
 *
 * @param {number} length  a multiple of 4
 * @param {number} seed    not 0
 */
export function bytes(length, seed) {
  const words = new Uint32Array(length / 4);
  let x = seed;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return new Uint8Array(words.buffer);
}

/** @param {BufferSource} data @returns {Promise<string>} in hexadecimal, as sha256sum prints it */
export async function sha256(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reads a stream to its end. @param {ReadableStream<Uint8Array>} stream */
export async function readAll(stream) {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A body that is produced as it is taken, 64 KiB at a time. @param {Uint8Array<ArrayBuffer>} data */
export function streamOf(data) {
  let offset = 0;
  return new ReadableStream({
    pull(controller) {
      if (offset === data.length) return controller.close();
      const end = Math.min(offset + 65_536, data.length);
      controller.enqueue(data.slice(offset, end));
      offset = end;
    },
  });
}
