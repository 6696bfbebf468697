// What a page downloads: the engine and the package's JavaScript, as built in pkg/dist.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { figure } from "../lib/measure.mjs";

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

function filesUnder(folder, extension) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(extension))
    .map((name) => path.join(folder, name));
}

function measure(prefix, extension, folder) {
  const files = filesUnder(folder, extension);
  if (files.length === 0) throw new Error(`no ${extension} file under ${folder}: build first`);
  return sizes(prefix, files);
}

/** What `run.mjs` runs. */
export const benchmarks = [
  {
    prefix: "size.wasm.",
    run: ({ dist }) => measure("size.wasm.", ".wasm", path.join(dist, "wasm")),
  },
  { prefix: "size.js.", run: ({ dist }) => measure("size.js.", ".js", dist) },
];
