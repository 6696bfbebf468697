/**
 * Boots the guest once for each NIC and saves its state at the shell's prompt,
 * so that tests and pages start from there in well under a second.
 *
 *   node --liftoff-only guest/snapshot.mjs [--nic=virtio,ne2k] [FOLDER]
 *
 * FOLDER is what build.sh made and where the states go. What is there already
 * is left alone; states of older images are removed. guest.json lists what a
 * page needs to know. V8's baseline compiler (--liftoff-only) halves the CPU time
 * of a boot, in which no code runs long.
 */
import { access, readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { defaultFolder, imageFiles, memoryMiB, startGuest, statePath } from "./node.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { nic: { type: "string", default: "virtio,ne2k" } },
});
const folder = path.resolve(positionals[0] ?? defaultFolder);

/** @type {Record<string, string>} */
const states = {};

for (const nic of values.nic.split(",")) {
  const file = await statePath(nic, folder).catch((error) => {
    console.error(`${error.message}\nBuild the guest's image first: sh guest/build.sh ${folder}`);
    process.exit(1);
  });
  states[nic] = path.basename(file);
  if (
    await access(file).then(
      () => true,
      () => false,
    )
  ) {
    console.log(`${nic}: ${path.basename(file)} is up to date`);
    continue;
  }
  console.log(`${nic}: booting Linux ...`);
  const start = performance.now();
  const guest = await startGuest({ cold: true, folder, nic });
  const state = new Uint8Array(await guest.saveState());
  await guest.stop();
  // Written aside first: another process never reads half a state.
  await writeFile(`${file}.part`, state);
  await rename(`${file}.part`, file);
  for (const old of await readdir(folder)) {
    if (old.startsWith(`state-${nic}-`) && old !== path.basename(file))
      await rm(path.join(folder, old));
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${nic}: ${path.basename(file)}, ${(state.length / 2 ** 20).toFixed(0)} MiB, in ${seconds} s`,
  );
}

await writeFile(
  path.join(folder, "guest.json"),
  `${JSON.stringify({ files: imageFiles, memoryMiB, states }, null, 2)}\n`,
);
