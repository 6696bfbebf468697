/**
 * Libraries as they are published, over `ethertab/node` and a guest: Node's `http`, undici and `fetch` with the guest's web server, the guest with a server of
 * Node's, `ssh2` with the guest's sshd, `ioredis` with its Redis, `mqtt` and `ws` with its Mosquitto. Only in Node. Needs `.build/guest-programs`, an image whose
 * programs the guest is given.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";
import { createSwitch } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { createHttpAgent, createNet } from "ethertab/node";
import { v86Port } from "ethertab/v86";
import { AbstractConnector, Redis } from "ioredis";
import { MqttClient } from "mqtt";
import ssh2 from "ssh2";
import { Agent, fetch, request } from "undici";
import { createWebSocketStream, WebSocket } from "ws";
import { DHCP } from "../guest/guest.mjs";
import { startGuest } from "../guest/node.mjs";
import { bytes } from "./data.mjs";
import { givePrograms } from "./programs.mjs";

const PAGE = "a page from the guest";

let guest;
let gateway;
let lan;
/** The guest's address. */
let host;
let net;
before(async () => {
  guest = await startGuest({ nic: "virtio" });
  gateway = await createGateway({ network: "10.0.2.0/24" });
  lan = await createSwitch();
  lan.plug(gateway);
  lan.plug(v86Port(guest.emulator));
  await guest.check(DHCP, { timeoutMs: 30_000 });
  host = gateway.leases()[0].address;
  net = createNet(gateway.stack);
  await guest.check(`mkdir -p /tmp/www; echo '${PAGE}' > /tmp/www/index.html`);
  await guest.check("head -c 1000000 /dev/urandom > /tmp/www/big; httpd -h /tmp/www");
  await givePrograms(guest, gateway);
});
after(async () => {
  await guest?.stop();
  await gateway?.close();
  await lan?.close();
});

/** Writes a file of the guest's. */
const put = (path, text) => guest.check(`cat > ${path} <<'EOF'\n${text.trim()}\nEOF`);

/** Starts a server of the guest's, and waits until it listens to a port. */
async function start(command, port) {
  await guest.check(command, { timeoutMs: 60_000 });
  const listens = `netstat -ltn | grep -q ':${port} '`;
  await guest.check(`until ${listens}; do usleep 50000; done`, { timeoutMs: 60_000 });
}

/** What the guest makes of a file, to be compared. */
const digestOf = async (path) => (await guest.check(`sha256sum ${path}`)).split(" ")[0];

async function sha256(bytes) {
  return Buffer.from(await crypto.subtle.digest("SHA-256", bytes)).toString("hex");
}

test("http with an agent gets pages of the guest", async () => {
  const agent = createHttpAgent(gateway.stack, { keepAlive: true });
  const got = http.get({ host, path: "/big", agent });
  const [response] = await once(got, "response");
  const body = Buffer.concat(await response.toArray());
  assert.equal(response.statusCode, 200);
  assert.equal(await sha256(body), await digestOf("/tmp/www/big"));
  agent.destroy();
});

test("undici's request and fetch get pages of the guest", async () => {
  const dispatcher = new Agent({
    connect({ hostname, port }, callback) {
      const socket = net.connect(Number(port) || 80, hostname);
      socket.once("connect", () => callback(null, socket));
      socket.once("error", (error) => callback(error, null));
      return socket;
    },
  });
  const { statusCode, body } = await request(`http://${host}/index.html`, { dispatcher });
  assert.equal(statusCode, 200);
  assert.equal((await body.text()).trim(), PAGE);
  const response = await fetch(`http://${host}/big`, { dispatcher });
  assert.equal(await sha256(await response.arrayBuffer()), await digestOf("/tmp/www/big"));
  assert.equal((await fetch(`http://${host}/none`, { dispatcher })).status, 404);
  const nobody = fetch(`http://${host}:81/`, { dispatcher });
  await assert.rejects(nobody, ({ cause }) => cause.code === "ECONNREFUSED");
  await dispatcher.close();
});

test("the guest is served by a server of Node's", async () => {
  const web = http.createServer((asked, response) => response.end(`${asked.method} ${asked.url}`));
  const server = net.createServer((socket) => web.emit("connection", socket));
  server.listen(8080, "0.0.0.0");
  await once(server, "listening");
  const answer = await guest.check(`wget -q -O - http://${gateway.address}:8080/for/the/guest`);
  assert.equal(answer, "GET /for/the/guest");
  server.close();
});

test("ssh2 runs commands and moves files by the guest's sshd", async () => {
  // Of ECDSA: of each 256 Ed25519 keys that ssh2 makes one lacks its leading zero, and cannot be read again.
  const makeKeys = () => ssh2.utils.generateKeyPairSync("ecdsa", { bits: 256 });
  const keys = { host: makeKeys(), user: makeKeys() };
  await guest.check("mkdir -p /run/sshd /root/.ssh /etc/ssh && chmod 700 /root/.ssh");
  await guest.check("echo 'sshd:x:100:65534::/run/sshd:/bin/false' >> /etc/passwd");
  await put("/etc/ssh/key", keys.host.private);
  await put("/root/.ssh/authorized_keys", keys.user.public);
  const config = ["HostKey /etc/ssh/key", "StrictModes no", "Subsystem sftp internal-sftp"];
  await put("/etc/ssh/sshd_config", config.join("\n"));
  await start("chmod 600 /etc/ssh/key && /usr/bin/sshd", 22);

  const client = new ssh2.Client();
  const ready = once(client, "ready");
  client.connect({
    sock: net.connect(22, host),
    username: "root",
    privateKey: keys.user.private,
    readyTimeout: 60_000,
    hostVerifier: (key) => key.equals(ssh2.utils.parseKey(keys.host.public).getPublicSSH()),
  });
  await ready;
  const call = (method, ...args) =>
    new Promise((resolve, reject) => {
      client[method](...args, (error, result) => (error ? reject(error) : resolve(result)));
    });
  const command = await call("exec", "uname -s; cat");
  command.end("through a pipe");
  const output = Buffer.concat(await command.toArray()).toString();
  assert.equal(output, "Linux\nthrough a pipe");
  const sftp = await call("sftp");
  const moved = await new Promise((resolve, reject) => {
    sftp.readFile("/tmp/www/big", (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
  assert.equal(await sha256(moved), await digestOf("/tmp/www/big"));
  // A connection of the client's, from the guest to a server of its own.
  const forwarded = await call("forwardOut", "127.0.0.1", 0, "127.0.0.1", 80);
  forwarded.end("GET /index.html HTTP/1.0\r\n\r\n");
  const page = Buffer.concat(await forwarded.toArray()).toString();
  assert.ok(page.includes(PAGE), page);
  const closed = once(client, "close");
  client.end();
  await closed;
});

test("ioredis works with the guest's Redis: both protocols, pipelines, messages, a connection that is lost", async (t) => {
  await start("redis-server --bind 0.0.0.0 --protected-mode no --save '' --daemonize yes", 6379);
  class Connector extends AbstractConnector {
    async connect() {
      this.connecting = true;
      this.stream = net.connect(6379, host);
      return this.stream;
    }
  }
  const connect = (protocol) => {
    const client = new Redis({ Connector, protocol, retryStrategy: () => 1 });
    t.after(() => client.disconnect());
    return client;
  };
  for (const protocol of [2, 3]) {
    const client = connect(protocol);
    assert.match(await client.info("server"), /redis_version:7/);
    const sent = Buffer.from(bytes(300_000, protocol));
    assert.equal(await client.set("bytes", sent), "OK");
    assert.equal(Buffer.compare(await client.getBuffer("bytes"), sent), 0);
    await client.del("count");
    const counts = await Promise.all(Array.from({ length: 100 }, () => client.incr("count")));
    assert.deepEqual(
      counts,
      counts.map((_, index) => index + 1),
    );
    const results = await client.pipeline().set("a", "1").get("a").incr("a").exec();
    assert.deepEqual(
      results.map(([, value]) => value),
      ["OK", "1", 2],
    );
    const listener = connect(protocol);
    await listener.subscribe("news");
    const heard = once(listener, "message");
    await client.publish("news", "welcome");
    assert.deepEqual(await heard, ["news", "welcome"]);
  }
  // The server hangs up.
  const client = connect(2);
  const lost = once(client, "reconnecting");
  await client.client("KILL", "ID", await client.client("ID"), "SKIPME", "no");
  await lost;
  assert.equal(await client.get("a"), "2");
});

test("mqtt and ws work with the guest's Mosquitto, over TCP and over a WebSocket", async (t) => {
  const listeners = ["listener 1883", "listener 8083", "protocol websockets"];
  await put("/etc/mosquitto.conf", ["allow_anonymous true", "user root", ...listeners].join("\n"));
  await start("mosquitto -d -c /etc/mosquitto.conf", 8083);
  const agent = createHttpAgent(gateway.stack);
  const plain = () => net.connect(1883, host);
  const webSocket = () =>
    createWebSocketStream(new WebSocket(`ws://${host}:8083/mqtt`, "mqtt", { agent }));
  const connect = async (open, options) => {
    const client = new MqttClient(open, {
      reconnectPeriod: 0,
      protocolVersion: 5,
      protocolId: "MQTT",
      clean: true,
      keepalive: 60,
      ...options,
    });
    t.after(() => client.end(true));
    await once(client, "connect");
    return client;
  };
  const roads = { plain, webSocket };
  for (const [name, open] of Object.entries(roads)) {
    const listener = await connect(open);
    await listener.subscribeAsync(`${name}/#`, { qos: 2 });
    for (const [other, openOther] of Object.entries(roads)) {
      const speaker = await connect(openOther, {
        will: { topic: `${name}/will`, payload: Buffer.from(`${other} is gone`), qos: 1 },
      });
      for (const qos of [0, 1, 2]) {
        const sent = Buffer.from(bytes(qos === 2 ? 200_000 : 20, 7));
        const received = once(listener, "message");
        await speaker.publishAsync(`${name}/${qos}`, sent, { qos });
        const [topic, message, packet] = await received;
        assert.deepEqual([topic, packet.qos], [`${name}/${qos}`, qos]);
        assert.equal(Buffer.compare(message, sent), 0);
      }
      const will = once(listener, "message");
      speaker.stream.destroy();
      assert.equal(String((await will)[1]), `${other} is gone`);
    }
  }
  agent.destroy();
});
