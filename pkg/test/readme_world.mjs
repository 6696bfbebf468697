/**
 * What the snippets of the package's README take for granted, by the names that they use: a gateway and a guest with a web
 * server on a switch, a stack beside them, a router, an emulator that is another stack.
 */

import http from "node:http";
import { Worker } from "node:worker_threads";
import { createGateway, createStack, createSwitch, functionPort, plug } from "ethertab";
import { createNet } from "ethertab/node";

/** A machine on the network with a web server on two ports. */
async function guestOn(port, address) {
  const guest = await createStack({ hostname: "guest" });
  plug(guest.addInterface({ addresses: [address] }), port);
  for (const listening of [80, 8000]) {
    const server = http.createServer((_request, response) => response.end("hello from the guest"));
    createNet(guest)
      .createServer((socket) => server.emit("connection", socket))
      .listen(listening);
  }
  return guest;
}

/** An emulator whose guest is a stack behind the card. */
async function emulatorWithGuest() {
  const listeners = new Map();
  const wire = functionPort({ send: (frame) => listeners.get("net0-send")?.(frame.slice()) });
  await guestOn(wire, "10.0.2.15/24");
  return {
    add_listener: (event, listener) => listeners.set(event, listener),
    remove_listener: (event) => listeners.delete(event),
    bus: { send: (_event, frame) => wire.receive(frame) },
  };
}

/** A WebSocket that never opens. */
class SilentWebSocket extends EventTarget {
  readyState = 0;
  bufferedAmount = 0;
  binaryType = "blob";
  close() {}
  send() {}
}

/** Makes all of it; `heading` is that of the snippet. */
export async function world(heading) {
  globalThis.WebSocket = SilentWebSocket;
  globalThis.Worker = Worker;
  const emulator = await emulatorWithGuest();
  const lan = await createSwitch();
  const gateway = await createGateway({
    network6: "fd00::/64",
    dns: { resolve: (_name, type) => (type === "MX" ? ["10 mail.test"] : []) },
  });
  lan.plug(gateway);
  gateway.serve("http://shop.test", () => new Response("hello"));
  const stack = await createStack({ hostname: "page", limits: { trace: 64 } });
  const nic = stack.addInterface({ addresses: ["10.0.2.20/24", "10.0.0.1/24"] });
  lan.plug(nic);
  const [a, b] = [await createStack({ hostname: "a" }), await createStack({ hostname: "b" })];
  plug(
    a.addInterface({ addresses: ["10.0.0.1/24"] }),
    b.addInterface({ addresses: ["10.0.0.2/24"] }),
  );
  const router = await createStack({ hostname: "router" });
  const isRouter = heading === "A router";
  return {
    emulator,
    gateway,
    a,
    b,
    stack,
    nic,
    router,
    lan: isRouter ? router.addInterface({ addresses: ["10.1.0.1/24"] }) : lan,
    bytes: new Uint8Array(8),
    signal: new AbortController().signal,
    report: (error) => console.error(error),
    dial: () => Promise.reject(new Error("nobody is there")),
    http,
  };
}
