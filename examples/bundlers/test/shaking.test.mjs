/** What a bundler leaves out of a page that imports one thing. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { build } from "esbuild";
import { example, installPacked } from "./support.mjs";

before(installPacked);

/** The modules of the package that are left of a script, and the size of what was made of it. */
async function bundle(contents) {
  const { metafile, outputFiles } = await build({
    stdin: { contents, resolveDir: example },
    bundle: true,
    minify: true,
    format: "esm",
    metafile: true,
    write: false,
    logLevel: "error",
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  const left = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  const modules = left.map(([file]) => file.split("node_modules/ethertab/dist/")[1] ?? file);
  const [{ contents: bytes }] = outputFiles;
  return { modules, bytes: bytes.length, brotli: brotliCompressSync(bytes).length };
}

for (const [name, without] of [
  ["createStack", /^(gateway|node|testing|worker)\/|^ports\/(?!port_base)|inline|capture/],
  ["createCable", /^(gateway|node|testing|tls|worker)\/|inline|stack|socket|services/],
  ["v86Port", /^(gateway|node|testing|tls|worker)\/|inline|stack|socket|services|web_socket/],
  ["createGateway", /^(node|testing|worker)\/|^ports\/(?!port_base|v86)|inline|capture/],
]) {
  test(`a page that uses ${name} has nothing of the rest`, async (context) => {
    const script = `import { ${name} } from "ethertab"; console.log(${name});`;
    const { modules, bytes, brotli } = await bundle(script);
    context.diagnostic(`${name}: ${bytes} bytes minified, ${brotli} after brotli`);
    assert.ok(modules.length > 3, `${modules}`);
    assert.deepEqual(
      modules.filter((module) => without.test(module)),
      [],
    );
  });
}

test("an import of which nothing is used leaves nothing, but ethertab/inline has its effect", async () => {
  assert.deepEqual((await bundle('import "ethertab"; import "ethertab/gateway";')).modules, []);
  const { modules } = await bundle('import "ethertab/inline";');
  for (const file of ["inline.js", "wasm/ethertab_inline.js", "wasm/services_inline.js"]) {
    assert.ok(modules.includes(file), `${file} is missing in ${modules}`);
  }
});
