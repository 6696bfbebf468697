/**
 * A WebSocket hub, the plainest relay there is: each binary message, one
 * Ethernet frame, goes to all other clients.
 */
import { WebSocket, WebSocketServer } from "ws";

/** Bytes that may wait for a slow client before frames for it are dropped. */
const QUEUE_LIMIT = 4 << 20;

/** Starts a hub on a free port of 127.0.0.1. */
export async function startHub() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  server.on("connection", (client) => {
    client.on("message", (frame, binary) => {
      if (!binary) return;
      for (const other of server.clients) {
        const open = other !== client && other.readyState === WebSocket.OPEN;
        if (open && other.bufferedAmount < QUEUE_LIMIT) other.send(frame);
      }
    });
    client.on("error", () => client.terminate());
  });
  await new Promise((resolve, reject) => server.once("listening", resolve).once("error", reject));
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    async close() {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
