/** What node:test, Vitest and Jest print of worlds in which their tests fail. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";

const FOLDER = join(import.meta.dirname, "runners");
/** The first block of a pcapng, in either order of bytes. */
const SECTION_HEADER = 0x0a0d0d0a;

const { resolve } = createRequire(import.meta.url);

/** A file of a package, whether or not that exports it. */
const fileOf = (name, file) => join(dirname(resolve(`${name}/package.json`)), file);

const jestConfig = {
  rootDir: FOLDER,
  testMatch: ["**/jest.test.mjs"],
  testEnvironment: "node",
  testTimeout: 3_000,
  transform: {},
};

/** What each is called with. */
const RUNNERS = {
  "node:test": () => ["--test", join(FOLDER, "node.test.mjs")],
  Vitest: () => [fileOf("vitest", "vitest.mjs"), "run", "--root", FOLDER],
  Jest: () => [
    "--experimental-vm-modules",
    fileOf("jest", "bin/jest.js"),
    ...["--no-cache", "--config", JSON.stringify(jestConfig)],
  ],
};

/** What a program prints that fails. */
async function outputOf(program, env) {
  const child = spawn(process.execPath, program, {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ETHERTAB_SEED: undefined, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = new Promise((closed) => child.once("close", closed));
  const texts = [child.stdout, child.stderr].map((from) => from.setEncoding("utf8").toArray());
  const [out, error] = await Promise.all(texts);
  assert.equal(await closed, 1);
  return stripVTControlCharacters([...out, ...error].join(""));
}

for (const [name, program] of Object.entries(RUNNERS)) {
  test(`${name} tells of the world of each test that fails, however it does`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "ethertab-failures-"));
    t.after(() => rm(folder, { recursive: true }));
    const env = { ETHERTAB_FAILURES: join(folder, "failures"), VITEST_CACHE: folder };
    const output = await outputOf(program(), env);
    const told = (seed) =>
      `world of seed ${seed}: run again with ETHERTAB_SEED=${seed}; what was sent is in ${join(env.ETHERTAB_FAILURES, `seed-${seed}.pcapng`)}`;
    const printed = output.split("\n").map((line) => line.replace(/^# /, "").trim());
    assert.ok(printed.includes(`fails: ${told(2)}`), output);
    assert.ok(printed.includes(`(${told(3)})`), output);
    assert.ok(printed.includes(`takes too long: ${told(4)}`), output);
    assert.ok(!output.includes("world of seed 1:"), "that one has passed");

    const captures = await readdir(env.ETHERTAB_FAILURES);
    assert.deepEqual(captures.sort(), ["seed-2.pcapng", "seed-3.pcapng", "seed-4.pcapng"]);
    const capture = await readFile(join(env.ETHERTAB_FAILURES, "seed-2.pcapng"));
    assert.equal(capture.readUInt32LE(0), SECTION_HEADER);
  });
}
