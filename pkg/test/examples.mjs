/** The examples in JavaScript, beside the packed package, by the commands that their README gives. */

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { install, pack, run } from "./packed.mjs";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const readme = await readFile(join(repository, "examples/README.md"), "utf8");

/** Those that have tests of their own: a browser, a Linux guest or bundlers take part in them. */
const ELSEWHERE = ["bundlers", "iframe", "v86"];
const commands = [...readme.matchAll(/`((?:node|npm) [^`]*examples\/([^/` ]+)[^`]*)`/g)]
  .map(([, command, example]) => ({ command, example }))
  .filter(({ example }) => !ELSEWHERE.includes(example));

let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "ethertab-examples-"));
  const { tarball } = await pack(folder);
  await install(tarball, folder);
  for (const example of new Set(commands.map(({ example }) => example))) {
    await cp(join(repository, "examples", example), join(folder, "examples", example), {
      recursive: true,
      // What npm may have linked there is not part of it.
      filter: (path) => !path.endsWith("node_modules"),
    });
  }
  // The test runners are the repository's.
  for (const path of ["jest", "vitest", ".bin/vitest"]) {
    await symlink(join(repository, "node_modules", path), join(folder, "node_modules", path));
  }
});
after(() => rm(folder, { recursive: true, force: true }));

test("the README has commands for the examples", () => {
  assert.ok(commands.length >= 8, `${commands.map(({ command }) => command)}`);
});

for (const { command, example } of commands) {
  test(command, async () => {
    const workspace = /^npm test -w (\S+)$/.exec(command)?.[1];
    const [program, ...options] = workspace === undefined ? command.split(" ") : ["npm", "test"];
    // Of a runner of tests, what is a test to the one that runs this one.
    const { NODE_TEST_CONTEXT, ...env } = process.env;
    const where = { cwd: join(folder, workspace ?? "."), env, timeout: 60_000 };
    await run(program === "node" ? process.execPath : program, options, where).catch((error) => {
      assert.fail(`${example} has failed: ${error.message}\n${error.stdout}\n${error.stderr}`);
    });
  });
}
