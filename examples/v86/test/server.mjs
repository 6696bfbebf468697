/** Serves the test page, the packages it imports and the guest on 127.0.0.1. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Modules that the page imports by name. */
const MODULES = ["chai", "ethertab", "ethertab/gateway", "v86"];

/** The folder of the package that holds `file`: the nearest one up with a package.json. */
async function packageFolder(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const found = await stat(path.join(folder, "package.json")).then(
      () => true,
      () => false,
    );
    if (found || folder === path.dirname(folder)) return folder;
  }
}

/**
 * @param {string} guestFolder  what build.sh and snapshot.mjs filled
 * @param {{ script?: string }} [options]  the page's script
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function startServer(guestFolder, { script = "/example/test/page.mjs" } = {}) {
  /** URL prefix to folder. @type {Map<string, string>} */
  const roots = new Map([
    ["/example/", fileURLToPath(new URL("..", import.meta.url))],
    ["/iframe/", fileURLToPath(new URL("../../iframe/", import.meta.url))],
    ["/guest/", path.resolve(guestFolder)],
  ]);
  /** @type {Record<string, string>} */
  const imports = {};
  for (const name of MODULES) {
    const file = fileURLToPath(import.meta.resolve(name));
    const folder = await packageFolder(file);
    const prefix = `/packages/${name.split("/")[0]}/`;
    roots.set(prefix, folder);
    imports[name] = prefix + path.relative(folder, file).split(path.sep).join("/");
  }
  const page = `<!doctype html>
<meta charset="utf-8">
<title>ethertab: end-to-end tests</title>
<link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports })}</script>
<body><script type="module" src="${script}"></script>
`;

  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/") {
      response.writeHead(200, { "content-type": TYPES[".html"] }).end(page);
      return;
    }
    try {
      const [prefix, folder] = [...roots].find(([prefix]) => pathname.startsWith(prefix)) ?? [];
      const file = folder && path.join(folder, decodeURIComponent(pathname.slice(prefix.length)));
      // URL has resolved the dots; an encoded slash could still climb out.
      if (!file?.startsWith(folder)) throw new Error("outside of what is served");
      const { size } = await stat(file);
      response.writeHead(200, {
        "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
        "content-length": size,
      });
      await pipeline(createReadStream(file), response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else response.writeHead(404, { "content-type": "text/plain" }).end(String(error));
    }
  });
  await new Promise((resolve, reject) =>
    server.listen(0, "127.0.0.1", resolve).once("error", reject),
  );
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
