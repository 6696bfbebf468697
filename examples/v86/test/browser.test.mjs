/** The end-to-end suite in headless Chromium. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchChromium } from "../../../pkg/test/chromium.mjs";
import { defaultFolder } from "../guest/node.mjs";
import { startRemote } from "./processes.mjs";
import { runs } from "./scenarios.mjs";
import { startServer } from "./server.mjs";

let browser;
let remote;
let server;
before(async () => {
  remote = await startRemote();
  server = await startServer(defaultFolder);
  browser = await launchChromium(
    // V8's baseline compiler alone: the optimizing one takes more time than it saves in runs this short.
    "--js-flags=--liftoff-only",
  );
});
after(async () => {
  await browser?.close();
  await server?.close();
  await remote?.close();
});

/** Runs one scenario in a page of its own, which a failure cannot outlive. */
async function runInPage(t, index, nic) {
  const page = await browser.newPage();
  try {
    const errors = [];
    page.on("pageerror", (error) => errors.push(error));
    const devtools = await page.context().newCDPSession(page);
    await page.exposeFunction("log", (text) => t.diagnostic(text));
    await page.exposeFunction("heapBytes", async () => {
      await devtools.send("HeapProfiler.collectGarbage");
      return (await devtools.send("Runtime.getHeapUsage")).usedSize;
    });
    await page.goto(server.url);
    await page.waitForFunction(() => typeof globalThis.run === "function");
    await page.evaluate(
      ([index, nic, hub]) => globalThis.run(index, nic, hub),
      [index, nic, remote.hub],
    );
    assert.deepEqual(errors, [], "errors that nothing in the page caught");
  } finally {
    await page.close();
  }
}

for (const { scenario, index, nic } of runs) {
  test(`${scenario.name} (${nic}, Chromium)`, (t) => runInPage(t, index, nic));
}
