/** The processes beside the one under test: a hub and the remote gateway. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startHub } from "./hub.mjs";

/** Starts a hub with remote.mjs on it. */
export async function startRemote() {
  const hub = await startHub();
  const script = fileURLToPath(new URL("./remote.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, hub.url], { stdio: ["pipe", "pipe", "inherit"] });
  const exit = once(child, "exit");
  const ready = once(child.stdout, "data").then(() => "ready");
  const first = await Promise.race([ready, exit]);
  if (first !== "ready") {
    await hub.close();
    throw new Error(`remote.mjs ended with status ${first[0]}`);
  }
  return {
    hub: hub.url,
    async close() {
      child.stdin.end();
      await exit;
      await hub.close();
    },
  };
}
