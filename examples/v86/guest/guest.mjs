/**
 * Boots a Linux guest in v86 and drives its shell over the serial console.
 *
 * The module imports nothing, so that one copy serves Node, web pages and
 * workers: the caller injects the `V86` class and the bytes of the image.
 * `node.mjs` beside it does so from a folder, `browser.mjs` over HTTP.
 *
 * The guest is the one that `build.sh` makes. Its shell reads plain lines
 * without echo and prompts with `guest# `.
 */

const PROMPT = "guest# ";
/** The console driver keeps this many characters of what the guest printed. */
const CONSOLE_LIMIT = 1 << 20;
/** A terminal in canonical mode loses what exceeds 4,095 bytes unread. */
const INPUT_LIMIT = 4000;

/** Kernel arguments for a short boot; `nodhcp` leaves the network alone until asked. */
export const KERNEL_ARGUMENTS =
  // tsc=reliable: the only clock source of v86 that is both present and cheap.
  "console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on nowatchdog quiet " +
  "noisapnp pnpbios=off cryptomgr.notests apparmor=0 nodhcp";

/** Shell command that takes a lease on eth0 or fails within about 10 s. */
export const DHCP = "udhcpc -i eth0 -n -q -t 5 -T 2 -O mtu -O domain -s /etc/udhcpc.sh";

/** A guest that did not do what it was told; `console` is the end of what it printed. */
export class GuestError extends Error {
  /**
   * @param {string} message
   * @param {string} console
   */
  constructor(message, console) {
    super(`${message}\n--- end of the guest's console ---\n${console}`);
    this.name = "GuestError";
    this.console = console;
  }
}

/**
 * @typedef {object} Image
 * @property {ArrayBuffer} bzImage  Linux kernel
 * @property {ArrayBuffer} initrd   initial RAM disk, gzip
 * @property {ArrayBuffer} bios     SeaBIOS
 * @property {ArrayBuffer} vgaBios  SeaBIOS for VGA
 *
 * @typedef {object} BootOptions
 * @property {any} V86              the class that v86's libv86.mjs exports
 * @property {string} wasmPath      v86.wasm: a path in Node, a URL in a page
 * @property {Image} [image]        needed for a cold boot
 * @property {"virtio" | "ne2k"} [nic]
 * @property {ArrayBuffer} [state]  saved by `saveState` of a guest with the same
 *   v86, image, NIC and memory; without it the guest boots cold
 * @property {string} [mac]         address for eth0; needed by every guest but the
 *   first that is restored from one state
 * @property {number} [memoryMiB]   more than 64 plus the initrd, since v86 puts
 *   the initrd at 64 MiB
 * @property {number} [mtu]         virtio's MTU offered to the guest's driver, 68 to 65535
 * @property {object} [network]     further properties for v86's `net_device`
 * @property {number} [timeoutMs]   limit for the boot
 * @property {(text: string) => void} [onConsole]  called with what the guest prints
 */

/**
 * Starts a guest and resolves when its shell answers.
 *
 * @param {BootOptions} options
 * @returns {Promise<Guest>}
 */
export async function bootGuest(options) {
  const guest = new Guest(options);
  try {
    await guest.ready;
    if (options.mac !== undefined) await guest.setMac(options.mac);
  } catch (error) {
    await guest.stop();
    throw error;
  }
  return guest;
}

export class Guest {
  /** Everything printed since the start, up to the last CONSOLE_LIMIT characters. */
  console = "";
  /** v86's emulator: what a port is made from. */
  emulator;
  /** Settles when the shell prompts for the first time. */
  ready;

  #decoder = new TextDecoder();
  #bytes = [];
  #watcher = null;
  #onConsole;
  #queue = Promise.resolve();
  #serial = 0;
  #failure = null;
  #stopped = null;

  /** @param {BootOptions} options */
  constructor({
    V86,
    wasmPath,
    image,
    state,
    nic = "virtio",
    memoryMiB = 128,
    mtu,
    network = {},
    timeoutMs = 120_000,
    onConsole = () => {},
  }) {
    this.#onConsole = onConsole;
    this.emulator = new V86({
      wasm_path: wasmPath,
      // A saved state has all of these in its memory.
      ...(image && {
        bios: { buffer: image.bios },
        vga_bios: { buffer: image.vgaBios },
        bzimage: { buffer: image.bzImage },
        initrd: { buffer: image.initrd },
        cmdline: KERNEL_ARGUMENTS,
      }),
      memory_size: memoryMiB * 1024 * 1024,
      net_device: { type: nic, ...(mtu === undefined ? {} : { mtu }), ...network },
      // Otherwise a restored card takes a new random address and ne2k drops
      // every frame that is sent to the one the guest still uses.
      preserve_mac_from_state_image: true,
      ...(state ? { initial_state: { buffer: state } } : {}),
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      autostart: true,
    });
    this.emulator.add_listener("serial0-output-byte", (byte) => this.#receive(byte));
    if (state) {
      // A restored shell waits at the prompt it has printed before the snapshot.
      this.emulator.add_listener("emulator-started", () => this.type("\n"));
    }
    this.ready = this.#until(
      (text) => text.endsWith(PROMPT) || undefined,
      "the shell's prompt",
      timeoutMs,
    ).then(() => undefined);
  }

  /** Sends text to the console as if typed. @param {string} text */
  type(text) {
    this.emulator.serial_send_bytes(0, new TextEncoder().encode(text));
  }

  /**
   * Runs a shell command and resolves with what it printed and its exit status.
   * Calls queue up and run one after the other, in one shell: `cd` and
   * variables persist (and `exit` would end it). Standard input is /dev/null.
   *
   * @param {string} command
   * @param {{ timeoutMs?: number }} [options]  real time, from when the command starts
   * @returns {Promise<{ output: string, status: number }>}
   * @throws {GuestError} when it takes too long (it is interrupted), or the kernel panics
   */
  run(command, { timeoutMs = 30_000 } = {}) {
    const id = ++this.#serial;
    // Quotes split the markers, so that an echo of the line is not taken for them.
    const line = `echo BE''GIN${id}; { ${command}\n} </dev/null; printf '\\nEN''D${id}:%d\\n' $?\n`;
    if (new TextEncoder().encode(line).length > INPUT_LIMIT) {
      return Promise.reject(
        new RangeError(`command of ${command.length} characters, at most ${INPUT_LIMIT - 80} fit`),
      );
    }
    const result = this.#queue.then(async () => {
      // The terminal writes the ends of lines by themselves, and the kernel may say something before one.
      const begin = `BEGIN${id}`;
      const end = new RegExp(`\nEND${id}:(\\d+)\\D`);
      const done = this.#until(
        (text) => {
          const start = text.indexOf(begin);
          if (start < 0) return undefined;
          const output = text.slice(start + begin.length);
          const match = end.exec(output);
          return match
            ? { output: output.slice(1, match.index), status: Number(match[1]) }
            : undefined;
        },
        `the end of \`${command}\``,
        timeoutMs,
      );
      this.type(line);
      try {
        return await done;
      } catch (error) {
        if (!this.#stopped) this.type("\x03");
        throw error;
      }
    });
    this.#queue = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /**
   * Like `run`, but a command that fails rejects. Resolves with its output, trimmed.
   *
   * @param {string} command
   * @param {{ timeoutMs?: number }} [options]
   * @returns {Promise<string>}
   */
  async check(command, options) {
    const { output, status } = await this.run(command, options);
    if (status !== 0) throw new GuestError(`\`${command}\` exited with ${status}`, output);
    return output.trim();
  }

  /** Gives eth0 another hardware address. @param {string} mac  like 02:00:00:00:00:07 */
  async setMac(mac) {
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac))
      throw new TypeError(`not a MAC address: ${mac}`);
    // The 8390 driver refuses to change the address of an interface that is up.
    await this.check(
      `ip link set eth0 down && ip link set eth0 address ${mac} && ip link set eth0 up`,
    );
  }

  /** The machine's state, for `state` of a later boot. @returns {Promise<ArrayBuffer>} */
  async saveState() {
    return this.emulator.save_state();
  }

  /** Ends the guest; what is pending rejects. Safe to call more than once. */
  stop() {
    this.#stopped ??= (async () => {
      this.#fail("the guest was stopped");
      await this.emulator.stop();
      // A file that was being read wakes v86 when it arrives, and it would tick without what its ticks go through.
      this.emulator.v86.next_tick = () => {};
      await this.emulator.destroy();
    })();
    return this.#stopped;
  }

  #receive(byte) {
    this.#bytes.push(byte);
    // Text is looked at line by line, and at the end of a prompt.
    if (byte !== 0x0a && byte !== 0x20) return;
    const text = this.#decoder
      .decode(Uint8Array.from(this.#bytes), { stream: true })
      .replaceAll("\r", "");
    this.#bytes = [];
    this.console = (this.console + text).slice(-CONSOLE_LIMIT);
    this.#onConsole(text);
    if (text.includes("Kernel panic - not syncing")) this.#fail("the guest's kernel panicked");
    this.#watcher?.(text);
  }

  #fail(reason) {
    this.#failure ??= reason;
    this.#watcher?.("");
  }

  /** Resolves with the first defined answer of `match` to what is printed from now on. */
  #until(match, what, timeoutMs) {
    return new Promise((resolve, reject) => {
      let text = "";
      const settle = (action) => {
        clearTimeout(timer);
        this.#watcher = null;
        action();
      };
      const error = (message) => new GuestError(message, this.console.slice(-2000));
      const timer = setTimeout(
        () => settle(() => reject(error(`no sign of ${what} within ${timeoutMs} ms`))),
        timeoutMs,
      );
      this.#watcher = (more) => {
        if (this.#failure) return settle(() => reject(error(this.#failure)));
        text += more;
        const found = match(text);
        if (found !== undefined) settle(() => resolve(found));
      };
      if (this.#failure) this.#watcher("");
    });
  }
}
