// A Linux guest in v86 gets a file from the page by HTTP, over ethertab's gateway and over v86's own `fetch` network, and
// sends one to the page. docs/BENCHMARKS.md says what each figure means.

import { createHash } from "node:crypto";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { DHCP } from "../../../examples/v86/guest/guest.mjs";
import { startGuest } from "../../../examples/v86/guest/node.mjs";
import { figure, ratio, takeTurns } from "../lib/measure.mjs";
import { Pattern } from "../lib/pattern.mjs";

const FILE_BYTES = 20 * 1024 * 1024;
const FILE_MB = FILE_BYTES / 1e6;
const CHUNK_BYTES = 65_536;
/** Transfers until v86 has compiled what the guest runs, and V8 what v86 has made of it. */
const WARM_UPS = 5;
/** The MTU of the third guest: docs/BENCHMARKS.md says why not more. */
const JUMBO_MTU = 16_000;
const ORIGIN = "http://shop.test";
/** A busy machine takes half a minute for a first transfer. */
const PATIENCE = { timeoutMs: 300_000 };

const pattern = new Pattern(CHUNK_BYTES);

/** The page's web server, the same for both networks: gives the file, and compares every byte of what is posted. */
async function handle(request) {
  if (request.method !== "POST") return file();
  let received = 0;
  for await (const chunk of request.body) {
    if (!pattern.matches(received, chunk)) return new Response("wrong bytes", { status: 400 });
    received += chunk.length;
  }
  return new Response(String(received));
}

/** The file, made as it is taken, as a body from a network is. */
function file() {
  let offset = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (offset === FILE_BYTES) return controller.close();
      controller.enqueue(pattern.at(offset, CHUNK_BYTES).slice());
      offset += CHUNK_BYTES;
    },
  });
  return new Response(body, { headers: { "content-length": String(FILE_BYTES) } });
}

/** MD5 of the file: of the digests that the guest has tools for, the one that costs an emulated machine least. */
function digestOfFile() {
  const hash = createHash("md5");
  for (let at = 0; at < FILE_BYTES; at += CHUNK_BYTES) hash.update(pattern.at(at, CHUNK_BYTES));
  return hash.digest("hex");
}

/** A guest on ethertab's gateway, with packets of 1,500 bytes or of as many as `mtu` says. */
async function onGateway(dist, mtu) {
  const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
  const { createSwitch, v86Port } = await load("index.js");
  const { createGateway } = await load("gateway/index.js");
  const guest = await startGuest(mtu === undefined ? {} : await bootedWith(mtu));
  const gateway = await createGateway({
    network: "10.0.2.0/24",
    ...(mtu !== undefined && { mtu }),
  });
  const lan = await createSwitch();
  lan.plug(gateway);
  lan.plug(v86Port(guest.emulator));
  gateway.serve(ORIGIN, handle);
  await prepare(guest);
  const close = async () => {
    lan.close();
    gateway.close();
    await guest.stop();
  };
  return { guest, close };
}

/**
 * A guest has the MTU that it was booted with. It is restored as the others are: v86 keeps what it compiles in a table of bounded
 * size, which a boot has filled.
 */
async function bootedWith(mtu) {
  const guest = await startGuest({ cold: true, mtu });
  const state = await guest.saveState();
  await guest.stop();
  return { state, mtu };
}

/** The guest gets its address. */
async function prepare(guest) {
  await guest.check(DHCP);
  // Of the minutes in which it stood still its kernel would complain in the midst of what a command prints.
  await guest.check("dmesg -n 1");
}

/** A guest on v86's `fetch` network, whose `fetch` is answered by the gateway's handler. */
async function onFetchNetwork() {
  const { fetch } = globalThis;
  globalThis.fetch = (url, options) => handle(new Request(url, { ...options, duplex: "half" }));
  const guest = await startGuest({ network: { relay_url: "fetch" } });
  await prepare(guest);
  const close = async () => {
    globalThis.fetch = fetch;
    await guest.stop();
  };
  return { guest, close };
}

/** Fixed work: the guest downloads the file; its digest is compared after the time was taken. */
function download(guest, digest) {
  return whileAwake(guest, {
    amount: FILE_MB,
    work: () => guest.check(`wget -q -O /tmp/down ${ORIGIN}/file`, PATIENCE),
    after: async () => {
      const found = await guest.check("md5sum < /tmp/down", PATIENCE);
      if (found !== `${digest}  -`) throw new Error(`the guest received other bytes: ${found}`);
    },
  });
}

/** Fixed work: the guest posts the file that it has downloaded. */
function upload(guest) {
  return whileAwake(guest, {
    amount: FILE_MB,
    work: async () => {
      const send = `wget -q -O - --post-file=/tmp/down ${ORIGIN}/upload`;
      const answer = await guest.check(send, PATIENCE);
      if (answer !== String(FILE_BYTES)) throw new Error(`the page answers "${answer}"`);
    },
  });
}

/** The contender, whose guest stands still when it is not its turn: an idle one takes a quarter of a CPU. */
function whileAwake({ emulator }, { amount, work, after }) {
  return {
    amount,
    warmUps: WARM_UPS,
    before: () => emulator.run(),
    work,
    after: async () => {
      await after?.();
      await emulator.stop();
    },
  };
}

async function transfers({ dist, repetitions }) {
  const digest = digestOfFile();
  const ours = await onGateway(dist);
  await ours.guest.emulator.stop();
  const jumbo = await onGateway(dist, JUMBO_MTU);
  await jumbo.guest.emulator.stop();
  const theirs = await onFetchNetwork();
  await theirs.guest.emulator.stop();
  const contenders = {
    download: download(ours.guest, digest),
    jumbo: download(jumbo.guest, digest),
    fetch: download(theirs.guest, digest),
    upload: upload(ours.guest),
  };
  try {
    const { rates, clockRates } = await takeTurns("20 MiB, MB/s", contenders, { repetitions });
    return [
      figure("v86.download.mb_s", "MB/s", rates.download),
      ratio("v86.download.vs_fetch", rates.download, rates.fetch),
      figure("v86.download.jumbo_mb_s", "MB/s", rates.jumbo),
      ratio("v86.download.jumbo_vs_fetch", rates.jumbo, rates.fetch),
      ratio("v86.download.jumbo_vs_standard", rates.jumbo, rates.download),
      figure("v86.download.fetch_mb_s", "MB/s", rates.fetch),
      figure("v86.upload.mb_s", "MB/s", rates.upload),
      figure("v86.download.clock_mb_s", "MB/s", clockRates.download),
      ratio("v86.download.clock_vs_fetch", clockRates.download, clockRates.fetch),
      ratio("v86.download.jumbo_clock_vs_fetch", clockRates.jumbo, clockRates.fetch),
      figure("v86.upload.clock_mb_s", "MB/s", clockRates.upload),
    ];
  } finally {
    await Promise.all([ours.close(), jumbo.close(), theirs.close()]);
  }
}

/** What `run.mjs` runs. */
export const benchmarks = [{ prefix: "v86.", run: transfers }];
