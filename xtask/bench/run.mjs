// The benchmarks: `node run.mjs [NAME-PREFIX] [--json FILE] [--wasm-dir DIR] [--dist DIR] [--repetitions N]`
//
// Without --wasm-dir the programs are compiled first (build.mjs). --dist is the built package, by default pkg/dist.
// docs/BENCHMARKS.md explains every figure.

import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { formatNumber } from "./lib/measure.mjs";
import { benchmarks as js } from "./suites/js.mjs";
import { benchmarks as node } from "./suites/node.mjs";
import { benchmarks as parts } from "./suites/parts.mjs";
import { benchmarks as size } from "./suites/size.mjs";
import { benchmarks as v86 } from "./suites/v86.mjs";
import { benchmarks as wasm } from "./suites/wasm.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "string" },
    "wasm-dir": { type: "string" },
    dist: { type: "string" },
    repetitions: { type: "string", default: "5" },
  },
});

const [wanted = ""] = positionals;
const repetitions = Number(values.repetitions);
if (positionals.length > 1 || !Number.isInteger(repetitions) || repetitions < 1) {
  console.error(
    "usage: run.mjs [NAME-PREFIX] [--json FILE] [--wasm-dir DIR] [--dist DIR] [--repetitions N]",
  );
  process.exit(2);
}

// A prefix may name a group of figures or lie within one.
const chosen = [...wasm, ...js, ...node, ...v86, ...size, ...parts].filter(
  ({ prefix }) => prefix.startsWith(wanted) || wanted.startsWith(prefix),
);
if (chosen.length === 0) {
  console.error(`no benchmark has figures that begin with "${wanted}"`);
  process.exit(2);
}

const folder = path.resolve(values["wasm-dir"] ?? path.join(root, ".build/bench"));
if (!values["wasm-dir"] && chosen.some(({ prefix }) => prefix.startsWith("wasm."))) build(folder);

const dist = path.resolve(values.dist ?? path.join(root, "pkg/dist"));

const figures = [];
let failed = 0;
for (const { prefix, run } of chosen) {
  const started = performance.now();
  console.log(`bench: ${prefix}*`);
  try {
    figures.push(...(await run({ folder, repetitions, dist, root })));
  } catch (error) {
    failed += 1;
    console.error(`bench: ${prefix}* failed: ${error.message}`);
  }
  console.log(`bench: ${prefix}* took ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

const shown = figures.filter(({ name }) => name.startsWith(wanted));
console.log(`\n${row("", "median", "min", "max", "")}`);
for (const { name, value, unit, min, max } of shown) {
  console.log(row(name, formatNumber(value), formatNumber(min), formatNumber(max), unit));
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(shown, null, 2)}\n`);
process.exitCode = failed > 0 ? 1 : 0;

function row(name, value, min, max, unit) {
  return `${name.padEnd(34)}${value.padStart(12)}${min.padStart(12)}${max.padStart(12)}  ${unit}`;
}
