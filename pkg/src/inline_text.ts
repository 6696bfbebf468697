/** WebAssembly modules as texts in scripts; see `scripts/inline.mjs`. */

/** A module from its text, as if it had been fetched. */
export function unpack(text: string): Response {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const module = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(module, { headers: { "content-type": "application/wasm" } });
}
