/** A guest whose way out is the page's `fetch`: what it gets of servers of other origins, which allow the page to read them or do not. */

import { createGateway, fetchEgress, noEgress } from "/dist/gateway/index.js";
import { createEngine, createStack, plug } from "/dist/index.js";

/** Each answer of the server at `port`, as text: `[head and body, ...]`. */
export async function answersOf(port, paths) {
  const engine = await createEngine();
  const egress = fetchEgress();
  const rules = [{ host: "secret.localhost", egress: noEgress() }, { egress }];
  const gateway = await createGateway({ engine, egress: rules });
  const guest = await createStack({ engine });
  const nic = guest.addInterface({ addresses: ["10.0.2.15/24"], gateway: [gateway.address] });
  plug(nic, gateway.port);
  const answers = [];
  for (const path of paths) {
    // The Host field says who is meant: Chromium knows the names below localhost by itself.
    const socket = guest.connect({ hostname: "192.0.2.1", port });
    await socket.opened;
    const writer = socket.writable.getWriter();
    const fields = `Host: foreign.localhost:${port}\r\nUser-Agent: guest\r\nConnection: close\r\n`;
    await writer.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n${fields}\r\n`));
    answers.push(await new Response(socket.readable).text());
  }
  const counters = egress.counters();
  await gateway.close();
  engine.close();
  return { answers, counters };
}
