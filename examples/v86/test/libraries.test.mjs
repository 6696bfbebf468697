/**
 * Libraries as they are published, over `ethertab/node` and a guest: Node's `http`, undici and `fetch` with the guest's web server, the guest with a server of
 * Node's, and `ssh2` with the guest's sshd. Only in Node. Needs `.build/guest-programs`, an image whose programs the guest is given.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";
import { createSwitch } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { createHttpAgent, createNet } from "ethertab/node";
import { v86Port } from "ethertab/v86";
import ssh2 from "ssh2";
import { Agent, fetch, request } from "undici";
import { DHCP } from "../guest/guest.mjs";
import { startGuest } from "../guest/node.mjs";
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
});
after(async () => {
  await guest?.stop();
  await gateway?.close();
  await lan?.close();
});

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
  await givePrograms(guest, gateway);
  const keys = {
    host: ssh2.utils.generateKeyPairSync("ed25519"),
    user: ssh2.utils.generateKeyPairSync("ed25519"),
  };
  const put = (path, text) => guest.check(`cat > ${path} <<'EOF'\n${text.trim()}\nEOF`);
  await guest.check("mkdir -p /run/sshd /root/.ssh /etc/ssh && chmod 700 /root/.ssh");
  await guest.check("echo 'sshd:x:100:65534::/run/sshd:/bin/false' >> /etc/passwd");
  await put("/etc/ssh/key", keys.host.private);
  await put("/root/.ssh/authorized_keys", keys.user.public);
  const config = ["HostKey /etc/ssh/key", "StrictModes no", "Subsystem sftp internal-sftp"];
  await put("/etc/ssh/sshd_config", config.join("\n"));
  const listens = "grep -q '0.0.0.0 port 22' /tmp/sshd.log";
  await guest.check(`chmod 600 /etc/ssh/key && /usr/bin/sshd -E /tmp/sshd.log`);
  await guest.check(`until ${listens}; do usleep 50000; done`, { timeoutMs: 30_000 });

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
