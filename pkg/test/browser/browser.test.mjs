/** The package in headless Chromium, in a page and in a worker. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import net from "node:net";
import { extname } from "node:path";
import { after, before, test } from "node:test";
import { WebSocketServer } from "ws";
import { launchChromium } from "../chromium.mjs";
import { wispJsServer } from "../wisp_support.mjs";
import { nodeTls } from "./tls_judge.mjs";

/** How many each place has. */
const SCENARIOS = 4;
const PORTS = 9;
const IN_WORKERS = 3;
const WISP = 2;
const TLS = 5;
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".map": "application/json" };

let server;
let browser;
let origin;
let wisp;
let source;
let judge;
let sourcePort;
before(async () => {
  server = createServer(async (request, response) => {
    if (request.url === "/") {
      response.setHeader("content-type", "text/html").end("<!doctype html><title>ethertab</title>");
      return;
    }
    if (request.url === "/favicon.ico") {
      response.writeHead(204).end();
      return;
    }
    // The folder of the tests, and the package's built files.
    const path = request.url.startsWith("/dist/") ? `../..${request.url}` : `.${request.url}`;
    try {
      const body = await readFile(new URL(path, import.meta.url));
      response.setHeader("content-type", TYPES[extname(path)] ?? "text/plain").end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  // A relay for each path.
  const relay = new WebSocketServer({ server });
  relay.on("connection", (socket, { url }) => {
    socket.room = url;
    socket.on("message", (message) => {
      for (const other of relay.clients) {
        if (other !== socket && other.room === url) other.send(message);
      }
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${server.address().port}/`;
  judge = await nodeTls(`${origin.replace("http", "ws")}tls`);
  wisp = await wispJsServer();
  source = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.end(Buffer.alloc(24 * 1024 * 1024, "ethertab"));
  });
  await new Promise((resolve) => source.listen(0, "127.0.0.1", resolve));
  sourcePort = source.address().port;
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  await judge?.close();
  server?.close();
  source?.close();
  wisp?.close();
});

for (const [what, count, run] of [
  [
    "the package works in a page",
    SCENARIOS,
    () => import("/scenarios.js").then(({ runAll }) => runAll()),
  ],
  [
    "ports carry frames over all media",
    PORTS,
    () => import("/ports.js").then(({ runAll }) => runAll()),
  ],
  [
    "the page uses stacks in workers",
    IN_WORKERS,
    () => import("/stacks_in_workers.js").then(({ runAll }) => runAll()),
  ],
  [
    "a Wisp server is the way out for pages",
    WISP,
    (servers) => import("/wisp.js").then(({ runAll }) => runAll(servers)),
  ],
  [
    "stacks of the page speak TLS",
    TLS,
    ({ tls }) => import("/tls.js").then(({ runAll }) => runAll(tls)),
  ],
  [
    "the package works in a worker",
    SCENARIOS,
    () =>
      new Promise((resolve, reject) => {
        const worker = new Worker("/worker.js", { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      }),
  ],
]) {
  test(`${what} of Chromium`, { timeout: 60_000 }, async () => {
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.stack));
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    try {
      await page.goto(origin);
      const { close: _, ...tls } = judge;
      const lines = await page.evaluate(run, { wispUrl: wisp.url, sourcePort, tls });
      assert.equal(lines.length, count);
      assert.deepEqual(
        lines.filter((line) => !line.startsWith("ok")),
        [],
      );
      assert.deepEqual(errors, []);
    } finally {
      await page.close();
    }
  });
}

test("guests' HTTP by fetch of Chromium: what CORS forbids is a 502 that says so, and what is elsewhere by the rules is not shown", {
  timeout: 60_000,
}, async (t) => {
  const asked = [];
  const foreign = createServer((request, response) => {
    asked.push(request.url);
    if (request.url !== "/closed") response.setHeader("access-control-allow-origin", "*");
    if (request.url.startsWith("/to-")) {
      const host = request.url.slice("/to-".length);
      response.writeHead(302, { location: `http://${host}:${foreign.address().port}/open` });
    }
    response.end("for the guest");
  });
  await new Promise((resolve) => foreign.listen(0, "127.0.0.1", resolve));
  const { port } = foreign.address();
  const page = await browser.newPage();
  t.after(async () => {
    await page.close();
    foreign.closeAllConnections();
    foreign.close();
  });
  await page.goto(origin);
  const paths = ["/open", "/closed", "/to-other.localhost", "/to-secret.localhost"];
  const { answers, counters } = await page.evaluate(
    ([port, paths]) => import("/egress.js").then(({ answersOf }) => answersOf(port, paths)),
    [port, paths],
  );
  const [open, closed, other, secret] = answers;
  assert.match(open, /^HTTP\/1\.1 200 .*\r\n\r\n.*for the guest/s);
  assert.match(
    closed,
    /^HTTP\/1\.1 502 .*CORS or network: .*\/closed failed.*does not allow pages/s,
  );
  assert.doesNotMatch(closed, /for the guest/);
  assert.match(other, /^HTTP\/1\.1 200 .*content-location: http:\/\/other\.localhost/is);
  assert.match(secret, /^HTTP\/1\.1 502 .*secret\.localhost.*where the rules do not lead/s);
  assert.doesNotMatch(secret, /for the guest/);
  assert.deepEqual([counters.requests, counters.failures], [4, 2]);
  assert.ok(asked.includes("/closed"), "the server was asked: it is the page that may not read");
});
