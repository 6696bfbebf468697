/** What a guest is started from: files that the page's server lists, or files that were dropped on the page. */

/** v86's network cards. */
export type Card = "virtio" | "ne2k";

export const CARDS: readonly Card[] = ["virtio", "ne2k"];

/** Memory of a guest of which nothing else is known, in MiB. */
export const DEFAULT_MEMORY_MIB = 128;

/** A file that is loaded when it is needed. */
export interface ImageFile {
  name: string;
  /** @param progress  told the bytes loaded, and all of them where that is known. */
  load(progress: (loaded: number, total: number | null) => void): Promise<ArrayBuffer>;
}

/** Parts of a guest, by what v86 uses them for. */
export interface GuestImage {
  bzImage?: ImageFile;
  initrd?: ImageFile;
  bios?: ImageFile;
  vgaBios?: ImageFile;
  /** Saved states, by network card. */
  states: Partial<Record<Card, ImageFile>>;
  /** MiB that a state was saved with, and that a boot gets. */
  memoryMiB: number;
}

const PARTS = ["bzImage", "initrd", "bios", "vgaBios"] as const;
type Part = (typeof PARTS)[number];

/** Whether a guest with this card can be started from the image, and how. */
export function startFrom(image: GuestImage, card: Card): "state" | "boot" | null {
  if (image.states[card] !== undefined) return "state";
  return image.bzImage !== undefined && image.bios !== undefined ? "boot" : null;
}

/** Cards that a guest can be started with. */
export function cardsOf(image: GuestImage): Card[] {
  return CARDS.filter((card) => startFrom(image, card) !== null);
}

/**
 * Asks the page's server for a guest. Null if it lists none.
 * @param base  of the page
 */
export async function servedImage(base: URL): Promise<GuestImage | null> {
  const url = new URL("guest/manifest.json", base);
  const response = await fetch(url, { cache: "no-store" });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`${url.pathname}: HTTP status ${response.status}`);
  return imageOfManifest(await response.json(), url);
}

/** Reads a manifest: `{ files: { bzImage, initrd, bios, vgaBios }, states: { virtio, ne2k }, memoryMiB }`. */
export function imageOfManifest(manifest: unknown, url: URL): GuestImage | null {
  const list = record(manifest);
  const files = record(list["files"]);
  const states = record(list["states"]);
  const memory = list["memoryMiB"];
  const image: GuestImage = {
    states: {},
    memoryMiB: typeof memory === "number" ? memory : DEFAULT_MEMORY_MIB,
  };
  for (const part of PARTS) {
    const name = files[part];
    if (typeof name === "string") image[part] = remoteFile(name, url);
  }
  for (const card of CARDS) {
    const name = states[card];
    if (typeof name === "string") image.states[card] = remoteFile(name, url);
  }
  return cardsOf(image).length > 0 ? image : null;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function remoteFile(name: string, base: URL): ImageFile {
  return {
    name,
    async load(progress) {
      const response = await fetch(new URL(name, base));
      if (!response.ok || response.body === null) {
        throw new Error(`${name}: HTTP status ${response.status}. Is the server still running?`);
      }
      const length = Number(response.headers.get("content-length"));
      const total = length > 0 && !response.headers.has("content-encoding") ? length : null;
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      let loaded = 0;
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        chunks.push(value);
        loaded += value.length;
        progress(loaded, total);
      }
      return new Blob(chunks).arrayBuffer();
    },
  };
}

/** The part of a `File` that is read here. */
export type DroppedFile = Pick<Blob, "size" | "slice" | "arrayBuffer"> & { readonly name: string };

/** Files that are no part of a guest, or not enough for one; the message says what to do. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

const STATE_MAGIC = 0x86768676;
const LINUX_MAGIC = "HdrS";
/** The longest description in a state that is looked into. */
const STATE_HEADER_LIMIT = 4 * 1024 * 1024;

/**
 * Finds out what dropped files are, from their first bytes; only a BIOS is known by its name. What the page has already
 * (a BIOS, say) fills the gaps.
 * @param card  that a state was saved with
 * @throws {ImageError}
 */
export async function imageOfFiles(
  files: readonly DroppedFile[],
  card: Card,
  known: GuestImage | null,
): Promise<GuestImage> {
  const image: GuestImage = { states: {}, memoryMiB: DEFAULT_MEMORY_MIB };
  for (const file of files) {
    const kind = await kindOf(file);
    if (kind === null) {
      throw new ImageError(
        `${file.name} is no Linux kernel (bzImage), initial RAM disk, BIOS or saved v86 state.`,
      );
    }
    const part: ImageFile = { name: file.name, load: () => file.arrayBuffer() };
    if (kind === "state") {
      image.states[card] = part;
      image.memoryMiB = (await memoryOfState(file)) ?? DEFAULT_MEMORY_MIB;
    } else {
      image[kind] = part;
    }
  }
  if (image.states[card] !== undefined) return image;
  for (const part of ["bios", "vgaBios"] as const) {
    const file = image[part] ?? known?.[part];
    if (file !== undefined) image[part] = file;
  }
  if (image.bzImage === undefined) {
    throw new ImageError(
      "There is no kernel among these files: add a bzImage, or drop a saved state.",
    );
  }
  if (image.bios === undefined) {
    throw new ImageError(
      "A kernel needs a BIOS to start: drop bios.bin (SeaBIOS, from v86 or Debian's seabios) together with it.",
    );
  }
  return image;
}

async function kindOf(file: DroppedFile): Promise<Part | "state" | null> {
  const head = new Uint8Array(await file.slice(0, 0x206).arrayBuffer());
  const view = new DataView(head.buffer);
  const text = (from: number, to: number) => String.fromCharCode(...head.subarray(from, to));
  const magic = head.length >= 4 ? view.getUint32(0, true) : 0;
  if (magic === STATE_MAGIC) return "state";
  if (text(0x202, 0x206) === LINUX_MAGIC) return "bzImage";
  const name = file.name.toLowerCase();
  if (name.includes("bios")) return name.includes("vga") ? "vgaBios" : "bios";
  // Zstandard packs states and RAM disks alike.
  if (magic === 0xfd2fb528) return /init|ramfs|cpio/.test(name) ? "initrd" : "state";
  const gzip = head[0] === 0x1f && head[1] === 0x8b;
  const xz = head[0] === 0xfd && text(1, 5) === "7zXZ";
  return gzip || xz || text(0, 6) === "070701" ? "initrd" : null;
}

/** MiB of memory that a state was saved with: the first thing in its description. Null if it is packed. */
async function memoryOfState(file: DroppedFile): Promise<number | null> {
  const head = new DataView(await file.slice(0, 16).arrayBuffer());
  if (head.byteLength < 16 || head.getUint32(0, true) !== STATE_MAGIC) return null;
  const length = head.getUint32(12, true);
  if (length > STATE_HEADER_LIMIT) return null;
  try {
    const { state } = JSON.parse(await new Response(file.slice(16, 16 + length)).text());
    const bytes: unknown = state[0];
    return typeof bytes === "number" ? bytes / (1024 * 1024) : null;
  } catch {
    return null;
  }
}
