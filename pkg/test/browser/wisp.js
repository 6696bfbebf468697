/** Guests behind a Wisp server, with each WebSocket that the browser has, told by a list of lines that begin with "ok" or "failed". */

import { createGateway, wispEgress } from "/dist/gateway/index.js";
import { createEngine, createStack, plug } from "/dist/index.js";

/** What the server outside sends to whoever connects. */
const LENGTH = 24 * 1024 * 1024;

/** Downloads all, after a while in which the guest reads nothing. */
async function download({ wispUrl, sourcePort }, options) {
  const engine = await createEngine();
  const egress = wispEgress(wispUrl, options);
  const gateway = await createGateway({ engine, egress });
  const guest = await createStack({ engine, dns: { servers: [gateway.address] } });
  const nic = guest.addInterface({ addresses: ["10.0.2.15/24"], gateway: [gateway.address] });
  plug(nic, gateway.port);
  const socket = guest.connect({ hostname: "source.test", port: sourcePort });
  await socket.opened;
  let early = 0;
  for (let now = -1; now < early || early === 0; ) {
    now = early;
    await new Promise((resolve) => setTimeout(resolve, 100));
    early = egress.counters().bytesReceived;
  }
  let bytes = 0;
  for await (const chunk of socket.readable) bytes += chunk.byteLength;
  const { version } = egress;
  await gateway.close();
  engine.close();
  return { early, bytes, version };
}

const scenarios = {
  "WebSocketStream holds a server back": async (servers) => {
    const { early, bytes, version } = await download(servers, {});
    if (bytes !== LENGTH || version !== 2) return `${bytes} bytes in version ${version}`;
    return early < LENGTH / 2 ? null : `${early} bytes came before any was read`;
  },
  "WebSocket takes what comes": async (servers) => {
    const { bytes, version } = await download(servers, { webSocket: WebSocket });
    return bytes === LENGTH && version === 2 ? null : `${bytes} bytes in version ${version}`;
  },
};

/** Runs all scenarios. */
export async function runAll(servers) {
  const lines = [];
  for (const [name, run] of Object.entries(scenarios)) {
    const failure = await run(servers).catch((error) => error.stack ?? String(error));
    lines.push(failure === null ? `ok: ${name}` : `failed: ${name}: ${failure}`);
  }
  return lines;
}
