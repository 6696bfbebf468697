import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { get } from "svelte/store";
import { GuestConsole } from "../../src/model/guest_console.js";

function open(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const sent: string[] = [];
  const shown: string[] = [];
  const decoder = new TextDecoder();
  const guest = new GuestConsole((bytes) => sent.push(decoder.decode(bytes)));
  return {
    guest,
    sent,
    shown,
    attach: () => guest.attach((bytes) => shown.push(decoder.decode(bytes)), 90, 30),
    print(text: string) {
      for (const byte of new TextEncoder().encode(text)) guest.output(byte);
      t.mock.timers.tick(0);
    },
    quiet: () => t.mock.timers.tick(100),
  };
}

test("the guest's own shell is told to echo, and the terminal's size, once and when that is known", (t) => {
  const { guest, sent, attach, print, quiet } = open(t);
  print("\nguest# ");
  quiet();
  assert.deepEqual(sent, []);
  attach();
  assert.deepEqual(sent, ["stty -F /dev/ttyS0 echo cols 90 rows 30; clear\n"]);
  assert.equal(get(guest.shell), "starting");
  print("\x1b[H\x1b[Jguest# \x1b[6n");
  quiet();
  assert.equal(get(guest.shell), "idle");
  assert.equal(sent.length, 1);
});

test("a shell is busy from a command to the next prompt", (t) => {
  const { guest, sent, attach, print, quiet } = open(t);
  attach();
  print("user@host:~$ ");
  quiet();
  assert.equal(get(guest.shell), "idle");
  guest.run("ping -c 3 10.0.2.2");
  assert.equal(sent.at(-1), "\x15ping -c 3 10.0.2.2\n");
  assert.equal(get(guest.shell), "busy");
  print("64 bytes from 10.0.2.2\n");
  quiet();
  assert.equal(get(guest.shell), "busy");
  print("user@host:~$ ");
  quiet();
  assert.equal(get(guest.shell), "idle");
});

test("a sign that more text follows is no prompt, and neither is a progress bar", (t) => {
  const { guest, attach, print, quiet } = open(t);
  attach();
  print("# ");
  print("comment in a file\n");
  quiet();
  assert.equal(get(guest.shell), "starting");
  print("50MiB   12% ");
  quiet();
  assert.equal(get(guest.shell), "starting");
});

test("what is typed but not sent leaves the shell idle", (t) => {
  const { guest, attach, print, quiet } = open(t);
  attach();
  print("$ ");
  quiet();
  guest.input("ls");
  assert.equal(get(guest.shell), "idle");
  guest.input("\r");
  assert.equal(get(guest.shell), "busy");
});

test("what was printed before the terminal is there is shown in it", (t) => {
  const { shown, attach, print } = open(t);
  print("Booting");
  attach();
  print(" Linux");
  assert.equal(shown.join(""), "Booting Linux");
});

test("sums are found, each once, the last one first, though they come in pieces", (t) => {
  const { guest, attach, print } = open(t);
  attach();
  const [first, second] = ["ab".repeat(32), "0d".repeat(32)];
  print(`${first}  /tmp/a\n`);
  print(second.slice(0, 20));
  print(`${second.slice(20)}  /tmp/b\n`);
  print("guest# ");
  assert.deepEqual(get(guest.sums), [second, first]);
});

test("nothing is shown after the end", (t) => {
  const { guest, shown, attach, print, quiet } = open(t);
  attach();
  guest.close();
  print("late");
  quiet();
  assert.deepEqual(shown, []);
});
