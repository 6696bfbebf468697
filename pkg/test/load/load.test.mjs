/** The same seed gives the same bytes, whatever else the machine does: 50 runs in several processes at once, beside others that only make load. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const RUNS = 50;
const PROCESSES = 5;
const program = fileURLToPath(new URL("../testing_storm.mjs", import.meta.url));

/** The hashes that a process printed, a line each. */
async function hashesOf(runs) {
  const child = spawn(process.execPath, [program, String(runs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (data) => {
    text += data;
  });
  const [status] = await once(child, "close");
  assert.equal(status, 0);
  return text.trim().split("\n");
}

test("fifty runs under load have the same capture", async () => {
  const busy = Array.from({ length: availableParallelism() }, () =>
    spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }),
  );
  try {
    const processes = Array.from({ length: PROCESSES }, () => hashesOf(RUNS / PROCESSES));
    const hashes = (await Promise.all(processes)).flat();
    assert.equal(hashes.length, RUNS);
    assert.equal(new Set(hashes).size, 1);
  } finally {
    for (const child of busy) child.kill("SIGKILL");
  }
});
