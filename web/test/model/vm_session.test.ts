import assert from "node:assert/strict";
import { test } from "node:test";
import { get } from "svelte/store";
import type { DroppedFile, GuestImage } from "../../src/model/guest_image.js";
import type { Machine, StartOptions } from "../../src/model/machine.js";
import { VmSession } from "../../src/model/vm_session.js";

const file = { name: "state.bin", load: async () => new ArrayBuffer(0) };
const image: GuestImage = { states: { virtio: file }, memoryMiB: 128 };
const machine = { restored: true } as Machine;
const library = () => Promise.reject(new Error("not needed"));

/** Starts that end when the test says so. */
function starter() {
  const starts: (StartOptions & PromiseWithEnd)[] = [];
  let stops = 0;
  return {
    starts,
    get stops() {
      return stops;
    },
    start(options: StartOptions): Promise<Machine> {
      return new Promise((resolve, reject) => starts.push({ ...options, resolve, reject }));
    },
    async stop() {
      stops += 1;
    },
  };
}

interface PromiseWithEnd {
  resolve(machine: Machine): void;
  reject(error: Error): void;
}

test("a start shows its progress and then the machine", async () => {
  const fake = starter();
  const session = new VmSession(fake, library, image);
  const done = session.start("virtio");
  fake.starts[0]?.progress({ text: "Loading", part: 0.5 });
  assert.deepEqual(get(session.state), {
    kind: "starting",
    progress: { text: "Loading", part: 0.5 },
  });
  fake.starts[0]?.resolve(machine);
  await done;
  assert.deepEqual(get(session.state), { kind: "running", machine, card: "virtio" });
});

test("a card that the image has not is replaced by one that it has", async () => {
  const fake = starter();
  void new VmSession(fake, library, image).start("ne2k");
  assert.equal(fake.starts[0]?.card, "virtio");
});

test("a second start takes the place of the first, whichever ends first", async () => {
  const fake = starter();
  const session = new VmSession(fake, library, image);
  const first = session.start("virtio");
  const second = session.start("virtio");
  assert.equal(fake.starts[0]?.signal.aborted, true);
  fake.starts[1]?.resolve(machine);
  await second;
  fake.starts[0]?.reject(new Error("aborted"));
  await first;
  assert.equal(get(session.state).kind, "running");
});

test("a failure is shown with its reason", async () => {
  const fake = starter();
  const session = new VmSession(fake, library, image);
  const done = session.start("virtio");
  fake.starts[0]?.reject(new Error("state.bin: HTTP status 404"));
  await done;
  assert.deepEqual(get(session.state), { kind: "failed", message: "state.bin: HTTP status 404" });
});

test("files that are no guest end the one that runs, and say why", async () => {
  const fake = starter();
  const session = new VmSession(fake, library, null);
  const blob = new Blob(["hello"]);
  await session.useFiles([Object.assign(blob, { name: "notes.txt" }) as DroppedFile], "virtio");
  const state = get(session.state);
  assert.equal(state.kind, "failed");
  assert.match(state.kind === "failed" ? state.message : "", /notes\.txt is no Linux kernel/);
  assert.equal(fake.stops, 1);
  assert.equal(fake.starts.length, 0);
});

test("without an image a start does nothing", async () => {
  const fake = starter();
  const session = new VmSession(fake, library, null);
  await session.start("virtio");
  assert.equal(get(session.state).kind, "empty");
  assert.equal(fake.starts.length, 0);
});
