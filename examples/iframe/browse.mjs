/**
 * Lets frames of this page browse a web server in a virtual machine.
 *
 * The frames live on an origin of their own, whose service worker sends each request here by a message port; the page fetches from the machine and sends the
 * response back. What the machine's pages say and do is not trusted: they get no more through the port than they could ask their own server for.
 */
import { CookieJar } from "./cookies.mjs";

const CONNECTOR = "/__vm__/connect.html";
/** Requests under way at a time; more are refused. */
const MOST = 256;
/** A worker that starts again has another port; more than these are not its doing, and the oldest goes. */
const MOST_PORTS = 8;
const METHOD = /^[A-Z]{1,32}$/;
/** What belongs to the machine's connection or is dealt with here, and what would keep its pages out of a frame. */
const DROPPED = new Set([
  "connection",
  "content-encoding",
  "content-length",
  "keep-alive",
  "set-cookie",
  "transfer-encoding",
  "x-frame-options",
]);

/** Bodies up to this size are sent with their length: small servers know no other. */
const SIZED = 4 * 1024 * 1024;

/** A body as a whole if it is not large, else as a stream. */
async function sized(body) {
  if (!(body instanceof ReadableStream)) return body;
  const reader = body.getReader();
  const pieces = [];
  let size = 0;
  while (size <= SIZED) {
    const { value } = await reader.read();
    if (value === undefined) return new Blob(pieces);
    pieces.push(value);
    size += value.length;
  }
  return new ReadableStream({
    async pull(controller) {
      const piece = pieces.shift() ?? (await reader.read()).value;
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/**
 * Joins a machine's web server to an origin.
 *
 * @param {object} options
 * @param {string} options.origin  where the frames live: another host than this page's, since cookies know no ports, of the same site
 * @param {string} options.target  the web server, such as `"http://vm1"` or `"http://10.0.2.15:8000"`
 * @param {(url: URL, init: RequestInit) => Promise<Response>} options.fetch  `gateway.fetch`
 * @param {AbortSignal} [options.signal]  ends it
 * @returns {Promise<void>} when frames of that origin can be loaded; rejects where the browser wants no service worker there
 */
export async function browse({ origin, target, fetch, signal }) {
  const site = new URL(target);
  const jar = new CookieJar();
  const connector = document.createElement("iframe");
  connector.hidden = true;
  connector.src = origin + CONNECTOR;
  let underWay = 0;
  /** To the worker: the last is its own, unless a script has asked for more. */
  const ports = [];

  return new Promise((resolve, reject) => {
    const onMessage = ({ source, origin: from, data }) => {
      if (source !== connector.contentWindow || from !== origin) return;
      if (typeof data?.error === "string") reject(new Error(data.error));
      if (data !== "port?") return;
      const { port1, port2 } = new MessageChannel();
      ports.push(port1);
      if (ports.length > MOST_PORTS) ports.shift().close();
      port1.onmessage = ({ data: message, ports: [replyTo] }) => {
        if (message === "ready") resolve();
        else if (replyTo !== undefined) void serve(message, replyTo);
      };
      connector.contentWindow.postMessage("port", origin, [port2]);
    };
    addEventListener("message", onMessage, { signal });
    signal?.addEventListener("abort", () => {
      for (const port of ports) port.close();
      connector.remove();
    });
    document.body.append(connector);
  });

  async function serve(message, replyTo) {
    underWay += 1;
    try {
      if (underWay > MOST) throw new Error("Too many requests at a time.");
      const reply = await exchange(message, replyTo);
      try {
        replyTo.postMessage(reply, reply.body ? [reply.body] : []);
      } catch {
        // This browser cannot transfer streams.
        const body = await new Response(reply.body).arrayBuffer();
        replyTo.postMessage({ ...reply, body });
      }
    } catch (error) {
      replyTo.postMessage({ error: error instanceof Error ? error.message : String(error) });
    } finally {
      underWay -= 1;
    }
  }

  async function exchange({ method, path, headers, referrer, body }, replyTo) {
    if (!METHOD.test(method) || typeof path !== "string" || !path.startsWith("/")) {
      throw new TypeError("This is no request.");
    }
    const url = new URL(site.origin + path);
    const sent = new Headers(headers);
    const cookie = jar.header(url);
    if (cookie !== null) sent.set("cookie", cookie);
    // The server must not see where its pages really live, or it takes them for somebody else's.
    if (method !== "GET" && method !== "HEAD") sent.set("origin", site.origin);
    if (typeof referrer === "string" && referrer.startsWith(`${origin}/`)) {
      sent.set("referer", site.origin + referrer.slice(origin.length));
    }
    const aborted = new AbortController();
    replyTo.onmessage = () => aborted.abort();
    const response = await fetch(url, {
      method,
      headers: sent,
      body: method === "GET" || method === "HEAD" ? null : await sized(body),
      // The frame follows it, and so knows where it is.
      redirect: "manual",
      signal: aborted.signal,
    });
    for (const field of response.headers.getSetCookie()) jar.store(url, field);
    const kept = [...response.headers].filter(([name]) => !DROPPED.has(name)).map(moved);
    return {
      status: response.status,
      statusText: response.statusText,
      headers: kept,
      body: response.body,
    };
  }

  /** A redirect within the machine's site stays within its frames' origin. */
  function moved([name, value]) {
    if (name !== "location" || !URL.canParse(value, site)) return [name, value];
    const to = new URL(value, site);
    const isAbsolute = URL.canParse(value) || value.startsWith("//");
    if (!isAbsolute || to.origin !== site.origin) return [name, value];
    return [name, origin + to.pathname + to.search + to.hash];
  }
}
