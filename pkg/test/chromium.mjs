/** Headless Chromium for tests; CHROMIUM names another than Debian's. */

import { chromium } from "playwright-core";

/**
 * Starts one that does nothing by itself.
 * @param {...string} more  arguments besides
 */
export function launchChromium(...more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...more,
    ],
  });
}
