/** A frame of a page in Chromium browses the web server of a Linux guest. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { after, before, test } from "node:test";
import { launchChromium } from "../../../pkg/test/chromium.mjs";
import { defaultFolder } from "../../v86/guest/node.mjs";
import { startServer } from "../../v86/test/server.mjs";

/** Two origins of one site: browsers refuse service workers to frames of other sites. All these names mean loopback. */
const PAGE_HOST = "page.lab.localhost";
const VM_HOST = "vm1.lab.localhost";

/** The origin of the guest's pages: it serves the connector and the worker, and nothing else. */
async function startVmOrigin() {
  const files = { "/__vm__/connect.html": "text/html", "/__vm__/worker.js": "text/javascript" };
  const asked = [];
  const server = http.createServer(async (request, response) => {
    const type = files[request.url];
    if (type === undefined) {
      asked.push(request.url);
      response.writeHead(404).end();
      return;
    }
    const file = new URL(`../vm-origin/${request.url.slice("/__vm__/".length)}`, import.meta.url);
    response.writeHead(200, { "content-type": type, "service-worker-allowed": "/" });
    response.end(await readFile(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { origin: `http://${VM_HOST}:${server.address().port}`, asked, close };
}

let vm;
let server;
let browser;
let page;
let pageUrl;
let site;
before(async () => {
  vm = await startVmOrigin();
  server = await startServer(defaultFolder, { script: "/iframe/page.mjs" });
  browser = await launchChromium("--js-flags=--liftoff-only");
  page = await browser.newPage();
  pageUrl = server.url.replace("127.0.0.1", PAGE_HOST);
  await page.goto(pageUrl);
  await page.waitForFunction(() => typeof globalThis.start === "function");
  await page.evaluate((origin) => globalThis.start(origin), vm.origin);
  site = page.frame("site");
});
after(async () => {
  await browser?.close();
  await server?.close();
  await vm?.close();
});

test("a page with a style sheet by a path from the root", async () => {
  const heading = site.locator("h1");
  assert.equal(await heading.textContent(), "guest site");
  const color = await heading.evaluate((element) => getComputedStyle(element).color);
  assert.equal(color, "rgb(1, 2, 3)");
});

test("a redirect, to the machine's own name, stays in the frame's origin", async () => {
  await site.goto(`${vm.origin}/cgi-bin/home`);
  assert.equal(site.url(), `${vm.origin}/index.html`);
  assert.equal(await site.locator("h1").textContent(), "guest site");
});

test("a form is posted, its cookie logs in, and no script sees it", async () => {
  await site.locator("button").click();
  await site.waitForURL(`${vm.origin}/cgi-bin/home`);
  assert.equal(await site.locator("h1").textContent(), "welcome");
  assert.equal(await site.evaluate(() => document.cookie), "");
});

test("part of a file, and what a script posts", async () => {
  const part = await site.evaluate(async () => {
    const response = await fetch("/data.txt", { headers: { range: "bytes=2-4" } });
    return [response.status, response.headers.get("content-range"), await response.text()];
  });
  assert.deepEqual(part, [206, "bytes 2-4/11", "234"]);
  const echoed = await site.evaluate(async () => {
    const response = await fetch("/cgi-bin/echo", { method: "POST", body: "from a script" });
    return response.text();
  });
  assert.equal(echoed, "POST http://vm1 http://vm1/cgi-bin/home from a script");
});

test("the worker keeps nothing: stopped, it finds its page again", async () => {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("ServiceWorker.enable");
  await devtools.send("ServiceWorker.stopAllWorkers");
  await site.goto(`${vm.origin}/cgi-bin/home`);
  assert.equal(await site.locator("h1").textContent(), "welcome");
});

test("the guest's pages reach neither the page nor its origin's server", async () => {
  const tried = await site.evaluate(() => {
    const attempt = (action) => {
      try {
        action();
        return "done";
      } catch (error) {
        return error.name;
      }
    };
    return [
      attempt(() => parent.document.body),
      attempt(() => {
        top.location.href = "about:blank";
      }),
    ];
  });
  assert.deepEqual(tried, ["SecurityError", "SecurityError"]);
  assert.equal(page.url(), pageUrl);
  assert.deepEqual(vm.asked, [], "all requests were the worker's");
});

test("a script that takes the connector's port gets what the guest's server says, and nothing else", async () => {
  const answers = await site.evaluate(async () => {
    // The connector is of this origin, and so its window is open to this script.
    const connector = [...Array(parent.length).keys()]
      .map((index) => parent[index])
      .find((frame) => frame !== window);
    const stolen = new Promise((resolve) => {
      connector.ServiceWorker.prototype.postMessage = (_message, [port]) => resolve(port);
    });
    connector.eval(`parent.postMessage("port?", "*")`);
    const port = await stolen;
    const ask = (message) =>
      new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = async ({ data }) => {
          resolve(data.error ?? `${data.status} ${await new Response(data.body).text()}`);
        };
        port.postMessage(message, [port2]);
      });
    const get = { method: "GET", path: "/data.txt", headers: [] };
    const one = [];
    for (const given of [
      get,
      { ...get, path: "http://10.0.2.2/" },
      { ...get, path: "@10.0.2.2/" },
      { ...get, path: ":81/data.txt" },
      { ...get, path: "//10.0.2.2/data.txt" },
      { ...get, path: "/\\10.0.2.2/data.txt" },
      { ...get, path: "/../../data.txt" },
      { ...get, headers: [["host", "10.0.2.2"]] },
      { ...get, headers: [["x", "a\r\nhost: 10.0.2.2"]] },
      { ...get, method: "CONNECT" },
      { ...get, method: "GET http://10.0.2.2/ HTTP/1.1\r\n" },
      { ...get, method: 1 },
      {},
      null,
    ]) {
      one.push(await ask(given));
    }
    const flood = await Promise.all(Array.from({ length: 400 }, () => ask(get)));
    return { one, flood };
  });
  const [first, absolute, user, port, slashes, backslash, dots, host, ...wrong] = answers.one;
  assert.equal(first, "200 0123456789\n");
  for (const answer of [absolute, user, port]) assert.equal(answer, "This is no request.");
  // To the guest's server these are paths, and a name that it does not look at.
  for (const answer of [slashes, backslash]) assert.match(answer, /^404 /);
  for (const answer of [dots, host]) assert.equal(answer, first);
  for (const answer of wrong) assert.match(answer, /^(?!\d\d\d )/);
  const refused = answers.flood.filter((answer) => answer === "Too many requests at a time.");
  assert.equal(refused.length, 400 - 256);
  for (const answer of answers.flood) {
    if (!refused.includes(answer)) assert.equal(answer, first);
  }
  // The worker has its own port still.
  await site.goto(`${vm.origin}/index.html`);
  assert.equal(await site.locator("h1").textContent(), "guest site");
});
