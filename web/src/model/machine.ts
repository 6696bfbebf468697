/** A guest in v86. */

import type { V86Emulator } from "ethertab";
import type { V86, V86Options } from "v86";
import { errorText } from "./format.js";
import { GuestConsole } from "./guest_console.js";
import { type Card, type GuestImage, type ImageFile, startFrom } from "./guest_image.js";

/** For a short boot that shows its messages; `nodhcp` is for the guest's own init, so that people can watch it take a lease. */
const KERNEL_ARGUMENTS =
  "console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on nowatchdog " +
  "noisapnp pnpbios=off cryptomgr.notests apparmor=0 nodhcp";

const MIB = 1024 * 1024;

/** What is being done to start a guest. */
export interface StartProgress {
  text: string;
  /** From 0 to 1; null while nobody knows. */
  part: number | null;
}

/** An emulator; v86's own types leave out the bus that frames go over. */
export type Emulator = V86 & V86Emulator;

/** The class of v86 and where its module is, loaded only when a guest is started. */
export interface V86Library {
  V86: new (options: V86Options) => Emulator;
  wasm: string;
}

/** How a guest is started. */
export interface StartOptions {
  image: GuestImage;
  card: Card;
  library: () => Promise<V86Library>;
  progress: (progress: StartProgress) => void;
  signal: AbortSignal;
}

/** A running guest. */
export interface Machine {
  readonly emulator: Emulator;
  readonly console: GuestConsole;
  readonly restored: boolean;
  stop(): Promise<void>;
}

/** Loads a guest's files and starts it; resolves when its processor runs. */
export async function startMachine(options: StartOptions): Promise<Machine> {
  const { image, card, progress, signal } = options;
  const way = startFrom(image, card);
  if (way === null) throw new Error(`There is no guest image for the network card ${card}.`);
  const files =
    way === "state"
      ? { state: image.states[card] }
      : {
          bzimage: image.bzImage,
          initrd: image.initrd,
          bios: image.bios,
          vga_bios: image.vgaBios,
        };
  const buffers: Record<string, { buffer: ArrayBuffer }> = {};
  for (const [name, file] of Object.entries(files)) {
    if (file !== undefined) buffers[name] = { buffer: await load(file, progress) };
    signal.throwIfAborted();
  }
  progress({ text: "Loading the emulator …", part: null });
  const { V86, wasm } = await options.library();
  signal.throwIfAborted();
  progress({ text: way === "state" ? "Restoring the guest …" : "Booting Linux …", part: null });
  const { state, ...parts } = buffers;
  const emulator = new V86({
    wasm_path: wasm,
    memory_size: image.memoryMiB * MIB,
    net_device: { type: card },
    // Otherwise a restored card has another address than the one that its driver uses.
    preserve_mac_from_state_image: true,
    ...(way === "boot" ? { cmdline: KERNEL_ARGUMENTS } : {}),
    ...parts,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  } as V86Options);
  const console = new GuestConsole((bytes) => emulator.serial_send_bytes(0, bytes));
  emulator.add_listener("serial0-output-byte", (byte) => console.output(byte));
  try {
    await loaded(emulator, signal);
    if (state !== undefined) await restore(emulator, state.buffer);
    await emulator.run();
  } catch (error) {
    console.close();
    await emulator.destroy();
    throw error;
  }
  if (way === "state") console.wake();
  return {
    emulator,
    console,
    restored: way === "state",
    async stop() {
      console.close();
      await emulator.destroy();
    },
  };
}

/** The longest that v86 may take to load its module, in milliseconds. */
const LOAD_LIMIT = 60_000;

/** Resolves when the emulator has its module and can be given a state. */
async function loaded(emulator: Emulator, signal: AbortSignal): Promise<void> {
  let done = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      done = () => resolve();
      emulator.add_listener("emulator-loaded", done);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      const late = new Error(`v86 was not ready within ${LOAD_LIMIT / 1000} s`);
      timer = setTimeout(() => reject(late), LOAD_LIMIT);
    });
  } finally {
    clearTimeout(timer);
    emulator.remove_listener("emulator-loaded", done);
  }
}

/** Not by v86's option `initial_state`: what is wrong with a state would come out where nobody waits for it. */
async function restore(emulator: Emulator, state: ArrayBuffer): Promise<void> {
  try {
    await emulator.restore_state(state);
  } catch (error) {
    const reason = errorText(error);
    throw new Error(`v86 cannot use this state, which another version may have saved: ${reason}.`);
  }
}

function load(file: ImageFile, progress: (progress: StartProgress) => void): Promise<ArrayBuffer> {
  return file.load((loaded, total) => {
    const size = (bytes: number) => (bytes / MIB).toFixed(0);
    const text = `Loading ${file.name}: ${size(loaded)}${total === null ? "" : ` of ${size(total)}`} MiB`;
    progress({ text, part: total === null ? null : loaded / total });
  });
}
