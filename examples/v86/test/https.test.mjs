/**
 * HTTPS of a real guest with the gateway's authority: Debian's curl and OpenSSL, as clients of the gateway and as a server for it. Only in Node. Needs
 * `.build/guest-programs`.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createAuthority } from "ethertab";
import { createGateway, fetchEgress } from "ethertab/gateway";
import { DHCP } from "../guest/guest.mjs";
import { startGuest } from "../guest/node.mjs";
import { givePrograms } from "./programs.mjs";

const PEER_NOT_TRUSTED = 60;

let guest;
let gateway;
let vm;
before(async () => {
  guest = await startGuest({ nic: "virtio" });
  const outside = async (input, init) => {
    const { method, url } = new Request(input, init);
    return new Response(`${method} ${url}`);
  };
  gateway = await createGateway({ authority: true, egress: fetchEgress({ fetch: outside }) });
  vm = await gateway.attach(guest.emulator, { name: "vm1" });
  gateway.serve("https://shop.test", async (request) => {
    const { byteLength } = await request.arrayBuffer();
    return new Response(`${request.method} ${new URL(request.url).pathname} ${byteLength}`);
  });
  await guest.check(DHCP, { timeoutMs: 30_000 });
  await givePrograms(guest, gateway);
});
after(async () => {
  await guest?.stop();
  await gateway?.close();
});

const put = (path, text) => guest.check(`cat > ${path} <<'EOF'\n${text.trim()}\nEOF`);

test("the guest trusts the gateway's authority from the line that it is given on", async () => {
  const minute = { timeoutMs: 60_000 };
  // What the packages' installation leaves: links, and authorities that are trusted already, which do not help.
  await guest.check("mkdir -p /usr/local/share/ca-certificates /etc/ssl/certs /usr/lib/ssl");
  await guest.check("ln -s /etc/ssl/certs /usr/lib/ssl/certs && touch /etc/ca-certificates.conf");
  const other = await createAuthority();
  await put("/usr/local/share/ca-certificates/other.crt", other.cert);
  await guest.check("update-ca-certificates", { timeoutMs: 120_000 });
  const { status } = await guest.run("curl -sS https://shop.test/", minute);
  assert.equal(status, PEER_NOT_TRUSTED);
  await guest.check(gateway.trustCommand, { timeoutMs: 120_000 });
  assert.equal(await guest.check("curl -sS https://shop.test/a", minute), "GET /a 0");
  assert.equal(await guest.check("curl -sS --tls-max 1.2 https://shop.test/b", minute), "GET /b 0");
  await guest.check("head -c 300000 /dev/zero > /tmp/body");
  const post = "curl -sS --data-binary @/tmp/body https://shop.test/up";
  assert.equal(await guest.check(post, minute), "POST /up 300000");
  const out = await guest.check("curl -sS https://api.example/v1?x=1", minute);
  assert.equal(out, "GET https://api.example/v1?x=1");
  const judged = await guest.check(
    `openssl s_client -connect ${gateway.address}:443 -servername shop.test -verify_return_error -brief < /dev/null 2>&1`,
    minute,
  );
  assert.match(judged, /Verification: OK/);
});

test("the page fetches from an https server of the guest, whose certificate is the authority's", async () => {
  const { cert, key } = gateway.authority.issue("vm1");
  await put("/tmp/vm1.pem", cert);
  await put("/tmp/vm1.key", key);
  await guest.check("mkdir -p /tmp/https && cp /tmp/body /tmp/https/body && cd /tmp/https");
  const files = "-cert /tmp/vm1.pem -key /tmp/vm1.key";
  await guest.check(`openssl s_server -accept 443 -WWW ${files} > /tmp/s_server.log 2>&1 & echo`);
  await guest.check("until grep -q ACCEPT /tmp/s_server.log; do usleep 50000; done", {
    timeoutMs: 30_000,
  });
  const response = await vm.fetch("https://vm1/body");
  assert.equal(response.status, 200);
  const body = new Uint8Array(await response.arrayBuffer());
  assert.equal(body.length, 300_000);
  assert.ok(body.every((byte) => byte === 0));
  await assert.rejects(gateway.fetch(`https://${vm.address}/body`), ({ cause }) => {
    return cause.code === "ERR_TLS_CERT_ALTNAME_INVALID";
  });
});
