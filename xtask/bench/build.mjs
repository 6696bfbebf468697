// Compiles the benchmark programs to WebAssembly, with and without simd128.
//
// `cargo xtask bench` sets the variables below to the compiler that it found for the product, so that both are compiled
// the same way; alone, this uses plain cargo.
//
//   ETHERTAB_CARGO      cargo to call                                (cargo)
//   ETHERTAB_RUSTC      rustc for it                                 (its own)
//   ETHERTAB_LINKER     wasm linker                                  (its own)
//   ETHERTAB_BUILD_STD  1: build the standard library from source    (unset)

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const workspace = path.dirname(fileURLToPath(import.meta.url));

/** Names of the programs; each is the crate `ethertab-bench-NAME` and becomes `NAME.simd.wasm` and `NAME.scalar.wasm`. */
export const PROGRAMS = ["reference", "smoltcp", "ethertab", "forward"];

const FLAVOURS = { simd: "-C target-feature=+simd128", scalar: "" };

/** What the engine is compiled with besides (xtask/src/build.rs). smoltcp gets the compiler's defaults, which suit it better. */
const ENGINE_FLAGS = "-C llvm-args=-inline-threshold=75 -C llvm-args=-unswitch-threshold=0";
const OWN_FLAGS = { ethertab: ENGINE_FLAGS, forward: ENGINE_FLAGS };

function ownFlags(program) {
  return OWN_FLAGS[program] ?? "";
}

/** Builds every program in both flavours into `folder`. Prints what it does; throws when the compiler fails. */
export function build(folder, programs = PROGRAMS) {
  mkdirSync(folder, { recursive: true });
  for (const [flavour, flavourFlags] of Object.entries(FLAVOURS)) {
    for (const own of new Set(programs.map(ownFlags))) {
      const names = programs.filter((program) => ownFlags(program) === own);
      const started = performance.now();
      // A target folder each: flags that differ would rebuild everything each time.
      const target = path.join(folder, "target", flavour, names[0]);
      compile(target, `${flavourFlags} ${own}`.trim(), names);
      for (const program of names) {
        const built = path.join(target, "wasm32-unknown-unknown", "wasm", `bench_${program}.wasm`);
        copyFileSync(built, path.join(folder, `${program}.${flavour}.wasm`));
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.log(`bench: compiled ${names.join(", ")} (${flavour}) in ${seconds} s`);
    }
  }
}

/** Panics keep their messages in all programs, as on a toolchain that comes with its standard library. */
function compile(target, rustflags, programs) {
  const { ETHERTAB_CARGO, ETHERTAB_RUSTC, ETHERTAB_LINKER, ETHERTAB_BUILD_STD } = process.env;
  const args = [
    "build",
    "--quiet",
    "--locked",
    "--profile",
    "wasm",
    "--target",
    "wasm32-unknown-unknown",
  ];
  const env = { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: rustflags };
  if (ETHERTAB_RUSTC) env.RUSTC = ETHERTAB_RUSTC;
  if (ETHERTAB_LINKER) env.CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER = ETHERTAB_LINKER;
  if (ETHERTAB_BUILD_STD === "1") {
    args.push("-Zbuild-std=std,panic_abort");
    env.RUSTC_BOOTSTRAP = "1";
  }
  for (const program of programs) args.push("--package", `ethertab-bench-${program}`);
  const result = spawnSync(ETHERTAB_CARGO || "cargo", args, {
    cwd: workspace,
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`the benchmark programs did not compile (${flavourHint(env)})`);
}

function flavourHint(env) {
  return `cargo ${env.ETHERTAB_CARGO || "from PATH"}, RUSTFLAGS "${env.RUSTFLAGS}"`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  build(path.resolve(process.argv[2] ?? path.join(workspace, "../../.build/bench")));
}
