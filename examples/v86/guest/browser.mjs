/**
 * Loads the guest over HTTP and boots it in a page or a worker.
 *
 * `base` is the URL of the folder that build.sh and snapshot.mjs filled;
 * `guest.json` in it, written by snapshot.mjs, names the saved states.
 */
import { bootGuest } from "./guest.mjs";

/** @param {string | URL} url */
async function fetchBuffer(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP status ${response.status}`);
  return response.arrayBuffer();
}

/**
 * @param {Omit<import("./guest.mjs").BootOptions, "image" | "state" | "memoryMiB"> &
 *   { base: string | URL, cold?: boolean }} options  `cold` boots from the kernel on
 */
export async function startGuest({ base, cold = false, nic = "virtio", ...options }) {
  const file = (name) => fetchBuffer(new URL(name, base));
  const response = await fetch(new URL("guest.json", base));
  if (!response.ok) throw new Error(`no guest at ${base}: HTTP status ${response.status}`);
  const { files, memoryMiB, states } = await response.json();
  if (!cold && !(nic in states)) throw new Error(`no saved state for the network card ${nic}`);
  const source = cold
    ? {
        image: Object.fromEntries(
          await Promise.all(
            Object.entries(files).map(async ([name, path]) => [name, await file(path)]),
          ),
        ),
      }
    : { state: await file(states[nic]) };
  return bootGuest({ nic, memoryMiB, ...source, ...options });
}
