/** TLS of stacks in the page, told by a list of lines that begin with "ok" or "failed". */

import { createGateway } from "/dist/gateway/index.js";
import { createAuthority, createStack, plug, webSocketPort } from "/dist/index.js";

const BYTES = Uint8Array.from({ length: 500_000 }, (_, index) => (index * 31) ^ (index >> 8));

const areBytes = (received) =>
  received.length === BYTES.length && received.every((byte, at) => byte === BYTES[at]);

async function network() {
  const a = await createStack({ hostname: "a" });
  const b = await createStack({ hostname: "b" });
  plug(
    a.addInterface({ addresses: ["10.0.0.1/24"] }),
    b.addInterface({ addresses: ["10.0.0.2/24"] }),
  );
  return { a, b };
}

/** Sends all bytes and takes all that come back. */
async function echoed(socket) {
  const writer = socket.writable.getWriter();
  const writing = writer.write(BYTES).then(() => writer.close());
  const received = new Uint8Array(await new Response(socket.readable).arrayBuffer());
  await writing;
  return areBytes(received);
}

const echo = (socket) => socket.readable.pipeTo(socket.writable);

async function bothEnds() {
  const { a, b } = await network();
  const authority = await createAuthority();
  const listener = b.listen({ port: 443, tls: { authority, alpn: ["echo"] } });
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const client = a.connect("10.0.0.2:443", {
      secureTransport: "on",
      sni: "shop.test",
      alpn: ["echo"],
      tls: { ca: authority.cert, minVersion: version, maxVersion: version },
    });
    const serving = listener.accept().then(echo);
    const { alpn, tls } = await client.opened;
    if (alpn !== "echo" || tls.protocol !== version) return `${tls.protocol} and ${alpn} agreed on`;
    if (!(await echoed(client))) return "the bytes differ";
    await serving;
  }
  await Promise.all([a.close(), b.close()]);
  return null;
}

async function startTls() {
  const { a, b } = await network();
  const authority = await createAuthority();
  const listener = b.listen({ port: 25, secureTransport: "starttls", tls: { authority } });
  const plain = a.connect("10.0.0.2:25", { secureTransport: "starttls" });
  const accepted = await listener.accept();
  await plain.opened;
  const serving = echo(accepted.startTls());
  const secure = plain.startTls({
    expectedServerHostname: "mail.test",
    tls: { ca: authority.cert },
  });
  const isSame = await echoed(secure);
  await serving;
  await Promise.all([a.close(), b.close()]);
  return isSame && secure.upgraded ? null : "the bytes differ";
}

/** Pages have no authorities to trust, and say so. */
async function whoIsTrusted() {
  const { a, b } = await network();
  const [authority, other] = [await createAuthority(), await createAuthority()];
  const listener = b.listen({ port: 443, tls: authority.issue("shop.test") });
  const accepting = (async () => {
    for await (const socket of listener) socket.closed.catch(() => {});
  })();
  const code = (sni, ca) =>
    a
      .connect("10.0.0.2:443", { secureTransport: "on", sni, tls: { ca } })
      .opened.catch((error) => error.code);
  const codes = [
    await code("shop.test", other.cert),
    await code("else.test", authority.cert),
    (await code("shop.test", authority.cert)).tls.servername,
  ];
  let missing = null;
  try {
    a.connect("10.0.0.2:443", { secureTransport: "on" });
  } catch (error) {
    missing = error;
  }
  await listener.close();
  await accepting;
  await Promise.all([a.close(), b.close()]);
  if (!(missing instanceof TypeError) || !missing.message.includes("tls.ca must be given")) {
    return `without authorities: ${missing}`;
  }
  const expected = ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "ERR_TLS_CERT_ALTNAME_INVALID", "shop.test"];
  return codes.join() === expected.join() ? null : codes.join();
}

async function gatewayFetches() {
  const gateway = await createGateway({ authority: true, dns: { hosts: { vm: "10.0.2.15" } } });
  const vm = await createStack({ hostname: "vm", dns: { servers: [gateway.address] } });
  plug(vm.addInterface({ addresses: ["10.0.2.15/24"] }), gateway.port);
  const listener = vm.listen({ port: 443, tls: gateway.authority.issue("vm") });
  const serving = (async () => {
    const socket = await listener.accept();
    const reader = socket.readable.getReader();
    await reader.read();
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${BYTES.length}\r\n\r\n`;
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode(head));
    await writer.write(BYTES);
  })();
  const response = await gateway.fetch("https://vm/");
  const isSame = areBytes(new Uint8Array(await response.arrayBuffer()));
  await serving;
  const plain = await createGateway();
  const untrusting = await plain.fetch("https://10.0.2.15/").catch((error) => error.message);
  await Promise.all([gateway.close(), vm.close(), plain.close()]);
  if (!isSame) return "the bytes differ";
  return untrusting.includes("init.tls.ca must be given") ? null : untrusting;
}

/** Node's own TLS is at the other end of the cable: as a server on port 443, and as a client of port 444. */
async function withNode({ cable, ca, leaf }) {
  const stack = await createStack({ hostname: "page" });
  const port = webSocketPort(cable);
  await port.opened;
  plug(stack.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  const client = stack.connect("10.0.0.2:443", {
    secureTransport: "on",
    sni: "shop.test",
    tls: { ca },
  });
  const isSame = await echoed(client);
  const listener = stack.listen({ port: 444, tls: leaf });
  await listener.listening;
  // What Node has sent here, and got back, it tells by a connection without TLS.
  const told = stack.connect("10.0.0.2:80");
  const serving = listener.accept().then(echo);
  const verdict = await new Response(told.readable).text();
  await serving;
  await stack.close();
  port.close();
  if (!isSame) return "the bytes that Node's server has sent back differ";
  return verdict === "same" ? null : verdict;
}

/** Runs all; each line is about one of them. */
export async function runAll(judge) {
  const lines = [];
  for (const scenario of [bothEnds, startTls, whoIsTrusted, gatewayFetches, withNode]) {
    const problem = await scenario(judge).catch((error) => error.stack ?? String(error));
    lines.push(problem === null ? `ok ${scenario.name}` : `failed ${scenario.name}: ${problem}`);
  }
  return lines;
}
