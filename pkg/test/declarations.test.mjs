/** The package's declarations are checked as a strict program checks them, in a page and in Node, libraries' declarations included. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript")), "tsc.js");

const PAGE = `
import { createDirectSockets, createGateway, createStack, messagePort, plug, SocketError } from "ethertab";
import { v86Port } from "ethertab/v86";
import { createStackWorker, exposeStack } from "ethertab/worker";

const stack = await createStack({ hostname: "page", tcp: { noDelay: true } });
const nic = stack.addInterface({ dhcp: true });
const gateway = await createGateway();
plug(gateway, nic);
for await (const socket of stack.listen({ port: 80 })) {
  const reader = socket.readable.getReader({ mode: "byob" });
  const { value } = await reader.read(new Uint8Array(100));
  const chunk: Uint8Array<ArrayBuffer> | undefined = value;
  if (chunk !== undefined) await socket.writable.getWriter().write(chunk);
  await socket.readable.pipeTo(socket.writable).catch((error: unknown) => {
    if (error instanceof SocketError) console.log(error.code, error.localAddress, error.remoteAddress);
  });
  const { localAddress }: { localAddress: string | null } = await socket.opened;
  console.log(localAddress);
}
for await (const { data, remoteAddress, remotePort } of stack.bindUdp()) {
  stack.bindUdp().send(data, { remoteAddress, remotePort });
}
const direct = new (createDirectSockets(stack).TCPSocket)("10.0.2.15", 80, { noDelay: true });
const { readable }: { readable: ReadableStream<Uint8Array<ArrayBuffer>> } = await direct.opened;
console.log(readable, v86Port, exposeStack);
const channel = new MessageChannel();
await Promise.all([createStackWorker(channel.port1), createStackWorker(new Worker("stack.js"))]);
for (const target of [channel.port2, new Worker("lan.js"), new BroadcastChannel("lan")]) plug(messagePort(target), nic);
`;
const NODE = `import { connect } from "node:net";
import { parentPort, Worker } from "node:worker_threads";
import { qemuPort } from "ethertab";
${PAGE}
import { createDgram, createDns, createNet } from "ethertab/node";
import { createWorld } from "ethertab/testing";

createNet(stack).connect(80, "10.0.2.15").on("data", (data: Buffer) => console.log(data.length));
const world = await createWorld({ seed: 1 });
console.log(createDgram(stack), createDns(stack), world.host("a").net);
plug(qemuPort(connect(5555)), nic);
if (parentPort !== null) plug(messagePort(parentPort), nic);
`;

for (const [name, program, lib, types] of [
  ["a page", PAGE, ["es2022", "dom", "dom.asynciterable"], []],
  ["a worker", PAGE, ["esnext", "webworker"], []],
  ["Node with the DOM", NODE, ["es2023", "dom", "dom.iterable", "dom.asynciterable"], ["node"]],
  ["Node alone", NODE, ["es2022"], ["node"]],
]) {
  test(`the declarations hold in ${name}`, async (t) => {
    // Beside the tests, where the package and the types of Node are found.
    const folder = await mkdtemp(join(import.meta.dirname, "declarations-"));
    t.after(() => rm(folder, { recursive: true }));
    const compilerOptions = {
      noEmit: true,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noPropertyAccessFromIndexSignature: true,
      skipLibCheck: false,
      module: "nodenext",
      target: "es2022",
      lib,
      types,
    };
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["program.mts"] }),
    );
    await writeFile(join(folder, "program.mts"), program);
    const complaints = await new Promise((resolve) => {
      execFile(process.execPath, [tsc, "-p", folder], (_, stdout) => resolve(stdout));
    });
    assert.equal(complaints, "");
  });
}
