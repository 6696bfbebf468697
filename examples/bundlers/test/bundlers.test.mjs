/**
 * The packed package in the development and production builds of bundlers, in a page without any, and in other runtimes than
 * Node: each moves a mebibyte through the engine, and asks a gateway, whose module is loaded later.
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rollup } from "rollup";
import * as vite from "vite";
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";
import rollupConfig from "../rollup.config.js";
import webpackConfig from "../webpack.config.js";
import { EXPECTED, example, installPacked, launch, run, serve } from "./support.mjs";

let browser;
before(async () => {
  await rm(join(example, "dist"), { recursive: true, force: true });
  await installPacked();
  browser = await launch();
});
after(() => browser?.close());

async function expectAt(url) {
  assert.deepEqual(await browser.open(url), { text: EXPECTED, errors: [] });
}

/** Opens what was built into a folder. */
async function expectBuilt(folder, pages) {
  const server = await serve(folder, pages);
  try {
    await expectAt(server.url);
  } finally {
    await server.close();
  }
}

const page = () => readFile(join(example, "static/index.html"), "utf8");

test("Vite, development server", async () => {
  const server = await vite.createServer({
    root: example,
    logLevel: "error",
    forceOptimizeDeps: true,
    server: { host: "127.0.0.1", port: 0 },
  });
  try {
    await server.listen();
    await expectAt(server.resolvedUrls.local[0]);
  } finally {
    await server.close();
  }
});

test("Vite, production", async () => {
  await vite.build({ root: example, logLevel: "error" });
  await expectBuilt("dist/vite");
});

test("webpack, development server", async () => {
  const compiler = webpack({
    ...webpackConfig,
    context: example,
    mode: "development",
    infrastructureLogging: { level: "error" },
    stats: "errors-only",
  });
  const server = new WebpackDevServer(
    {
      ...webpackConfig.devServer,
      static: join(example, "static"),
      host: "127.0.0.1",
      port: "auto",
    },
    compiler,
  );
  try {
    await server.start();
    await expectAt(`http://127.0.0.1:${server.server.address().port}/`);
  } finally {
    await server.stop();
  }
});

test("webpack, production", async () => {
  await run("npm", ["run", "webpack:build"], { cwd: example });
  await expectBuilt("dist/webpack", { "/index.html": await page() });
});

for (const mode of ["development", "production"]) {
  test(`esbuild, ${mode}: with imported files, and as one file from the disk`, async () => {
    await run(process.execPath, ["esbuild.mjs", mode], { cwd: example });
    await expectBuilt("dist/esbuild", { "/index.html": await page() });
    await expectAt(pathToFileURL(join(example, "dist/page.html")).href);
  });
}

test("Rollup", async () => {
  const bundle = await rollup({ ...rollupConfig, input: join(example, rollupConfig.input) });
  await bundle.write({ ...rollupConfig.output, dir: join(example, rollupConfig.output.dir) });
  await bundle.close();
  await expectBuilt("dist/rollup", { "/index.html": await page() });
});

test("no bundler: a script of type module and an import map", async () => {
  const map = { imports: { ethertab: "/node_modules/ethertab/dist/index.js" } };
  const html = (await page())
    .replace("<script", `<script type="importmap">${JSON.stringify(map)}</script><script`)
    .replace("main.js", "/src/main.js");
  await expectBuilt(".", { "/index.html": html });
});

const runtimes = fileURLToPath(new URL("../../../xtask/node/node_modules", import.meta.url));
for (const [name, program, options] of [
  ["Node 20", "node-20/bin/node", []],
  ["Node 22", "node-22/bin/node", []],
  ["Node 24", "node-24/bin/node", []],
  ["Deno", "deno/deno", ["run", "--allow-read", "--allow-env"]],
  ["Bun", "bun/bin/bun.exe", []],
]) {
  const path = join(runtimes, program);
  test(name, { skip: existsSync(path) ? false : `${program} is not installed` }, async () => {
    const { stdout } = await run(path, [...options, "src/node.js"], { cwd: example });
    assert.equal(stdout.trim(), EXPECTED);
  });
}
