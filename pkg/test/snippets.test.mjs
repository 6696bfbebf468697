/** The snippets of the READMEs and guides are programs that a strict compiler takes. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import * as ethertab from "ethertab";
import { snippets } from "./readme.mjs";

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript")), "tsc.js");
const root = new URL("../../", import.meta.url);

/** What snippets take for granted, as the text around them says: by the heading, the document, or for all others. */
const GIVEN = {
  "": {
    stack: "ethertab.Stack",
    router: "ethertab.Stack",
    a: "ethertab.Stack",
    b: "ethertab.Stack",
    lan: "ethertab.Switch",
    nic: "ethertab.Nic",
    port: "ethertab.LinkPort",
    socket: "ethertab.Socket",
    gateway: "ethertab.Gateway",
    options: "ethertab.GatewayOptions",
    emulator: "ethertab.V86Emulator & { save_state(): Promise<ArrayBuffer> }",
    restoredEmulator: "ethertab.V86Emulator",
    signal: "AbortSignal",
    controller: "AbortController",
    bytes: "Uint8Array<ArrayBuffer>",
    into: "Uint8Array<ArrayBuffer>",
    cert: "string",
    key: "string",
    pem: "string",
    take: "(bytes: Uint8Array) => void",
    handle: "(socket: ethertab.Socket) => void",
    report: "(...what: unknown[]) => void",
    dial: "(to: ethertab.SocketAddress) => Promise<ethertab.Socket>",
    http: 'typeof import("node:http")',
  },
  "A router": {
    router: "ethertab.Stack",
    lan: "ethertab.Nic",
    wan: "ethertab.Nic",
    dial: "(to: ethertab.SocketAddress) => Promise<ethertab.Socket>",
  },
  "TESTING.md": {
    world: "testing.World",
    host: "testing.Host",
    t: 'import("node:test").TestContext',
    cert: "string",
    key: "string",
    ca: "string",
    cable: "testing.WorldCable",
    buildNetwork: "(world: testing.World) => { customer: testing.Host; shop: testing.Host }",
    openShop: "(shop: testing.Host) => string[]",
    orderCarelessly:
      "(customer: testing.Host, clock: testing.WorldClock, book: string) => Promise<void>",
    assert: 'typeof import("node:assert/strict")',
    writeFile: 'typeof import("node:fs/promises").writeFile',
  },
};

/** A module of a snippet: its imports, what it takes for granted, and the rest in a block, which may have names of its own. */
function moduleOf(text, given) {
  const imports = [];
  const body = text.replace(/^import .*;.*$/gm, (line) => {
    imports.push(line);
    return "";
  });
  const declared = Object.entries(given).map(([name, type]) => `declare const ${name}: ${type};`);
  return `import type * as ethertab from "ethertab";
import type * as testing from "ethertab/testing";
${imports.join("\n")}
${declared.join("\n")}
{
${body}
}
`;
}

let folder;
let complaints;
const found = [];
before(async () => {
  // Beside the tests, where the package and the types of Node are found.
  folder = await mkdtemp(join(import.meta.dirname, "snippets-"));
  const guides = (await readdir(new URL("docs/", root))).filter((name) => name.endsWith(".md"));
  for (const name of ["README.md", "pkg/README.md", ...guides.map((guide) => `docs/${guide}`)]) {
    for (const { heading, line, text } of await snippets(new URL(name, root))) {
      const file = `${name.replaceAll(/[/.]/g, "_")}_${line}.mts`;
      found.push({ name, line, file });
      await writeFile(
        join(folder, file),
        moduleOf(text, GIVEN[heading] ?? GIVEN[basename(name)] ?? GIVEN[""]),
      );
    }
  }
  const exports = Object.keys(ethertab).map(
    (name) => `const ${name}: typeof import("ethertab").${name};`,
  );
  const more = [
    'const nodeEgress: typeof import("ethertab/node").nodeEgress;',
    'const createWorld: typeof import("ethertab/testing").createWorld;',
    'const simulate: typeof import("ethertab/testing").simulate;',
    'const exposeStack: typeof import("ethertab/worker").exposeStack;',
  ];
  await writeFile(
    join(folder, "given.d.mts"),
    `declare global {\n${[...exports, ...more].join("\n")}\n}\nexport {};\n`,
  );
  // What a bundler's loader makes of an import of a file.
  await writeFile(
    join(folder, "files.d.ts"),
    'declare module "*.wasm" {\n  const url: string;\n  export default url;\n}\n',
  );
  const compilerOptions = {
    noEmit: true,
    strict: true,
    module: "nodenext",
    target: "es2022",
    lib: ["es2023", "esnext.disposable", "dom", "dom.iterable", "dom.asynciterable"],
    types: ["node"],
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  complaints = await new Promise((resolve) => {
    execFile(process.execPath, [tsc, "-p", folder, "--pretty", "false"], (_, stdout) =>
      resolve(stdout.split(/\n(?! )/)),
    );
  });
});
after(() => rm(folder, { recursive: true, force: true }));

test("the compiler has nothing to say of what the snippets take for granted", () => {
  const about = complaints.filter((line) => line && !found.some(({ file }) => line.includes(file)));
  assert.deepEqual(about, []);
  assert.ok(found.length >= 40, `only ${found.length} snippets`);
});

test("the snippets compile strictly", async (t) => {
  for (const { name, line, file } of found) {
    await t.test(`${name}, line ${line}`, () => {
      assert.deepEqual(
        complaints.filter((complaint) => complaint.includes(file)),
        [],
      );
    });
  }
});
