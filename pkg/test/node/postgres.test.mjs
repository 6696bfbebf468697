// `pg` as it is published, from a guest over `createNet` and through a gateway's egress to a real PostgreSQL.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { createEngine, createStack, plug } from "ethertab";
import { createGateway, wispEgress } from "ethertab/gateway";
import { createNet, nodeEgress } from "ethertab/node";
import pg from "pg";
import { WebSocket, wispJsServer } from "../wisp_support.mjs";

/** Where Debian has the programs. */
const INSTALLED = "/usr/lib/postgresql";
/** PostgreSQL does not run as root. */
const NOBODY = 65_534;
const PASSWORD = "through a tab";

const versions = await readdir(INSTALLED).catch(() => []);
const [newest] = versions.sort((a, b) => Number(b) - Number(a));
const skip = newest === undefined && "PostgreSQL is not installed: cargo xtask setup does";

/** A server on loopback with data of its own. */
async function startPostgres() {
  const bin = join(INSTALLED, newest, "bin");
  const folder = await mkdtemp(join(tmpdir(), "ethertab-postgres-"));
  const who = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (who.uid !== undefined) await chown(folder, NOBODY, NOBODY);
  const secret = join(folder, "password");
  await writeFile(secret, PASSWORD);
  const data = join(folder, "data");
  const authentication = ["--auth", "scram-sha-256", "--username", "guest", "--pwfile", secret];
  await promisify(execFile)(
    join(bin, "initdb"),
    ["--no-sync", "--no-locale", "--encoding", "UTF8", ...authentication, data],
    { ...who, cwd: folder },
  );
  const port = await freePort();
  const server = spawn(
    join(bin, "postgres"),
    ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", "", "-F"],
    { ...who, cwd: folder, stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  await new Promise((resolve, reject) => {
    server.once("exit", () => reject(new Error(`PostgreSQL ended: ${log}`)));
    server.stderr.setEncoding("utf8").on("data", (text) => {
      log += text;
      if (log.includes("ready to accept connections")) resolve();
    });
  });
  return {
    port,
    async close() {
      server.kill("SIGINT");
      await once(server, "exit");
      await rm(folder, { recursive: true });
    },
  };
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

let postgres;
before(async () => {
  if (!skip) postgres = await startPostgres();
});
after(() => postgres?.close());

/** A guest behind a gateway. */
async function guestOf(t, egress) {
  const engine = await createEngine();
  const gateway = await createGateway({ engine, egress });
  const guest = await createStack({ engine, dns: { servers: [gateway.address] } });
  const nic = guest.addInterface({ addresses: ["10.0.2.15/24"], gateway: [gateway.address] });
  plug(nic, gateway.port);
  t.after(async () => {
    await gateway.close();
    engine.close();
  });
  return createNet(guest);
}

/** What is asked of the database by a client whose sockets are `guest`'s. */
async function converse(guest, host) {
  const client = new pg.Client({
    host,
    port: postgres.port,
    user: "guest",
    password: PASSWORD,
    database: "postgres",
    stream: () => new guest.Socket(),
  });
  await client.connect();
  await client.query("CREATE TEMPORARY TABLE numbers (n int, word text)");
  await client.query(
    "INSERT INTO numbers SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n",
  );
  const { rows } = await client.query("SELECT n, word FROM numbers ORDER BY n");
  assert.equal(rows.length, 20_000);
  assert.deepEqual(rows[0], { n: 1, word: "c4ca4238a0b923820dcc509a6f75849b" });
  const long = "x".repeat(2_000_000);
  const { rows: lengths } = await client.query("SELECT length($1) AS length", [long]);
  assert.equal(lengths[0].length, long.length);
  await assert.rejects(client.query("SELECT 1/0"), { code: "22012" });
  const notified = once(client, "notification");
  await client.query("LISTEN tab; NOTIFY tab, 'hello'");
  const [{ payload }] = await notified;
  assert.equal(payload, "hello");
  await client.end();
  const stranger = new pg.Client({
    host,
    port: postgres.port,
    user: "guest",
    password: "wrong",
    database: "postgres",
    stream: () => new guest.Socket(),
  });
  await assert.rejects(stranger.connect(), { code: "28P01" });
}

test("pg through nodeEgress", { skip }, async (t) => {
  const egress = nodeEgress({ hosts: { "db.test": "127.0.0.1" }, allow: ["db.test"] });
  const guest = await guestOf(t, egress);
  await converse(guest, "db.test");
});

test("pg through a Wisp server", { skip }, async (t) => {
  const server = await wispJsServer();
  t.after(() => server.close());
  const guest = await guestOf(t, wispEgress(server.url, { webSocket: WebSocket }));
  await converse(guest, "echo.test");
});
