// Wisp servers for tests: that of @mercuryworkshop/wisp-js, and one that does as it is told; and a guest whose gateway's only way out is an egress.

import { once } from "node:events";
import http from "node:http";
import { logging, server as wispJs } from "@mercuryworkshop/wisp-js/server";
import { createEngine, createStack, plug } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { WebSocket, WebSocketServer } from "ws";

logging.set_level(logging.NONE);

/** Names that servers of these tests know. */
const NAMES = { "echo.test": "127.0.0.1", "source.test": "127.0.0.1" };

/** A server of wisp-js on loopback. */
export async function wispJsServer({ version = 2, motd = null, ...connection } = {}) {
  Object.assign(wispJs.options, {
    allow_loopback_ips: true,
    allow_udp_streams: true,
    wisp_version: version,
    wisp_motd: motd,
    dns_method: async (name) => {
      if (NAMES[name] === undefined) throw new Error(`there is no ${name}`);
      return NAMES[name];
    },
  });
  const sockets = new Set();
  const server = http.createServer();
  server.on("upgrade", (request, socket, head) => {
    sockets.add(socket);
    wispJs.routeRequest(request, socket, head, { ...connection });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    /** Cuts all connections. */
    cut() {
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    close() {
      this.cut();
      server.close();
    },
  };
}

/** Packets of Wisp, written and read by the test. */
export const packet = {
  info(major, minor, extensions = []) {
    const parts = extensions.map(([id, metadata = Buffer.alloc(0)]) => {
      const head = Buffer.alloc(5);
      head[0] = id;
      head.writeUInt32LE(metadata.length, 1);
      return Buffer.concat([head, metadata]);
    });
    return packet.of(5, 0, Buffer.concat([Buffer.from([major, minor]), ...parts]));
  },
  continue(stream, remaining) {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(remaining);
    return packet.of(3, stream, payload);
  },
  data: (stream, payload) => packet.of(2, stream, Buffer.from(payload)),
  close: (stream, reason) => packet.of(4, stream, Buffer.from([reason])),
  of(type, stream, payload) {
    const head = Buffer.alloc(5);
    head[0] = type;
    head.writeUInt32LE(stream, 1);
    return Buffer.concat([head, payload]);
  },
  read(bytes) {
    const type = ["", "connect", "data", "continue", "close", "info"][bytes[0]];
    const stream = bytes.readUInt32LE(1);
    const payload = bytes.subarray(5);
    if (type === "connect") {
      const transport = payload[0] === 1 ? "tcp" : "udp";
      const port = payload.readUInt16LE(1);
      return { type, stream, transport, port, hostname: payload.subarray(3).toString() };
    }
    if (type === "close") return { type, stream, reason: payload[0] };
    if (type === "info") {
      const extensions = new Map();
      for (let at = 2; at < payload.length; ) {
        const length = payload.readUInt32LE(at + 1);
        extensions.set(payload[at], payload.subarray(at + 5, at + 5 + length));
        at += 5 + length;
      }
      return { type, stream, version: `${payload[0]}.${payload[1]}`, extensions };
    }
    return { type, stream, payload };
  },
};

/** A server whose packets are the test's. `greet` says what each connection begins with. */
export async function scriptedServer(greet = (peer) => peer.send(packet.continue(0, 128))) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const peers = [];
  server.on("connection", (socket, request) => {
    const received = [];
    const waiting = [];
    const peer = {
      socket,
      received,
      protocol: request.headers["sec-websocket-protocol"] ?? null,
      send: (bytes) => socket.send(bytes),
      /** The next packet of a type that was not looked at yet. */
      async next(type) {
        for (;;) {
          const index = received.findIndex((one) => one.type === type);
          if (index >= 0) return received.splice(index, 1)[0];
          await new Promise((resolve) => waiting.push(resolve));
        }
      },
    };
    socket.on("message", (bytes) => {
      received.push(packet.read(bytes));
      for (const resolve of waiting.splice(0)) resolve();
    });
    peers.push(peer);
    greet(peer);
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    peers,
    close() {
      for (const socket of server.clients) socket.terminate();
      server.close();
    },
  };
}

export { WebSocket };

/** A guest whose gateway's only way out is an egress. `failures` are the gateway's errors. */
export async function guestOf(egress) {
  const engine = await createEngine();
  const gateway = await createGateway({ engine, seed: 1, network6: "fd00::/64", egress });
  const guest = await createStack({
    hostname: "guest",
    engine,
    seed: 2,
    dns: { servers: [gateway.address] },
  });
  const nic = guest.addInterface({
    addresses: ["10.0.2.15/24", "fd00::15/64"],
    gateway: [gateway.address, gateway.address6],
  });
  plug(nic, gateway.port);
  const failures = [];
  gateway.addEventListener("error", (event) => {
    event.preventDefault();
    failures.push(event.detail.error);
  });
  const close = async () => {
    await gateway.close();
    engine.close();
  };
  return { engine, gateway, guest, failures, close };
}
