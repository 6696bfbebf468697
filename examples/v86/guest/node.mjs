/**
 * Loads the guest's image and v86 from the disk and boots guests in Node.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { V86 } from "v86";
import { bootGuest, KERNEL_ARGUMENTS } from "./guest.mjs";

/** Folder of v86's libv86.mjs and v86.wasm. */
export const v86Folder = path.dirname(fileURLToPath(import.meta.resolve("v86")));

/** Where build.sh and snapshot.mjs put their files unless told otherwise. */
export const defaultFolder =
  process.env.ETHERTAB_GUEST ?? fileURLToPath(new URL("../../../.build/guest", import.meta.url));

/** Files of the image by their property name in `Image`. */
export const imageFiles = {
  bzImage: "bzImage",
  initrd: "initrd.gz",
  bios: "bios.bin",
  vgaBios: "vgabios.bin",
};

/** Memory of the guest whose state is saved, in MiB. */
export const memoryMiB = 128;

/**
 * A file as an ArrayBuffer of its own: v86 takes the whole buffer, and that of
 * a small Node Buffer is a shared pool.
 *
 * @param {string} file
 * @returns {Promise<ArrayBuffer>}
 */
async function readBuffer(file) {
  return new Uint8Array(await readFile(file)).buffer;
}

/**
 * @param {string} [folder]
 * @returns {Promise<import("./guest.mjs").Image>}
 */
export async function loadImage(folder = defaultFolder) {
  const entries = Object.entries(imageFiles).map(async ([name, file]) => [
    name,
    await readBuffer(path.join(folder, file)),
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * The file of the saved state for a NIC. Its name holds a digest of all that a
 * state depends on, so that a stale one is never found.
 *
 * @param {"virtio" | "ne2k"} nic
 * @param {string} [folder]
 * @returns {Promise<string>}
 */
export async function statePath(nic, folder = defaultFolder) {
  const hash = createHash("sha256");
  const { version } = JSON.parse(await readFile(path.join(v86Folder, "../package.json"), "utf8"));
  hash.update(JSON.stringify({ nic, memoryMiB, version, KERNEL_ARGUMENTS }));
  for (const file of Object.values(imageFiles))
    hash.update(await readFile(path.join(folder, file)));
  return path.join(folder, `state-${nic}-${hash.digest("hex").slice(0, 16)}.bin`);
}

/**
 * Starts a guest from the files of `folder`: restored from the saved state, or
 * from the kernel on if `cold` is set.
 *
 * @param {Partial<import("./guest.mjs").BootOptions> & { cold?: boolean, folder?: string }} [options]
 */
export async function startGuest({
  cold = false,
  folder = defaultFolder,
  nic = "virtio",
  ...options
} = {}) {
  const source = cold
    ? { image: await loadImage(folder) }
    : { state: await readBuffer(await statePath(nic, folder)) };
  const wasmPath = path.join(v86Folder, "v86.wasm");
  return bootGuest({ V86, wasmPath, nic, memoryMiB, ...source, ...options });
}
