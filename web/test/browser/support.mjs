/** The page in Chromium, served as `npx ethertab` serves it. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The guest's image and its saved states. */
export const guestFolder = process.env.ETHERTAB_GUEST ?? path.join(root, ".build/guest");

/** Why the tests with a guest cannot run; false if they can. In CI they must. */
export const noGuest =
  existsSync(path.join(guestFolder, "guest.json")) || process.env.CI === "true"
    ? false
    : "there is no guest: cargo xtask build guest";

/**
 * Serves the page.
 * @param {string[]} options  of the command line
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function serve(...options) {
  const [built, packed] = await Promise.all(
    ["web/dist", "pkg/dist/web"].map((folder) =>
      readFile(path.join(root, folder, "index.html"), "utf8"),
    ),
  );
  assert.equal(packed, built, "pkg/dist/web is not what web/dist has: cargo xtask build");
  const program = path.join(root, "pkg/bin/ethertab.mjs");
  const child = spawn(process.execPath, [program, "--port", "0", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = createInterface(child.stdout);
  const url = await Promise.race([
    new Promise((resolve) => lines.once("line", resolve)),
    ended.then((status) => Promise.reject(new Error(`ethertab ended with ${status}`))),
  ]);
  return {
    url,
    async close() {
      child.kill();
      await ended;
    },
  };
}

export { launchChromium as launch } from "../../../pkg/test/chromium.mjs";

/**
 * Opens a page, lets `use` work with it, and holds it to what every page owes: no error or warning in the console, and
 * no request to another server.
 */
export async function withPage(browser, url, options, use) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (/^https?:/.test(protocol) && origin !== new URL(url).origin) {
      complaints.push(`a request to ${request.url()}`);
    }
  });
  try {
    await page.goto(url);
    await use(page);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

/** Downloads the capture and returns the protocols, as `eth:ethertype:ip:tcp`, that tshark, which must not complain, finds in each frame. */
export async function readCapture(page, { decodeHttp = false } = {}) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download pcapng" }).click(),
  ]);
  assert.match(download.suggestedFilename(), /\.pcapng$/);
  const file = await download.path();
  const fields = ["frame.number", "frame.protocols", "_ws.malformed"];
  const { stdout, stderr } = await promisify(execFile)(
    "tshark",
    // A body of random bytes makes no sense to what guesses protocols by their first bytes, nor, where segments are lost
    // or repeated, as HTTP.
    [
      "-n",
      ...(decodeHttp ? [] : ["-d", "tcp.port==1-65535,data"]),
      "-r",
      file,
      "-T",
      "fields",
      ...fields.flatMap((field) => ["-e", field]),
    ],
    { maxBuffer: 256 * 1024 * 1024 },
  );
  const warnings = stderr
    .split("\n")
    .filter((line) => line && !/^Running as user "root"/.test(line));
  assert.deepEqual(warnings, []);
  const frames = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  assert.deepEqual(
    frames.filter(([, , malformed]) => malformed),
    [],
  );
  return frames.map(([, protocols]) => protocols ?? "");
}

/** How many pixels the page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}
