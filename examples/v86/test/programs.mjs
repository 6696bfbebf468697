/** Programs that guests have only where a test gives them: openssh-server, openssl, curl, ca-certificates, redis-server and mosquitto. Only in Node. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const image = new URL("../../../.build/guest-programs/initrd.gz", import.meta.url);

/**
 * Unpacks them in a guest that is online.
 * @param {import("../guest/guest.mjs").Guest} guest
 * @param {import("ethertab/gateway").Gateway} gateway
 */
export async function givePrograms(guest, gateway) {
  const initrd = await readFile(image).catch(() => {
    throw new Error(`${fileURLToPath(image)} is missing: cargo xtask build makes it`);
  });
  const archive = gunzipSync(initrd);
  const served = gateway.serve("http://files.test", () => new Response(archive));
  // What the guest has already stays.
  const unpack = "cd / && wget -q -O - http://files.test/ | cpio -id 2> /dev/null";
  await guest.run(unpack, { timeoutMs: 120_000 });
  served.close();
}
