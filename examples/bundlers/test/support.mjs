/** The packed package, a web server for what was built, and a browser. */

import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { launchChromium } from "../../../pkg/test/chromium.mjs";
import { pack, run } from "../../../pkg/test/packed.mjs";

export { run };

/** The folder of the example. */
export const example = fileURLToPath(new URL("..", import.meta.url));

/** What the page and the program say when all went well. */
export const EXPECTED = "1048576 bytes came back; hello, http://shop.test/x";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/** Packs the package and unpacks it where `npm install` would put it: the workspace's link must not be what is found. */
export async function installPacked() {
  const folder = await mkdtemp(join(tmpdir(), "ethertab-bundlers-"));
  try {
    const { tarball } = await pack(folder);
    const target = join(example, "node_modules", "ethertab");
    await rm(target, { recursive: true, force: true });
    await mkdir(target, { recursive: true });
    await run("tar", ["-xzf", tarball, "--strip-components=1", "-C", target]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Serves the files of a folder of the example, with `pages` (a text for some paths) before them. */
export async function serve(folder, pages = {}) {
  const root = join(example, folder);
  const server = createServer(async (request, response) => {
    const asked = normalize(decodeURIComponent(request.url.split("?")[0]));
    const path = asked === "/" ? "/index.html" : asked;
    try {
      const body = pages[path] ?? (await readFile(join(root, path)));
      response.setHeader("content-type", TYPES[extname(path)] ?? "text/plain").end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** A browser, and what its pages come to say. */
export async function launch() {
  const browser = await launchChromium();
  return {
    close: () => browser.close(),
    /** What the page at `url` shows in the end, and the errors that it has reported. */
    async open(url) {
      const page = await browser.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(error.stack));
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      try {
        await page.goto(url);
        const result = page.locator("#result", { hasText: /./ });
        const text = await result.textContent({ timeout: 60_000 });
        return { text, errors };
      } finally {
        await page.close();
      }
    },
  };
}
