import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cardsOf,
  type DroppedFile,
  type GuestImage,
  imageOfFiles,
  imageOfManifest,
  startFrom,
} from "../../src/model/guest_image.js";

const URL_OF_MANIFEST = new URL("http://127.0.0.1:8080/guest/manifest.json");

function dropped(name: string, ...parts: BlobPart[]): DroppedFile {
  const blob = new Blob(parts);
  return {
    name,
    size: blob.size,
    slice: blob.slice.bind(blob),
    arrayBuffer: blob.arrayBuffer.bind(blob),
  };
}

function kernel(): DroppedFile {
  const head = new Uint8Array(0x400);
  head.set(new TextEncoder().encode("HdrS"), 0x202);
  return dropped("vmlinuz-6.1", head);
}

function state(memoryMiB: number): DroppedFile {
  const description = new TextEncoder().encode(
    JSON.stringify({ state: [memoryMiB * 1024 * 1024, null], buffer_infos: [] }),
  );
  const head = Uint32Array.of(0x86768676, 6, 0, description.length);
  return dropped("mine.bin", head, description, new Uint8Array(64));
}

const bios = dropped("bios.bin", new Uint8Array(128));
const initrd = dropped("initrd.gz", Uint8Array.of(0x1f, 0x8b, 8, 0));

test("a manifest lists what a guest is started from", () => {
  const image = imageOfManifest(
    {
      files: { bzImage: "bzImage", initrd: "initrd.gz", bios: "bios.bin" },
      states: { virtio: "state-virtio.bin" },
      memoryMiB: 96,
    },
    URL_OF_MANIFEST,
  ) as GuestImage;
  assert.equal(image.memoryMiB, 96);
  assert.equal(startFrom(image, "virtio"), "state");
  assert.equal(startFrom(image, "ne2k"), "boot");
});

test("a manifest without a state or a bootable kernel is no guest", () => {
  for (const manifest of [
    { files: {}, states: {} },
    { files: { bzImage: "bzImage" }, states: {} },
    {},
    null,
    "text",
    { files: 7, states: { virtio: 7 } },
  ]) {
    assert.equal(imageOfManifest(manifest, URL_OF_MANIFEST), null, JSON.stringify(manifest));
  }
});

test("dropped files are known by their bytes, whatever their names", async () => {
  const image = await imageOfFiles([initrd, kernel(), bios], "virtio", null);
  assert.equal(image.bzImage?.name, "vmlinuz-6.1");
  assert.equal(image.initrd?.name, "initrd.gz");
  assert.equal(image.bios?.name, "bios.bin");
  assert.deepEqual(cardsOf(image), ["virtio", "ne2k"]);
});

test("a dropped state brings its memory size, and the card that was chosen", async () => {
  const image = await imageOfFiles([state(256)], "ne2k", null);
  assert.equal(image.memoryMiB, 256);
  assert.deepEqual(cardsOf(image), ["ne2k"]);
});

test("a packed state has the usual memory size", async () => {
  const packed = dropped("state.bin.zst", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd), new Uint8Array(9));
  const image = await imageOfFiles([packed], "virtio", null);
  assert.equal(image.memoryMiB, 128);
});

test("a BIOS that the server has fills the gap", async () => {
  const known = imageOfManifest(
    { files: { bzImage: "bzImage", bios: "bios.bin" }, states: {} },
    URL_OF_MANIFEST,
  );
  const image = await imageOfFiles([kernel()], "virtio", known);
  assert.equal(image.bios?.name, "bios.bin");
});

test("what cannot be used is refused with what to do", async () => {
  await assert.rejects(
    imageOfFiles([kernel()], "virtio", null),
    /ImageError: A kernel needs a BIOS/,
  );
  await assert.rejects(imageOfFiles([initrd], "virtio", null), /add a bzImage/);
  await assert.rejects(
    imageOfFiles([dropped("holiday.jpg", Uint8Array.of(0xff, 0xd8, 0xff))], "virtio", null),
    /holiday\.jpg is no Linux kernel/,
  );
  await assert.rejects(
    imageOfFiles([dropped("empty")], "virtio", null),
    /empty is no Linux kernel/,
  );
});
