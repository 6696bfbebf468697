/** Node's `tls` over sockets and servers, told as docs/NODE.md says. */

import * as tls from "node:tls";
import { OpenSsl } from "../../tls_support.mjs";
import { scenario, when } from "../runner.mjs";

const openssl = new OpenSsl();
const credentials = openssl.selfSigned("shop.test", { san: "DNS:shop.test" });
openssl[Symbol.dispose]();

/** Without `finish`: over a stream that is no handle of the system's, Node tells of it later. */
const EVENTS = ["secureConnect", "secure", "end", "timeout", "error", "close"];

function watch(note, socket) {
  for (const event of EVENTS) {
    socket.on(event, (value) => note(event, value instanceof Error ? value.code : value));
  }
  socket.on("data", (chunk) => note("data", chunk.toString("latin1")));
  return socket;
}

/** A TLS server of Node's that has the connections of a listener. */
async function serve(run, onSecure) {
  const secure = tls.createServer(credentials, onSecure);
  const server = await run.listen({}, (socket) => {
    secure.emit("connection", run.track(socket));
    socket.allowHalfOpen = true;
  });
  return server;
}

/** A TLS client over a socket. */
function dial(run, server) {
  const socket = run.connect(server);
  const secure = tls.connect({ socket, ca: credentials.cert, servername: "shop.test" });
  socket.allowHalfOpen = true;
  return run.track(secure);
}

/** Both ends, and what becomes of them. */
function ending(name, { server: onSecure = () => {}, client: onConnect = () => {} }) {
  scenario(`tls: ${name}`, async (run) => {
    const right = run.lane("server");
    let gone;
    const over = new Promise((resolve) => {
      gone = resolve;
    });
    const server = await serve(run, (socket) => {
      watch(right, run.track(socket));
      socket.on("close", gone);
      onSecure(socket);
    });
    const client = watch(run.lane("client"), dial(run, server));
    client.on("secureConnect", () => onConnect(client));
    await Promise.all([when(client, "close"), over]);
  });
}

ending("the server ends", { server: (socket) => socket.end("goodbye") });
ending("the client ends", { client: (socket) => socket.end("goodbye") });
ending("the server answers, and ends", {
  server: (socket) => socket.once("data", (chunk) => socket.end(`you said ${chunk}`)),
  client: (socket) => socket.write("hello"),
});
ending("the server is gone at once", { server: (socket) => socket.destroy() });
ending("both end", {
  server: (socket) => socket.end("right"),
  client: (socket) => socket.end("left"),
});
