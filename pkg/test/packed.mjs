/** The package as its users get it: packed, and installed in an empty folder. */

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const source = fileURLToPath(new URL("..", import.meta.url));

export const run = promisify(execFile);

/** Packs the package into a folder; resolves to the tarball's path and the paths of the files in it. */
export async function pack(folder) {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: source,
    maxBuffer: 16 * 1024 * 1024,
  });
  const [{ filename, files }] = JSON.parse(stdout);
  return { tarball: join(folder, basename(filename)), files: files.map(({ path }) => path) };
}

/** Makes a folder a project that has the tarball installed. */
export async function install(tarball, folder, env = process.env) {
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  await run("npm", ["install", "--no-audit", "--no-fund", tarball], { cwd: folder, env });
}
