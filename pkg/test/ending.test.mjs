/** Programs end by themselves, and not before what they wait for has come. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What a program writes that runs to its end; one that does not end is killed, which rejects. */
async function outputOf(program) {
  const head = 'import { createGateway, createStack, createSwitch } from "ethertab";';
  const options = { cwd: import.meta.dirname, timeout: 20_000 };
  const { stdout } = await run(
    process.execPath,
    ["--input-type=module", "--eval", head + program],
    options,
  );
  return stdout.trim();
}

/** A host that has its addresses from a gateway by each protocol, and has asked for a name and connected by one. */
const NETWORK = `
  const hosts = { "shop.test": ["10.0.2.2"] };
  const gateway = await createGateway({ network6: "fd00::/64", advertise: { managed: true }, dns: { hosts } });
  const lan = await createSwitch();
  lan.plug(gateway);
  const stack = await createStack();
  const nic = stack.addInterface({ dhcp: true, slaac: true, dhcp6: true });
  lan.plug(nic);
  await nic.configured;
  await stack.resolve("shop.test");
  const listener = gateway.stack.listen({ port: 80 });
  const socket = stack.connect("shop.test:80");
  await socket.opened;
  await stack.bindUdp().close();
  await Promise.all([socket.close(), listener.accept().then((accepted) => accepted.close())]);
  await listener.close();
`;

test("a program ends when its sockets are closed, whatever the stack does by itself", async () => {
  assert.equal(await outputOf(`${NETWORK} console.log("end");`), "end");
});

test("a program ends when its stacks are closed, whatever was open in them", async () => {
  const program = `${NETWORK}
    stack.listen({ port: 81 });
    stack.bindUdp().receive().catch(() => {});
    stack.resolve("nobody.test").catch(() => {});
    await Promise.all([stack.close(), gateway.close()]);
    console.log("end");`;
  assert.equal(await outputOf(program), "end");
});

test("a program ends when its engine is closed", async () => {
  const program = `${NETWORK}
    stack.listen({ port: 81 });
    stack.resolve("nobody.test").catch(() => {});
    stack.engine.close();
    console.log("end");`;
  assert.equal(await outputOf(program), "end");
});

test("a program waits for an answer that does not come", async () => {
  const program = `
    const stack = await createStack({ dns: { servers: ["10.0.2.9"] } });
    const lan = await createSwitch();
    lan.plug(stack.addInterface({ addresses: ["10.0.2.20/24"] }));
    // The signal's own timer keeps no program.
    const signal = AbortSignal.timeout(300);
    await stack.resolve("shop.test", { signal }).catch(({ code }) => console.log(code));`;
  assert.equal(await outputOf(program), "ABORT_ERR");
});
