/** A host with an echo, by the medium that the page names. */

import { broadcastPort, createStack, messagePort, plug } from "/dist/index.js";

const { medium, port } = await new Promise((resolve) => {
  self.addEventListener("message", ({ data }) => resolve(data), { once: true });
});
const ports = {
  broadcast: () => broadcastPort(),
  scope: () => messagePort(self),
  port: () => messagePort(port),
};
const stack = await createStack({ hostname: "worker" });
const listener = stack.listen({ port: 7 });
await listener.listening;
postMessage("ready");
plug(stack.addInterface({ addresses: ["10.0.0.2/24"] }), ports[medium]());
for await (const socket of listener) socket.readable.pipeTo(socket.writable);
