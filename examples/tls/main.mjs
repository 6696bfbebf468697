// HTTPS between two hosts, without any certificate from outside: an authority of this program, a server that has a certificate for each name, clients that
// trust the authority and those that don't, startTls, and Node's own https over the same network.

import assert from "node:assert/strict";
import { once } from "node:events";
import * as https from "node:https";
import { createAuthority, createStack, plug } from "ethertab";
import { createHttpsAgent } from "ethertab/node";

const client = await createStack({ hostname: "client" });
const server = await createStack({ hostname: "server" });
plug(
  client.addInterface({ addresses: ["10.0.0.1/24"] }),
  server.addInterface({ addresses: ["10.0.0.2/24"] }),
  { latency: "10ms" },
);

const authority = await createAuthority({ name: "my lab" });
const ca = authority.cert;

// A server for any name: the certificate is made when the name is first asked for.
const listener = server.listen({ port: 443, tls: { authority, alpn: ["http/1.1"] } });
const serving = (async () => {
  for await (const socket of listener)
    answer(socket).catch(({ code }) => console.log("server:", code));
})();

/** Answers one request. */
async function answer(socket) {
  const { tls } = await socket.opened;
  let request = "";
  for await (const chunk of socket.readable.values({ preventCancel: true })) {
    request += new TextDecoder().decode(chunk);
    if (request.includes("\r\n\r\n")) break;
  }
  const body = `${tls.servername} by ${tls.protocol}`;
  const head = `HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`;
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode(head + body));
  await socket.close();
}

const connect = (sni, tls) =>
  client.connect("10.0.0.2:443", { secureTransport: "on", sni, alpn: ["http/1.1"], tls });

// A socket like any other: streams, and what both ends have agreed on.
const socket = connect("shop.test", { ca });
const { alpn, tls } = await socket.opened;
console.log(`shop.test: ${tls.protocol}, ${tls.cipher}, ${alpn}`);
await socket.writable.getWriter().write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
const text = await new Response(socket.readable).text();
assert.ok(text.endsWith("shop.test by TLSv1.3"), text);

// Who does not trust the authority is told why, and so is the server.
const strangers = await createAuthority();
await assert.rejects(connect("shop.test", { ca: strangers.cert }).opened, ({ code, message }) => {
  console.log(message);
  return code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE";
});

// Node's own client judges the server, over the same network.
const request = https.get("https://node.test/", {
  agent: createHttpsAgent(client, { ca }),
  lookup: (_name, options, done) =>
    options.all ? done(null, [{ address: "10.0.0.2", family: 4 }]) : done(null, "10.0.0.2", 4),
});
const [response] = await once(request, "response");
const body = Buffer.concat(await response.toArray()).toString();
console.log(`node:https: ${response.statusCode} ${body}`);
assert.equal(body, "node.test by TLSv1.3");

// A protocol that begins without TLS, as mail's does: both ends say so, and then change over.
const mail = server.listen({
  port: 25,
  secureTransport: "starttls",
  tls: authority.issue("mail.test"),
});
const receiving = (async () => {
  const plain = await mail.accept();
  await plain.readable.getReader().read();
  await plain.writable.getWriter().write(new TextEncoder().encode("220 ready"));
  const secure = plain.startTls();
  return new Response(secure.readable).text();
})();
const plain = client.connect("10.0.0.2:25", { secureTransport: "starttls" });
await plain.writable.getWriter().write(new TextEncoder().encode("STARTTLS"));
await plain.readable.getReader().read();
const secure = plain.startTls({ expectedServerHostname: "mail.test", tls: { ca } });
const writer = secure.writable.getWriter();
await writer.write(new TextEncoder().encode("a letter"));
await writer.close();
assert.equal(await receiving, "a letter");
console.log("mail.test: a letter has come, by TLS from the middle on");

await listener.close();
await serving;
await Promise.all([client.close(), server.close()]);
