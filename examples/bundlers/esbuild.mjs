// esbuild has no idea of `new URL(FILE, import.meta.url)`: here it takes the WebAssembly along as imported files, and
// makes a page of one file, which needs no server.

import { writeFile } from "node:fs/promises";
import { build } from "esbuild";

const production = process.argv[2] !== "development";
const common = { bundle: true, minify: production, sourcemap: !production, logLevel: "warning" };

await build({
  ...common,
  entryPoints: { main: "src/files.js" },
  format: "esm",
  loader: { ".wasm": "file" },
  outdir: "dist/esbuild",
});

const { outputFiles } = await build({
  ...common,
  sourcemap: false,
  entryPoints: ["src/inline.js"],
  format: "iife",
  // Only for a URL that is not looked at, since the WebAssembly is in the script.
  define: { "import.meta.url": '"about:blank"' },
  write: false,
});
const [{ text }] = outputFiles;
const page = `<!doctype html>
<meta charset="utf-8" />
<title>ethertab</title>
<p id="result"></p>
<script>
${text.replaceAll("</script", "<\\/script")}</script>
`;
await writeFile("dist/page.html", page);
