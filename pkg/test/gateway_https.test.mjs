// `gateway.fetch` and `gateway.webSocket` with TLS. The judges: Node's https, OpenSSL's server, and the WebSocket server of `ws`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { pipeline } from "node:stream";
import { after, before, test } from "node:test";
import tls from "node:tls";
import { createAuthority, createEngine, createGateway, createStack, createSwitch } from "ethertab";
import { createNet } from "ethertab/node";
import { createWorld } from "ethertab/testing";
import { WebSocketServer } from "ws";
import { pattern } from "./support.mjs";
import { OpenSsl } from "./tls_support.mjs";

let openssl;
let root;
let leaf;
before(() => {
  openssl = new OpenSsl();
  root = openssl.selfSigned("root");
  leaf = openssl.signed(root, "vm", { san: "DNS:vm,IP:10.0.2.15,IP:fd00::15" });
});
after(() => openssl[Symbol.dispose]());

/** A gateway, and in its network a machine on which `listen` takes connections as Node's `net` does. */
async function home(t, options) {
  const engine = await createEngine();
  const hosts = { vm: ["10.0.2.15"], stranger: ["10.0.2.15"] };
  const gateway = await createGateway({
    engine,
    network6: "fd00::/64",
    dns: { hosts },
    ...options,
  });
  const stack = await createStack({ engine, hostname: "vm" });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  lan.plug(stack.addInterface({ addresses: ["10.0.2.15/24", "fd00::15/64"] }));
  const sockets = new Set();
  t.after(async () => {
    await gateway.close();
    engine.close();
  });
  const listen = async (handler) => {
    const server = createNet(stack).createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      handler(socket);
    });
    server.listen({ port: 0, host: "::" });
    await once(server, "listening");
    t.after(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return server.address().port;
  };
  return { gateway, stack, listen, sockets };
}

/** Node's https in the machine. `connections` counts those whose handshake has ended well. */
async function secureHome(t, handler, { options, server: serverOptions = leaf } = {}) {
  const place = await home(t, options);
  const server = https.createServer(serverOptions, handler);
  const counted = { connections: 0 };
  server.on("secureConnection", () => {
    counted.connections += 1;
  });
  server.on("tlsClientError", () => {});
  const port = await place.listen((socket) => server.emit("connection", socket));
  return { ...place, server, port, counted };
}

const hello = (request, response) =>
  response.end(`${request.method} ${request.headers.host} ${request.url}`);

test("a machine's https, by name and by address of both families, over connections that are kept", async (t) => {
  const { gateway, port, counted } = await secureHome(t, hello);
  const init = { tls: { ca: root.cert } };
  for (const host of ["vm", "10.0.2.15", "[fd00::15]"]) {
    const before = counted.connections;
    for (let round = 0; round < 3; round += 1) {
      const response = await gateway.fetch(`https://${host}:${port}/a?b#c`, init);
      assert.equal(await response.text(), `GET ${host}:${port} /a?b`);
      assert.equal(response.url, `https://${host}:${port}/a?b`);
    }
    assert.equal(counted.connections, before + 1, host);
  }
});

test("20 at a time, and again over those that were kept", async (t) => {
  const { gateway, port, counted } = await secureHome(t, hello);
  const ask = async () => {
    const response = await gateway.fetch(`https://vm:${port}/`, { tls: { ca: root.cert } });
    return response.text();
  };
  const all = await Promise.all(Array.from({ length: 20 }, ask));
  assert.deepEqual(new Set(all), new Set([`GET vm:${port} /`]));
  assert.equal(counted.connections, 20);
  await Promise.all(Array.from({ length: 8 }, ask));
  assert.equal(counted.connections, 20);
});

test("the gateway's authority is trusted, unless the caller names another", async (t) => {
  const { gateway, stack, listen } = await home(t, { authority: true });
  const issued = gateway.authority.issue("vm");
  const server = https.createServer(issued, hello);
  server.on("tlsClientError", () => {});
  const port = await listen((socket) => server.emit("connection", socket));
  const url = `https://vm:${port}/`;
  assert.equal(await (await gateway.fetch(url)).text(), `GET vm:${port} /`);
  await assert.rejects(gateway.fetch(url, { tls: { ca: root.cert } }), ({ cause }) => {
    return cause.code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE";
  });
  await assert.rejects(gateway.fetch(`https://stranger:${port}/`), ({ cause }) => {
    return cause.code === "ERR_TLS_CERT_ALTNAME_INVALID";
  });
  // A machine whose server is of this package.
  const listener = stack.listen({ port: 443, tls: issued, allowHalfOpen: true });
  const served = (async () => {
    const socket = await listener.accept();
    await socket.readable.getReader().read();
    socket.tryWrite(Buffer.from("HTTP/1.0 200 OK\r\n\r\nuntil the end"));
    await socket.close();
  })();
  const response = await gateway.fetch("https://vm/");
  assert.equal(await response.text(), "until the end");
  await served;
});

test("what the gateway serves itself", async (t) => {
  const { gateway } = await home(t, { authority: true });
  for (const scheme of ["http", "https"]) {
    gateway.serve(`${scheme}://shop.test`, (request) => new Response(`shop: ${request.url}`));
  }
  gateway.serve("http://gateway", () => new Response("home"));
  for (const [url, expected] of [
    ["http://shop.test/a", "shop: http://shop.test/a"],
    ["https://shop.test/b", "shop: https://shop.test/b"],
    ["http://gateway/", "home"],
    // By the address itself nothing is served, which is the gateway's own answer too.
    [`http://${gateway.address}/`, /does not serve/],
    [`http://[${gateway.address6}]/`, /does not serve/],
  ]) {
    const text = await (await gateway.fetch(url)).text();
    if (typeof expected === "string") assert.equal(text, expected);
    else assert.match(text, expected);
  }
  await assert.rejects(gateway.fetch(`http://${gateway.address}:81/`), ({ cause }) => {
    return cause.code === "ECONNREFUSED";
  });
});

test("who trusts others, or shows another certificate, has a connection of his own", async (t) => {
  const shown = [];
  const { gateway, port, counted } = await secureHome(
    t,
    (request, response) => {
      shown.push(request.socket.getPeerCertificate().subject?.CN ?? null);
      hello(request, response);
    },
    { server: { ...leaf, ca: root.cert, requestCert: true, rejectUnauthorized: false } },
  );
  const url = `https://vm:${port}/`;
  const own = openssl.signed(root, "ada", { usage: "clientAuth" });
  const ask = async (options) => (await gateway.fetch(url, { tls: options })).text();
  await ask({ ca: root.cert });
  await ask({ ca: root.cert, cert: own.cert, key: own.key });
  await ask({ verify: false });
  assert.equal(counted.connections, 3);
  // A connection that was made without looking is nobody's who looks.
  await assert.rejects(ask({ ca: openssl.selfSigned("else").cert }), TypeError);
  await ask({ ca: root.cert, cert: own.cert, key: own.key });
  assert.equal(counted.connections, 3);
  assert.deepEqual(shown, [null, "ada", null, "ada"]);
});

test("what is wrong is the cause", async (t) => {
  const { gateway, listen, port } = await secureHome(t, hello);
  const plain = http.createServer(hello);
  const plainPort = await listen((socket) => plain.emit("connection", socket));
  const old = openssl.signed(root, "vm", {
    san: "DNS:vm",
    start: "20200101000000Z",
    end: "20210101000000Z",
  });
  const expired = https.createServer(old, hello);
  expired.on("tlsClientError", () => {});
  const expiredPort = await listen((socket) => expired.emit("connection", socket));
  const ca = root.cert;
  for (const [url, options, code] of [
    [`https://vm:${port}/`, {}, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
    [`https://stranger:${port}/`, { ca }, "ERR_TLS_CERT_ALTNAME_INVALID"],
    [`https://vm:${expiredPort}/`, { ca }, "CERT_HAS_EXPIRED"],
    [`https://vm:${plainPort}/`, { ca }, "ERR_SSL_WRONG_VERSION_NUMBER"],
    ["https://vm/", { ca }, "ECONNREFUSED"],
    ["https://nobody/", { ca }, "ENOTFOUND"],
  ]) {
    await assert.rejects(gateway.fetch(url, { tls: options }), (error) => {
      assert.ok(error instanceof TypeError);
      assert.ok(error.message.startsWith(`fetch of ${url} failed: `), error.message);
      assert.equal(error.cause.code, code, error.message);
      return true;
    });
  }
  for (const [options, message] of [
    [{ ca: "nothing" }, /certificate/],
    [{ ca: [] }, /init\.tls\.ca must not be empty/],
    [{ ca, cert: leaf.cert }, /init\.tls\.cert and init\.tls\.key must be given together/],
    ["yes", /init\.tls must be an object/],
  ]) {
    await assert.rejects(gateway.fetch(`https://vm:${port}/`, { tls: options }), (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, message);
      return true;
    });
  }
  await assert.rejects(gateway.fetch("ftp://vm/"), /ftp: is not supported/);
});

test("bodies of both directions at once, larger than all buffers", async (t) => {
  const { gateway, port } = await secureHome(t, (request, response) => request.pipe(response));
  const bytes = pattern(4_000_000);
  for (const body of [bytes, new Blob([bytes]).stream()]) {
    const response = await gateway.fetch(`https://vm:${port}/`, {
      method: "POST",
      body,
      tls: { ca: root.cert },
    });
    assert.equal(Buffer.compare(new Uint8Array(await response.arrayBuffer()), bytes), 0);
  }
});

test("RFC 9112 §9.8: a body until the end is whole only if the server has said that it ends", async (t) => {
  const { gateway, listen } = await home(t);
  for (const isWhole of [true, false]) {
    const port = await listen((transport) => {
      const socket = new tls.TLSSocket(transport, { isServer: true, ...leaf });
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\nhalf", () =>
          isWhole ? socket.end() : transport.end(),
        );
      });
    });
    const response = await gateway.fetch(`https://vm:${port}/`, { tls: { ca: root.cert } });
    if (isWhole) {
      assert.equal(await response.text(), "half");
    } else {
      await assert.rejects(response.text(), ({ cause }) => {
        return cause.code === "ERR_SSL_UNEXPECTED_EOF_WHILE_READING";
      });
    }
  }
});

test("redirects lead from http to https and back, credentials stay with their origin", async (t) => {
  const seen = [];
  const { gateway, listen, port } = await secureHome(t, (request, response) => {
    seen.push(["https", request.url, request.headers.authorization]);
    response.writeHead(302, { location: `http://vm:${plainPort}/end` }).end();
  });
  const plain = http.createServer((request, response) => {
    seen.push(["http", request.url, request.headers.authorization]);
    if (request.url === "/end") response.end("end");
    else response.writeHead(307, { location: `https://vm:${port}/there` }).end();
  });
  const plainPort = await listen((socket) => plain.emit("connection", socket));
  const response = await gateway.fetch(`http://vm:${plainPort}/`, {
    headers: { authorization: "secret" },
    tls: { ca: root.cert },
  });
  assert.equal(await response.text(), "end");
  assert.equal(response.url, `http://vm:${plainPort}/end`);
  assert.deepEqual(seen, [
    ["http", "/", "secret"],
    ["https", "/there", undefined],
    ["http", "/end", undefined],
  ]);
});

test("a kept connection that its server has ended, with close_notify or without, is replaced", async (t) => {
  const { gateway, port, counted, sockets, server } = await secureHome(t, hello);
  const secured = [];
  server.on("secureConnection", (socket) => secured.push(socket));
  const ask = async () => {
    const response = await gateway.fetch(`https://vm:${port}/`, { tls: { ca: root.cert } });
    return response.text();
  };
  await ask();
  const [first] = secured;
  const gone = once(first, "close");
  first.end();
  await gone;
  assert.equal(await ask(), `GET vm:${port} /`);
  const second = [...sockets].at(-1);
  const cut = once(second, "close");
  second.end();
  await cut;
  assert.equal(await ask(), `GET vm:${port} /`);
  assert.equal(counted.connections, 3);
});

test("a signal ends a handshake that does not come to its end, and a time limit does", async (t) => {
  const { gateway, stack } = await home(t);
  const silent = stack.listen({ port: 443 });
  const reason = new Error("changed my mind");
  const controller = new AbortController();
  const { signal } = controller;
  const failed = gateway.fetch("https://vm/", { tls: { ca: root.cert }, signal });
  const peer = await silent.accept();
  const reset = assert.rejects(peer.closed, { code: "ECONNRESET" });
  controller.abort(reason);
  await assert.rejects(failed, (error) => error === reason);
  await reset;
  const limited = { ca: root.cert, handshakeTimeout: 50 };
  await assert.rejects(gateway.fetch("https://vm/", { tls: limited }), ({ cause }) => {
    return cause.code === "ETIMEDOUT";
  });
});

test("OpenSSL's server", async (t) => {
  const { gateway, listen } = await home(t);
  const files = [
    ["-cert", openssl.write("vm.pem", leaf.cert)],
    ["-key", openssl.write("vm.key", leaf.key)],
  ].flat();
  for (const version of ["-tls1_3", "-tls1_2"]) {
    const server = spawn("openssl", ["s_server", "-accept", "0", "-www", version, ...files]);
    t.after(() => server.kill());
    let text = "";
    while (!/ACCEPT .*:(\d+)/.test(text)) text += (await once(server.stdout, "data"))[0];
    const there = Number(/ACCEPT .*:(\d+)/.exec(text)[1]);
    const port = await listen((socket) => {
      const real = net.connect({ port: there, host: "127.0.0.1", allowHalfOpen: true });
      pipeline(socket, real, () => {});
      pipeline(real, socket, () => {});
    });
    const response = await gateway.fetch(`https://vm:${port}/`, { tls: { ca: root.cert } });
    const page = await response.text();
    const name = version === "-tls1_3" ? "TLSv1.3" : "TLSv1.2";
    assert.match(page, new RegExp(`Protocol *: ${name}`));
    assert.match(page, /<\/HTML>|<\/pre>/i);
    const exited = once(server, "exit");
    server.kill();
    await exited;
  }
});

test("WebSockets within TLS, judged by the server of ws", async (t) => {
  const { gateway, server, port } = await secureHome(t, hello);
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) =>
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
  const url = `wss://vm:${port}/chat`;
  const options = { tls: { ca: root.cert } };
  for (const given of [url, url.replace("wss", "https")]) {
    const socket = gateway.webSocket(given, "chat", options);
    socket.binaryType = "arraybuffer";
    assert.equal(socket.url, url);
    await once(socket, "open");
    for (const message of ["hello", pattern(300_000)]) {
      socket.send(message);
      const [{ data }] = await once(socket, "message");
      if (typeof message === "string") assert.equal(data, message);
      else assert.equal(Buffer.compare(new Uint8Array(data), message), 0);
    }
    socket.close(3000, "enough");
    const [{ code, reason, wasClean }] = await once(socket, "close");
    assert.deepEqual([code, reason, wasClean], [3000, "enough", true]);
  }
});

test("a WebSocket's error event says why there is no TLS", async (t) => {
  const { gateway, port } = await secureHome(t, hello);
  for (const [url, tlsOptions, code] of [
    [`wss://vm:${port}/`, {}, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
    [`wss://stranger:${port}/`, { ca: root.cert }, "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["wss://vm/", { ca: root.cert }, "ECONNREFUSED"],
  ]) {
    const socket = gateway.webSocket(url, [], { tls: tlsOptions });
    const closed = once(socket, "close");
    const [event] = await new Promise((resolve) => {
      socket.onerror = (...args) => resolve(args);
    });
    assert.equal(event.error.code, code);
    assert.ok(event.message !== "" && event.error.message.endsWith(event.message), event.message);
    assert.equal((await closed)[0].code, 1006);
  }
  assert.throws(() => gateway.webSocket("wss://vm/", [], { tls: { ca: [] } }), {
    name: "TypeError",
    message: "options.tls.ca must not be empty",
  });
});

test("hosts of a world fetch by https, in virtual time", async () => {
  const authority = await createAuthority();
  const world = await createWorld({ seed: 1 });
  const [client, shop] = [world.host("client"), world.host("shop")];
  world.cable(client, shop, { latency: "40ms" });
  const server = https.createServer(authority.issue("shop"), hello);
  shop.net.createServer((socket) => server.emit("connection", socket)).listen(443);
  const text = await world.run(async () => {
    const response = await client.fetch("https://shop/x", { tls: { ca: authority.cert } });
    return response.text();
  });
  assert.equal(text, "GET shop /x");
  await world.close();
});
