// The package as its users get it: packed, installed in an empty folder, used with no Rust in PATH.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve as resolvePath } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { install, pack, run } from "./packed.mjs";
import { programOf, snippets } from "./readme.mjs";

/** The entries that are WebAssembly, and have no types. */
const MODULES = ["ethertab.wasm", "services.wasm", "tls.wasm"];
/** The entries that are for Node alone. */
const NODE_ENTRIES = ["./node", "./testing"];

let folder;
let environment;
let tarball;
let files;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "ethertab-package-"));
  environment = await withoutRust();
  ({ tarball, files } = await pack(folder));
  await install(tarball, folder, environment);
});
after(() => rm(folder, { recursive: true, force: true }));

/** An environment whose PATH has Node, npm and a shell, and nothing else. */
async function withoutRust() {
  const tools = join(folder, "tools");
  await mkdir(tools);
  for (const tool of ["env", "node", "npm", "npx", "sh"]) {
    const { stdout } = await run("sh", ["-c", `command -v ${tool}`]);
    await symlink(tool === "node" ? process.execPath : stdout.trim(), join(tools, tool));
  }
  return { ...process.env, PATH: tools };
}

/** Runs a module in the folder with the package. */
async function program(text, options = []) {
  const file = join(folder, "program.mjs");
  await writeFile(file, text);
  const { stdout } = await run(process.execPath, [...options, file], {
    env: environment,
    timeout: 30_000,
  });
  return stdout;
}

test("there is no Rust where the package is used", async () => {
  for (const tool of ["cargo", "rustc"]) {
    const found = run("sh", ["-c", `command -v ${tool}`], { env: environment });
    await assert.rejects(found, `${tool} is in ${environment.PATH}`);
  }
});

test("the package holds the modules, the types, the page, the licences, and no tests", () => {
  const needed = [
    "README.md",
    "bin/ethertab.mjs",
    "dist/index.js",
    "dist/index.d.ts",
    "dist/gateway/index.js",
    "dist/gateway/index.d.ts",
    "dist/node/index.js",
    "dist/node/index.d.ts",
    "dist/wasm/ethertab_bg.wasm",
    "dist/wasm/services_bg.wasm",
    "dist/wasm/tls_bg.wasm",
    "dist/web/index.html",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "THIRD-PARTY-LICENSES.txt",
    "dist/web/licenses.md",
  ];
  for (const file of needed) assert.ok(files.includes(file), `${file} is missing`);
  const unwanted = files.filter((file) => /^(test|scripts)\/|tsbuildinfo|tsconfig/.test(file));
  assert.deepEqual(unwanted, []);
});

/** The package's folder where it is installed. */
const installed = () => join(folder, "node_modules", "ethertab");
const json = async (...path) => JSON.parse(await readFile(join(installed(), ...path), "utf8"));

const judges = fileURLToPath(new URL("../../xtask/judges/node_modules/.bin", import.meta.url));
const noJudges = existsSync(judges) ? false : "xtask/judges is not installed: cargo xtask setup";

test("publint finds nothing to say", { skip: noJudges }, async () => {
  const { stdout } = await run(join(judges, "publint"), [tarball, "--strict"]);
  assert.match(stdout, /All good!/);
});

test("TypeScript finds the types of each entry as an ES module", { skip: noJudges }, async () => {
  // Ends with another status than 0 if it finds a problem.
  await run(join(judges, "attw"), [
    tarball,
    ...["--profile", "esm-only"],
    ...["--exclude-entrypoints", ...MODULES],
  ]);
});

test("each entry of the exports map is there, has types, and can be imported in Node", async () => {
  const { exports } = await json("package.json");
  const entries = Object.entries(exports).filter(([, target]) => typeof target === "object");
  assert.ok(entries.length >= 5);
  for (const target of Object.values(exports).filter((one) => typeof one === "string")) {
    assert.ok(existsSync(join(installed(), target)), target);
  }
  for (const [name, target] of entries) {
    const conditions = Object.keys(target);
    assert.equal(conditions[0], "types", `${name}: the first condition that fits is taken`);
    assert.equal(conditions.at(-1), "default", name);
    for (const file of Object.values(target)) assert.ok(existsSync(join(installed(), file)), file);
  }
  const names = entries.map(([name]) => name.replace(/^\./, "ethertab"));
  const output = await program(
    names.map((name) => `console.log(Object.keys(await import("${name}")).length);`).join("\n"),
  );
  for (const [index, count] of output.trim().split("\n").entries()) {
    // The other inline entry is there for its effect alone.
    const least = names[index] === "ethertab/inline-tls" ? 0 : 1;
    assert.ok(Number(count) >= least, `${names[index]} exports nothing`);
  }
});

/** A module and all of the package that it imports, with what it imports from elsewhere. */
async function importsOf(entry) {
  const elsewhere = new Map();
  const seen = new Set([entry]);
  for (const file of seen) {
    const text = await readFile(file, "utf8");
    const imports = /^(?:(?:import|export)\b.* from|import) "([^"]+)";|\bimport\("([^"]+)"\)/gm;
    for (const [, fixed, dynamic] of text.matchAll(imports)) {
      const specifier = fixed ?? dynamic;
      if (specifier.startsWith(".")) seen.add(resolvePath(dirname(file), specifier));
      else elsewhere.set(specifier, file);
    }
  }
  return elsewhere;
}

test("only the entries for Node import its modules", async () => {
  const { exports } = await json("package.json");
  for (const [name, target] of Object.entries(exports)) {
    if (NODE_ENTRIES.includes(name) || typeof target === "string") continue;
    const elsewhere = await importsOf(join(installed(), target.default));
    assert.deepEqual([...elsewhere.keys()], [], `${name} imports from outside of the package`);
  }
});

test("source maps lead to sources in the package, from scripts and from types", async () => {
  const maps = files.filter((file) => file.endsWith(".map") && !file.startsWith("dist/web/"));
  assert.ok(maps.some((file) => file.endsWith(".d.ts.map")));
  assert.ok(maps.some((file) => file.endsWith(".js.map")));
  for (const map of maps) {
    const { sources, sourceRoot = "" } = await json(map);
    assert.ok(sources.length > 0, map);
    for (const source of sources) {
      const path = join(dirname(join(installed(), map)), sourceRoot, source);
      assert.ok(existsSync(path), `${map} leads to ${source}`);
    }
  }
});

test("a failure in a program is told with the lines of the sources", async () => {
  const output = await program(
    `import { createStack } from "ethertab";
     const error = await createStack({ limits: 7 }).catch((error) => error);
     console.log(error.stack);`,
    ["--enable-source-maps"],
  );
  assert.match(output, /ethertab\/src\/\w+\.ts:\d+:\d+/);
});

test("two stacks exchange bytes over a cable, and the program ends by itself", async () => {
  const output = await program(`
    import { createCable, createStack, plug } from "ethertab";
    const [a, b] = [await createStack(), await createStack()];
    const cable = await createCable({ latency: "1ms" });
    plug(a.addInterface({ addresses: ["10.0.0.1/24"] }), cable.a);
    plug(b.addInterface({ addresses: ["10.0.0.2/24"] }), cable.b);
    const listener = b.listen({ port: 7 });
    await listener.listening;
    (async () => {
      for await (const socket of listener) socket.readable.pipeTo(socket.writable);
    })();
    const socket = a.connect("10.0.0.2:7");
    const sent = new Uint8Array(1_000_000).map((_, index) => index * 31 + (index >> 8));
    const writer = socket.writable.getWriter();
    writer.write(sent).then(() => writer.close());
    let at = 0;
    for await (const piece of socket.readable) {
      for (const byte of piece) if (byte !== sent[at++]) throw new Error("byte " + at + " differs");
    }
    if (at !== sent.length) throw new Error("only " + at + " bytes came back");
    await Promise.all([a.close(), b.close()]);
    console.log("echoed", at);
  `);
  assert.equal(output, "echoed 1000000\n");
});

test("Node's look-alikes from their entry point, and the program ends by itself", async () => {
  const output = await program(`
    import { createStack, plug } from "ethertab";
    import { createNet } from "ethertab/node";
    const [a, b] = [await createStack(), await createStack()];
    plug(a.addInterface({ addresses: ["10.0.0.1/24"] }), b.addInterface({ addresses: ["10.0.0.2/24"] }));
    const server = createNet(b).createServer((socket) => socket.end("hello " + socket.remoteAddress));
    server.listen(7, "10.0.0.2", () => {
      createNet(a).connect(7, "10.0.0.2").setEncoding("utf8")
        .on("data", (text) => console.log(text))
        .on("close", () => server.close());
    });
  `);
  assert.equal(output, "hello 10.0.0.1\n");
});

test("a gateway from the entry point of its own serves a stack", async () => {
  const output = await program(`
    import { createStack, plug } from "ethertab";
    import { createGateway } from "ethertab/gateway";
    const gateway = await createGateway();
    const guest = await createStack();
    plug(gateway.port, guest.addInterface({ addresses: ["10.0.2.15/24"] }));
    gateway.serve("http://shop.test", (request) => new Response("hello " + request.url));
    const socket = guest.connect("10.0.2.2:80");
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("GET /x HTTP/1.0\\r\\nHost: shop.test\\r\\n\\r\\n"));
    console.log((await new Response(socket.readable).text()).split("\\r\\n\\r\\n")[1]);
    await Promise.all([gateway.close(), guest.close()]);
  `);
  assert.equal(output, "hello http://shop.test/x\n");
});

for (const name of ["pkg/README.md", "README.md"]) {
  for (const snippet of await snippets(new URL(`../../${name}`, import.meta.url))) {
    test(`${name}, line ${snippet.line}: the snippet runs`, async () => {
      const worker = 'import { exposeStack } from "ethertab/worker"; exposeStack();\n';
      await Promise.all([
        copyFile(new URL("readme_world.mjs", import.meta.url), join(folder, "readme_world.mjs")),
        writeFile(join(folder, "stack.js"), worker),
      ]);
      await program(programOf(snippet, "./readme_world.mjs"));
    });
  }
}

/** Starts `npx ethertab` and resolves once it has printed its address. */
async function start(...options) {
  // A group of its own, since npx does not hand signals on.
  const child = spawn("npx", ["--no-install", "ethertab", ...options], {
    cwd: folder,
    env: environment,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("close", (code) => resolve(code)));
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const line = new Promise((resolve, reject) => {
    createInterface(child.stdout).once("line", resolve);
    ended.then((code) => reject(new Error(`ended with ${code}: ${errors}`)));
  });
  line.catch(() => {});
  const stop = async () => {
    try {
      process.kill(-child.pid, "SIGTERM");
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
    await ended;
  };
  return { line, stop, ended, errors: () => errors };
}

test("npx ethertab serves the page and the modules", async () => {
  const guest = join(folder, "guest");
  await mkdir(guest);
  await writeFile(join(guest, "bzImage"), "kernel");
  const list = { files: { bzImage: "bzImage", initrd: "absent" }, states: { ne2k: "absent" } };
  await writeFile(join(guest, "guest.json"), JSON.stringify(list));
  const server = await start("--port", "0", "--guest", guest);
  try {
    const address = await server.line;
    assert.match(address, /^http:\/\/127\.0\.0\.1:\d+$/);
    const page = await fetch(`${address}/`);
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-type"), /^text\/html/);
    const html = await page.text();
    const scripts = [...html.matchAll(/<script[^>]+src="([^"]+)"/g)].map(([, path]) => path);
    assert.ok(scripts.length > 0, html);
    for (const path of scripts) {
      const script = await fetch(new URL(path, address));
      assert.match(script.headers.get("content-type"), /javascript/, path);
      await script.arrayBuffer();
    }
    const modules = files.filter((file) => /^dist\/web\/.*(ethertab|services).*\.wasm$/.test(file));
    assert.equal(modules.length, 2, `the page has the modules ${modules}`);
    for (const file of modules) {
      const response = await fetch(`${address}/${file.slice("dist/web/".length)}`);
      assert.equal(response.headers.get("content-type"), "application/wasm");
      assert.ok(WebAssembly.validate(await response.arrayBuffer()));
    }

    assert.equal(await (await fetch(`${address}/guest/bzImage`)).text(), "kernel");
    const manifest = await (await fetch(`${address}/guest/manifest.json`)).json();
    assert.deepEqual(manifest, { files: { bzImage: "bzImage" }, states: {} });
    for (const path of [
      "/nothing",
      "/guest/nothing",
      "/guest/..%2fpackage.json",
      "/%2e%2e/index.js",
    ]) {
      assert.equal((await fetch(address + path)).status, 404, path);
    }
    assert.equal((await fetch(`${address}/`, { method: "POST" })).status, 405);

    const busy = await start("--port", new URL(address).port);
    assert.equal(await busy.ended, 1);
    assert.match(busy.errors(), /^ethertab: port \d+ is in use by another program: try --port/m);
  } finally {
    await server.stop();
  }
});

test("npx ethertab explains wrong options", async () => {
  for (const [options, text] of [
    [["--port", "none"], '--port must be a number from 0 to 65535, not "none"'],
    [["--prot", "1"], "--prot"],
    [["--port", "0", "--host", "192.0.2.1"], "192.0.2.1 is no address of this machine"],
  ]) {
    const failed = await start(...options);
    assert.equal(await failed.ended, 1, options.join(" "));
    assert.ok(failed.errors().includes(text), failed.errors());
  }
});
