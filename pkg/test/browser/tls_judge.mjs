/** Node's own TLS at the other end of a cable: the judge of what the page speaks. */

import { once } from "node:events";
import * as tls from "node:tls";
import { createEngine, createStack, plug, webSocketPort } from "ethertab";
import { createNet } from "ethertab/node";
import { WebSocket } from "ws";
import { pattern } from "../support.mjs";
import { OpenSsl } from "../tls_support.mjs";

const BYTES = pattern(500_000);

/** Joins the cable: an echo on port 443, and on port 80 the verdict on the page's own server. */
export async function nodeTls(cable) {
  const openssl = new OpenSsl();
  const root = openssl.selfSigned("root");
  const leaf = openssl.signed(root, "shop.test", { san: "DNS:shop.test" });
  const engine = await createEngine();
  const stack = await createStack({ engine, hostname: "node" });
  const port = webSocketPort(new WebSocket(cable));
  await port.opened;
  plug(stack.addInterface({ addresses: ["10.0.0.2/24"] }), port);
  const net = createNet(stack);
  const server = tls.createServer({ ...leaf, allowHalfOpen: true }, (socket) =>
    socket.pipe(socket),
  );
  const secure = net.createServer({ allowHalfOpen: true }, (socket) =>
    server.emit("connection", socket),
  );
  secure.listen(443);
  const plain = net.createServer((socket) =>
    verdict(net, root).then(
      (text) => socket.end(text),
      (error) => socket.end(error.stack),
    ),
  );
  plain.listen(80);
  await Promise.all([once(secure, "listening"), once(plain, "listening")]);
  const close = async () => {
    await stack.close();
    port.close();
    engine.close();
    openssl[Symbol.dispose]();
  };
  return { cable, ca: root.cert, leaf: { cert: leaf.cert, key: leaf.key }, close };
}

/** Whether the server of the page sends back what it gets. */
async function verdict(net, root) {
  const socket = tls.connect({
    socket: net.connect({ host: "10.0.0.1", port: 444, allowHalfOpen: true }),
    ca: root.cert,
    servername: "shop.test",
  });
  socket.end(BYTES);
  const chunks = [];
  for await (const chunk of socket) chunks.push(chunk);
  if (!socket.authorized) return `not authorized: ${socket.authorizationError}`;
  return Buffer.compare(Buffer.concat(chunks), BYTES) === 0 ? "same" : "the bytes differ";
}
