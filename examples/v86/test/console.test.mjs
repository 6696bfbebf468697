/** The driver of a guest's console, at a terminal that the kernel writes to as well. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootGuest } from "../guest/guest.mjs";

const COMPLAINT = "[  119.149023] rcu: INFO: rcu_preempt self-detected stall on CPU\r\n";

/** An emulator whose guest answers each command with what `answer` makes of its number. */
function emulatorOf(answer) {
  return class {
    #print;
    v86 = {};

    add_listener(event, listener) {
      if (event !== "serial0-output-byte") return;
      this.#print = (text) => {
        for (const byte of Buffer.from(text)) listener(byte);
      };
      queueMicrotask(() => this.#print("guest# "));
    }

    serial_send_bytes(_port, bytes) {
      const [, id] = /BE''GIN(\d+)/.exec(Buffer.from(bytes).toString());
      queueMicrotask(() => this.#print(`${answer(id)}guest# `));
    }

    async stop() {}

    async destroy() {}
  };
}

async function run(answer) {
  const guest = await bootGuest({ V86: emulatorOf(answer), wasmPath: "" });
  try {
    return await guest.run("true", { timeoutMs: 1_000 });
  } finally {
    await guest.stop();
  }
}

test("a command's output and status are what is between its marks", async () => {
  const answer = (id) => `BEGIN${id}\r\none\r\ntwo\r\n\r\nEND${id}:3\r\n`;
  assert.deepEqual(await run(answer), { output: "one\ntwo\n", status: 3 });
});

test("a command ends although the kernel writes where a mark's line would end", async () => {
  const { status } = await run((id) => `BEGIN${id}${COMPLAINT}\r\n\r\nEND${id}:0${COMPLAINT}\r\n`);
  assert.equal(status, 0);
});
