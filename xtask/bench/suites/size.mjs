// What a page downloads, as built in pkg/dist: the engine, the modules that only a gateway and only TLS load, the first two together, and
// the JavaScript modules that `import "ethertab"` brings; of the other entry points, what they bring besides.

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

/** What an entry point brings that the main one does not. */
function beyondIndex(dist, entry) {
  const main = new Set(modulesFrom(built(dist, "index.js")));
  return modulesFrom(built(dist, entry)).filter((file) => !main.has(file));
}

function built(...segments) {
  const file = path.join(...segments);
  if (!existsSync(file)) throw new Error(`${file} is missing: build first`);
  return file;
}

const ENGINE = "wasm/ethertab_bg.wasm";
const SERVICES = "wasm/services_bg.wasm";
const TLS = "wasm/tls_bg.wasm";

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
    prefix: "size.tls.",
    run: ({ dist }) => sizes("size.tls.", [built(dist, TLS)]),
  },
  {
    prefix: "size.modules.",
    run: ({ dist }) => sizes("size.modules.", [built(dist, ENGINE), built(dist, SERVICES)]),
  },
  {
    prefix: "size.js.",
    run: ({ dist }) => sizes("size.js.", modulesFrom(built(dist, "index.js"))),
  },
  ...["node/index", "worker/index", "testing/index", "inline", "inline_tls"].map((entry) => {
    const prefix = `size.more.${entry.split("/")[0]}.`;
    return { prefix, run: ({ dist }) => sizes(prefix, beyondIndex(dist, `${entry}.js`)) };
  }),
];
