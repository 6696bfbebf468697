/** The page's half of browser.test.mjs, which calls `run` and provides `heapBytes` and `log`. */
import { V86 } from "v86";
import { startGuest } from "../guest/browser.mjs";
import { runScenario, scenarios } from "./scenarios.mjs";

const guest = {
  V86,
  wasmPath: new URL("v86.wasm", import.meta.resolve("v86")).href,
  base: new URL("/guest/", location.href),
};

/** @param {number} index  of the scenario @param {string} nic @param {string} hub  URL */
globalThis.run = (index, nic, hub) =>
  runScenario(scenarios[index], nic, {
    startGuest: (options) => startGuest({ ...guest, ...options }),
    heapBytes: globalThis.heapBytes,
    openHub: () => new WebSocket(hub),
    log: globalThis.log,
  });
