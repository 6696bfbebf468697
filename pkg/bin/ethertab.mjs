#!/usr/bin/env node
// Serves the page of this package, and a Linux guest for it where there is one.

import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { isIPv6 } from "node:net";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import sirv from "sirv";

const USAGE = `Usage: ethertab [--port PORT] [--host ADDRESS] [--guest FOLDER]

Serves the ethertab page until Ctrl-C.

  --port PORT      0 takes any free port; by default 8080
  --host ADDRESS   by default 127.0.0.1, which only this machine reaches
  --guest FOLDER   a v86 guest: the images and states that guest.json in it names
  --version        prints the version
  --help           prints this`;

const PAGE = fileURLToPath(new URL("../dist/web", import.meta.url));
const GUEST_PATH = "/guest";
/** What lists a guest's files, in its folder and for the page. */
const GUEST_LIST = "guest.json";
const GUEST_MANIFEST = `${GUEST_PATH}/manifest.json`;

try {
  await main();
} catch (error) {
  console.error(`ethertab: ${error.message}`);
  process.exitCode = 1;
}

async function main() {
  const options = readOptions();
  if (options.help) return console.log(USAGE);
  if (options.version) return console.log(await ownVersion());
  if (!existsSync(join(PAGE, "index.html"))) {
    throw new Error(
      "this package has no page in dist/web; in a checkout, `cargo xtask build` makes it",
    );
  }
  const guest = options.guest === undefined ? null : resolve(options.guest);
  if (guest !== null && !statSync(guest, { throwIfNoEntry: false })?.isDirectory()) {
    console.error(`ethertab: no folder ${guest}: the page goes on without a guest`);
  }
  const server = http.createServer(application(guest));
  const { port } = await listen(server, options.port, options.host);
  const host = isIPv6(options.host) ? `[${options.host}]` : options.host;
  console.log(`http://${host}:${port}`);
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      server.close();
      server.closeAllConnections();
    });
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8080" },
      host: { type: "string", default: "127.0.0.1" },
      guest: { type: "string" },
      version: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (!/^\d{1,5}$/.test(values.port) || Number(values.port) > 65535) {
    throw new Error(`--port must be a number from 0 to 65535, not "${values.port}"`);
  }
  return { ...values, port: Number(values.port) };
}

async function ownVersion() {
  const file = new URL("../package.json", import.meta.url);
  return JSON.parse(await readFile(file, "utf8")).version;
}

/** Answers a request for the page or the guest. */
function application(guest) {
  const page = sirv(PAGE, { etag: true });
  // A guest may be built anew while this runs: its files are looked up each time.
  const guestFiles = guest === null ? null : sirv(guest, { dev: true, etag: true });
  return (request, response) => {
    const notFound = () => answer(response, 404, "text/plain; charset=utf-8", "Not found.\n");
    response.setHeader("X-Content-Type-Options", "nosniff");
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      return answer(response, 405, "text/plain; charset=utf-8", "Only GET and HEAD.\n");
    }
    const path = request.url.split("?")[0];
    // Without a guest, the page's own empty list.
    const noGuest = () => page(request, response, notFound);
    if (path === GUEST_MANIFEST) return sendManifest(guest, response, noGuest);
    if (!path.startsWith(`${GUEST_PATH}/`)) return page(request, response, notFound);
    if (guestFiles === null) return notFound();
    request.url = request.url.slice(GUEST_PATH.length);
    return guestFiles(request, response, notFound);
  };
}

/** Lists what there is of the guest: the images, the memory that it needs, the saved states by network card. */
async function sendManifest(guest, response, noGuest) {
  if (guest === null) return noGuest();
  let list;
  try {
    list = JSON.parse(await readFile(join(guest, GUEST_LIST), "utf8"));
  } catch {
    return noGuest();
  }
  const there = ([, name]) => typeof name === "string" && existsSync(join(guest, name));
  const present = (names) => Object.fromEntries(Object.entries(names ?? {}).filter(there));
  const manifest = { ...list, files: present(list.files), states: present(list.states) };
  return answer(response, 200, "application/json", `${JSON.stringify(manifest, null, 2)}\n`);
}

function answer(response, status, type, text) {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(text);
}

function listen(server, port, host) {
  return new Promise((resolveAddress, reject) => {
    server.once("error", (error) => reject(new Error(whyNot(error, port, host))));
    server.listen(port, host, () => resolveAddress(server.address()));
  });
}

function whyNot(error, port, host) {
  switch (error.code) {
    case "EADDRINUSE":
      return `port ${port} is in use by another program: try --port ${port + 1}, or --port 0 for any`;
    case "EACCES":
      return `port ${port} needs rights that this user does not have: try --port 8080`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `${host} is no address of this machine`;
    default:
      return error.message;
  }
}
