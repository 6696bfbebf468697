/** Node's `http` over sockets and servers: what its own code does with them, and what its users see. */

import * as http from "node:http";
import { scenario, state, watch, when } from "../runner.mjs";

/** An HTTP server that has the connections of a listener. */
async function serve(run, handler, options = {}) {
  const web = http.createServer(options, handler);
  run.track({ close: () => web.closeAllConnections() });
  const server = await run.listen({ allowHalfOpen: true }, (socket) => {
    web.emit("connection", run.track(socket));
  });
  return { web, server };
}

/** An agent whose connections go to a listener. */
function agentFor(run, server, options) {
  const agent = new http.Agent(options);
  agent.createConnection = (_, created) => {
    const socket = run.connect(server);
    created?.(null, socket);
    return undefined;
  };
  run.track(agent);
  return agent;
}

/** A request, and what is noted of it. */
function ask(note, agent, options = {}, body = undefined) {
  const request = http.request({ host: "localhost", agent, ...options });
  for (const event of ["abort", "timeout", "error", "close", "continue", "information"]) {
    request.on(event, (value) => note(event, value instanceof Error ? value : undefined));
  }
  const answered = new Promise((resolve) => {
    request.on("error", () => resolve(null));
    request.on("response", (response) => {
      note("response", response.statusCode, response.headers.connection);
      for (const event of ["aborted", "error", "end", "close"]) {
        response.on(event, (value) => note(`response ${event}`, value));
      }
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
      });
      response.on("close", () => {
        note("body", text.length, text.slice(0, 20));
        resolve(response);
      });
    });
  });
  request.end(body);
  return { request, answered, closed: when(request, "close") };
}

scenario("http: a request without keep-alive ends the connection", async (run) => {
  const { server } = await serve(run, (_, response) => response.end("hello"));
  const note = run.lane("client");
  const { request, answered } = ask(note, agentFor(run, server));
  const [socket] = await when(request, "socket");
  const closed = when(socket, "close");
  await answered;
  const [hadError] = await closed;
  note("closed", hadError, state(socket));
});

scenario("http: requests share a connection that is kept", async (run) => {
  const seen = run.lane("server");
  const sockets = new Set();
  const { server } = await serve(run, (request, response) => {
    sockets.add(request.socket);
    seen("request", request.method, request.url, sockets.size);
    request.resume().on("end", () => response.end(`answer to ${request.url}`));
  });
  const note = run.lane("client");
  const agent = agentFor(run, server, { keepAlive: true, maxSockets: 1 });
  await ask(note, agent, { path: "/1" }).closed;
  await ask(note, agent, { path: "/2", method: "POST" }, "x".repeat(100_000)).closed;
  const both = [ask(note, agent, { path: "/3" }), ask(note, agent, { path: "/4" })];
  note(
    "reused",
    await Promise.all(
      both.map(async ({ closed, request }) => {
        await closed;
        return request.reusedSocket;
      }),
    ),
  );
});

scenario("http: the server hangs up before it answers", async (run) => {
  const { server } = await serve(run, (request) => request.socket.destroy());
  const note = run.lane("client");
  await ask(note, agentFor(run, server)).closed;
});

scenario("http: the server hangs up in the middle of its answer", async (run) => {
  const { server } = await serve(run, (request, response) => {
    response.writeHead(200, { "content-length": 1_000 });
    response.write("half", () => request.socket.destroySoon());
  });
  const note = run.lane("client");
  const { answered, closed } = ask(note, agentFor(run, server));
  await Promise.all([answered, closed]);
});

scenario("http: the server resets the connection", async (run) => {
  const { server } = await serve(run, (request) => request.socket.resetAndDestroy());
  const note = run.lane("client");
  await ask(note, agentFor(run, server)).closed;
});

scenario("http: the client destroys its request", async (run) => {
  const seen = run.lane("server");
  let ended;
  const isEnded = new Promise((resolve) => {
    ended = resolve;
  });
  const note = run.lane("client");
  let client;
  const { server } = await serve(run, (request, response) => {
    request.on("aborted", () => seen("aborted"));
    request.on("error", (error) => seen("error", error));
    response.on("close", () => {
      seen("response closed", response.writableEnded);
      ended();
    });
    client.request.destroy();
  });
  client = ask(note, agentFor(run, server));
  await Promise.all([client.closed, isEnded]);
});

scenario("http: a request whose signal aborts", async (run) => {
  const controller = new AbortController();
  const { server } = await serve(run, () => controller.abort());
  const note = run.lane("client");
  await ask(note, agentFor(run, server), { signal: controller.signal }).closed;
});

scenario("http: a request whose time is up", async (run) => {
  const { server } = await serve(run, () => {});
  const note = run.lane("client");
  const { request, closed } = ask(note, agentFor(run, server), { timeout: 50 });
  await when(request, "timeout");
  note("socket", request.socket.timeout, request.destroyed);
  request.destroy();
  await closed;
});

scenario("http: nobody listens", async (run) => {
  const port = await run.unusedPort();
  run.port(port, "OTHER");
  const agent = new http.Agent();
  agent.createConnection = () => run.track(run.client.connect(port, run.address));
  const note = run.lane("client");
  await ask(note, agent).closed;
});

scenario("http: the body waits for 100-continue", async (run) => {
  const { web, server } = await serve(run, (request, response) => {
    request.resume().on("end", () => response.end("all of it"));
  });
  const seen = run.lane("server");
  web.on("checkContinue", (request, response) => {
    seen("checkContinue");
    response.writeContinue();
    web.emit("request", request, response);
  });
  const note = run.lane("client");
  const headers = { expect: "100-continue" };
  const request = http.request({ agent: agentFor(run, server), method: "PUT", headers });
  request.flushHeaders();
  await when(request, "continue");
  note("continue");
  request.end("body");
  const [response] = await when(request, "response");
  note("response", response.statusCode);
  response.resume();
  await when(response, "end");
});

scenario("http: an upgrade gives the socket away, with what came with it", async (run) => {
  const { web, server } = await serve(run, () => {});
  const seen = run.lane("server");
  let other;
  web.on("upgrade", (request, socket, head) => {
    seen("upgrade", request.headers.upgrade, head);
    other = socket;
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst",
    );
    watch(seen, socket, { data: false });
    socket.pipe(socket);
  });
  const note = run.lane("client");
  const headers = { connection: "upgrade", upgrade: "echo" };
  const request = http.request({ agent: agentFor(run, server), headers });
  request.end();
  const [response, socket, head] = await when(request, "upgrade");
  note("upgrade", response.statusCode, head);
  socket.on("data", (chunk) => note("data", chunk.toString()));
  socket.write("echo");
  await when(socket, "data");
  const closed = [when(socket, "close"), when(other, "close")];
  socket.end();
  await Promise.all(closed);
});

scenario("http: CONNECT makes a tunnel", async (run) => {
  const { web, server } = await serve(run, () => {});
  const seen = run.lane("server");
  web.on("connect", (request, socket, head) => {
    seen("connect", request.url, head);
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    socket.on("data", (chunk) => socket.end(`heard ${chunk}`));
  });
  const note = run.lane("client");
  const request = http.request({
    agent: agentFor(run, server),
    method: "CONNECT",
    path: "a.test:443",
  });
  request.end();
  const [response, socket] = await when(request, "connect");
  note("connect", response.statusCode);
  socket.on("data", (chunk) => note("data", chunk.toString()));
  socket.write("tunnel");
  await when(socket, "end");
  note("state", state(socket));
});

scenario("http: what is no HTTP is answered with 400", async (run) => {
  const { web, server } = await serve(run, () => {});
  const seen = run.lane("server");
  web.on("clientError", (error, socket) => {
    seen("clientError", error.code, socket.writable);
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  const note = run.lane("client");
  const socket = watch(note, run.connect(server));
  socket.end("nonsense\r\n\r\n");
  await when(socket, "close");
});

scenario("http: answers to several requests at once come in order", async (run) => {
  const waiting = [];
  const { server } = await serve(run, (request, response) => {
    waiting.push(() => response.end(request.url));
    if (waiting.length === 3) for (const answer of waiting.reverse()) answer();
  });
  const note = run.lane("client");
  const socket = run.connect(server);
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  const request = (path, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
  socket.write(request("/1") + request("/2") + request("/3", "Connection: close\r\n"));
  await when(socket, "close");
  note("answers", text.match(/\/\d/g));
});
