// Two stacks in one WebAssembly module, joined by a cable in memory. docs/BENCHMARKS.md says what each figure means.

import { figure, ratio, takeTurns } from "../lib/measure.mjs";
import { hasProgram, startForward, startProgram } from "../lib/program.mjs";

const KIB = 1024;
const BUFFER_BYTES = 256 * KIB;
const IDLE_CONNECTIONS = 10_000;

/** Starts every program that was built, under the names that the figures use. */
function contenders(folder, programs, options) {
  const started = {};
  for (const [name, program] of Object.entries(programs)) {
    if (hasProgram(folder, program)) started[name] = startProgram(folder, program, options);
  }
  return started;
}

function pick(started, entry) {
  return Object.fromEntries(
    Object.entries(started).map(([name, program]) => [name, program[entry]]),
  );
}

const STACKS = { ethertab: "ethertab.simd", smoltcp: "smoltcp.simd" };

async function bulk({ folder, repetitions }) {
  const programs = {
    ...STACKS,
    ethertab_scalar: "ethertab.scalar",
    smoltcp_scalar: "smoltcp.scalar",
    memcpy_checksum: "reference.simd",
  };
  const started = contenders(folder, programs, { bufferBytes: BUFFER_BYTES });
  if (started.ethertab) {
    const options = { bufferBytes: BUFFER_BYTES, ipv6: true };
    started.ethertab_ipv6 = startProgram(folder, STACKS.ethertab, options);
  }
  const { rates } = await takeTurns("bulk, MB/s", megabytes(pick(started, "bulk")), {
    repetitions,
  });
  const figures = [];
  if (rates.ethertab) {
    figures.push(
      figure("wasm.bulk.mb_s", "MB/s", rates.ethertab),
      ratio("wasm.bulk.vs_smoltcp", rates.ethertab, rates.smoltcp),
      ratio("wasm.bulk.vs_smoltcp_scalar", rates.ethertab, rates.smoltcp_scalar),
      ratio("wasm.bulk.vs_memcpy_checksum", rates.ethertab, rates.memcpy_checksum),
      ratio("wasm.bulk.ipv6_vs_ipv4", rates.ethertab_ipv6, rates.ethertab),
    );
  }
  for (const name of [
    "ethertab_ipv6",
    "ethertab_scalar",
    "smoltcp",
    "smoltcp_scalar",
    "memcpy_checksum",
  ]) {
    if (rates[name]) figures.push(figure(`wasm.bulk.${name}_mb_s`, "MB/s", rates[name]));
  }
  return figures;
}

async function bulkSmallBuffers({ folder, repetitions }) {
  const started = contenders(folder, STACKS, { bufferBytes: 64 * KIB });
  const { rates } = await takeTurns(
    "bulk, 64 KiB buffers, MB/s",
    megabytes(pick(started, "bulk")),
    {
      repetitions,
    },
  );
  const figures = [];
  if (rates.ethertab) {
    figures.push(
      figure("wasm.bulk64k.mb_s", "MB/s", rates.ethertab),
      ratio("wasm.bulk64k.vs_smoltcp", rates.ethertab, rates.smoltcp),
    );
  }
  figures.push(figure("wasm.bulk64k.smoltcp_mb_s", "MB/s", rates.smoltcp));
  return figures;
}

/** What is forwarded: the figure's name, the kind and the number of flows. */
const FORWARDED = {
  ipv4: { kind: "ipv4", flows: 1 },
  ipv6: { kind: "ipv6", flows: 1 },
  nat: { kind: "nat", flows: 1 },
  nat_1k: { kind: "nat", flows: 1_000 },
  nat_100k: { kind: "nat", flows: 100_000 },
};

async function forward({ folder, repetitions }) {
  const started = Object.fromEntries(
    Object.entries(FORWARDED).map(([name, options]) => [
      name,
      startForward(folder, "forward.simd", options),
    ]),
  );
  const { rates } = await takeTurns("packets forwarded a second", pick(started, "packets"), {
    repetitions,
  });
  const figures = Object.keys(FORWARDED).map((name) =>
    figure(`wasm.forward.${name}_per_s`, "1/s", rates[name]),
  );
  return [
    ...figures,
    ratio("wasm.forward.nat_100k_vs_1k", rates.nat_100k, rates.nat_1k),
    figure("wasm.forward.nat_flow_bytes", "bytes", [started.nat.flowBytes()]),
  ];
}

/** A benchmark of events a second, for the two stacks. */
function events(prefix, label, entry) {
  return async ({ folder, repetitions }) => {
    const started = contenders(folder, STACKS, { bufferBytes: BUFFER_BYTES });
    const { rates } = await takeTurns(label, pick(started, entry), { repetitions });
    const figures = [];
    if (rates.ethertab) {
      figures.push(
        figure(`${prefix}.per_s`, "1/s", rates.ethertab),
        ratio(`${prefix}.vs_smoltcp`, rates.ethertab, rates.smoltcp),
      );
    }
    figures.push(figure(`${prefix}.smoltcp_per_s`, "1/s", rates.smoltcp));
    return figures;
  };
}

async function idle({ folder, repetitions }) {
  const figures = [];
  for (const [name, program] of Object.entries(STACKS)) {
    if (!hasProgram(folder, program)) continue;
    const alone = startProgram(folder, program, { bufferBytes: BUFFER_BYTES });
    const aloneBytes = alone.liveBytes();
    console.log(`  idle10k: ${name} opens ${IDLE_CONNECTIONS} connections`);
    const crowded = startProgram(folder, program, {
      bufferBytes: BUFFER_BYTES,
      idle: IDLE_CONNECTIONS,
    });
    // Both ends of every connection are in the module.
    const each = (crowded.liveBytes() - aloneBytes) / (2 * IDLE_CONNECTIONS);
    const { rates } = await takeTurns(
      `idle10k, ${name}, MB/s`,
      megabytes({ alone: alone.bulk, crowded: crowded.bulk }),
      { repetitions },
    );
    const prefix = name === "ethertab" ? "wasm.idle10k." : `wasm.idle10k.${name}_`;
    figures.push(
      ratio(`${prefix}bulk_ratio`, rates.crowded, rates.alone),
      figure(`${prefix}bytes_each`, "bytes", [each]),
    );
  }
  return figures;
}

/** The same contenders with amounts in MB of a million bytes. */
function megabytes(byName) {
  return Object.fromEntries(
    Object.entries(byName).map(([name, { work }]) => [
      name,
      { work: (amount) => work(amount * 1e6), start: 1, limit: 4000 },
    ]),
  );
}

/** What `run.mjs` runs: the start of the figures' names, and the function that makes them. */
export const benchmarks = [
  { prefix: "wasm.bulk.", run: bulk },
  { prefix: "wasm.bulk64k.", run: bulkSmallBuffers },
  { prefix: "wasm.forward.", run: forward },
  {
    prefix: "wasm.pingpong.",
    run: events("wasm.pingpong", "round trips of 64 bytes a second", "pingPong"),
  },
  {
    prefix: "wasm.connect.",
    run: events("wasm.connect", "connections a second", "connections"),
  },
  { prefix: "wasm.idle10k.", run: idle },
];
