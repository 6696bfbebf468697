/**
 * The page in Firefox, by WebDriver BiDi: Playwright's way needs a Firefox of its own. FIREFOX names another one than Debian's.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "puppeteer-core";
import { serve } from "./support.mjs";

const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
/** Milliseconds that a transfer may take on a busy machine. */
const PATIENCE = 120_000;

let browser;
let site;
before(async () => {
  site = await serve();
  browser = await launch({ browser: "firefox", executablePath: FIREFOX, headless: true });
});
after(async () => {
  await browser?.close();
  await site?.close();
});

test("Firefox moves bytes over a cable, shows what has passed, and loads nothing from elsewhere", async () => {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (/^https?:/.test(protocol) && origin !== new URL(site.url).origin) {
      complaints.push(`a request to ${request.url()}`);
    }
  });
  await page.goto(site.url);
  const shown = (text) =>
    page.waitForFunction(
      (wanted) => document.body.innerText.includes(wanted),
      { timeout: PATIENCE },
      text,
    );
  await shown("All 20.0 MiB arrived as they were sent.");
  await shown("10.0.0.2:5001");

  await page.focus('[role="listbox"]');
  await page.keyboard.press("End");
  const detail = await page.waitForSelector('[role="group"][aria-label="Selected frame"] pre');
  assert.match(await detail.evaluate((bytes) => bytes.textContent), /^0000 {2}([0-9a-f]{2} ){8}/);
  assert.deepEqual(complaints, []);
});
