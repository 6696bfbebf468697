/**
 * Answers all requests of this origin with what the machine's web server says. It keeps nothing: what it needs is a message port to the page that
 * runs the machine, and when it has been stopped and started again, it asks the connector for another.
 */

/** Its own files, which come from this origin's real server. */
const OWN = "/__vm__/";
const CONNECTOR = `${OWN}connect.html`;
/** How long a page may take to hand over a port, in milliseconds. */
const PATIENCE = 5_000;

/** @type {MessagePort | null} */
let port = null;
/** @type {((port: MessagePort) => void)[]} */
let waiting = [];

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("message", ({ data, ports }) => {
  if (data !== "port" || ports.length !== 1) return;
  const [given] = ports;
  given.onclose = () => {
    if (port === given) port = null;
  };
  given.start();
  given.postMessage("ready");
  port = given;
  for (const resolve of waiting.splice(0)) resolve(given);
});

addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (origin !== location.origin || pathname.startsWith(OWN)) return;
  event.respondWith(
    answer(event.request).catch(
      (error) =>
        new Response(`${error.message}\n`, {
          status: 503,
          headers: { "content-type": "text/plain" },
        }),
    ),
  );
});

/** The port to the page; asks for one where there is none. */
async function pagePort() {
  if (port !== null) return port;
  const given = new Promise((resolve, reject) => {
    waiting.push(resolve);
    setTimeout(() => {
      waiting = waiting.filter((other) => other !== resolve);
      reject(new Error("The page that runs the machine is not open."));
    }, PATIENCE);
  });
  for (const client of await clients.matchAll({ includeUncontrolled: true, type: "window" })) {
    if (new URL(client.url).pathname === CONNECTOR) client.postMessage("port?");
  }
  return given;
}

/** @param {Request} request */
async function answer(request) {
  const to = await pagePort();
  const { pathname, search } = new URL(request.url);
  const { port1: replies, port2: replyTo } = new MessageChannel();
  const head = {
    method: request.method,
    path: pathname + search,
    headers: [...request.headers],
    referrer: request.referrer,
  };
  const replied = new Promise((resolve) => {
    replies.onmessage = ({ data }) => resolve(data);
  });
  request.signal.addEventListener("abort", () => replies.postMessage("abort"));
  const { body } = request;
  try {
    to.postMessage({ ...head, body }, body ? [replyTo, body] : [replyTo]);
  } catch {
    // This browser cannot transfer streams.
    to.postMessage({ ...head, body: await request.arrayBuffer() }, [replyTo]);
  }
  const { error, body: content, ...init } = await replied;
  if (error !== undefined) throw new Error(error);
  return new Response(content, init);
}
