// What a page downloads, as built in pkg/dist: the engine, the module that only a gateway loads, both together, and the
// JavaScript modules that `import "ethertab"` brings.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { figure } from "../lib/measure.mjs";

/** The module given in a static or dynamic import, or in a re-export, if it is one of the package's own. */
const RELATIVE_IMPORT = /\b(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g;

function sizes(prefix, files) {
  const contents = files.map((file) => readFileSync(file));
  // Each file is its own response, so each is compressed alone.
  const total = (encode) => contents.reduce((sum, bytes) => sum + encode(bytes).length, 0);
  const brotli = (bytes) =>
    brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  return [
    figure(`${prefix}raw`, "bytes", [total((bytes) => bytes)]),
    figure(`${prefix}gzip`, "bytes", [total((bytes) => gzipSync(bytes, { level: 9 }))]),
    figure(`${prefix}brotli`, "bytes", [total(brotli)]),
  ];
}

/** `entry` and all modules of the package that it imports, directly or not. */
function modulesFrom(entry) {
  const found = new Set([entry]);
  for (const file of found) {
    for (const [, specifier] of readFileSync(file, "utf8").matchAll(RELATIVE_IMPORT)) {
      found.add(path.resolve(path.dirname(file), specifier));
    }
  }
  return [...found];
}

function built(...segments) {
  const file = path.join(...segments);
  if (!existsSync(file)) throw new Error(`${file} is missing: build first`);
  return file;
}

const ENGINE = "wasm/ethertab_bg.wasm";
const SERVICES = "wasm/services_bg.wasm";

/** What `run.mjs` runs. */
export const benchmarks = [
  {
    prefix: "size.wasm.",
    run: ({ dist }) => sizes("size.wasm.", [built(dist, ENGINE)]),
  },
  {
    prefix: "size.services.",
    run: ({ dist }) => sizes("size.services.", [built(dist, SERVICES)]),
  },
  {
    prefix: "size.modules.",
    run: ({ dist }) => sizes("size.modules.", [built(dist, ENGINE), built(dist, SERVICES)]),
  },
  {
    prefix: "size.js.",
    run: ({ dist }) => sizes("size.js.", modulesFrom(built(dist, "index.js"))),
  },
];
