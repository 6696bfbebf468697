// A gateway and one machine on a switch. The machine asks for an address and finds a web server of the gateway by its name, and the
// gateway fetches from the machine. The machine is a second stack here; `v86Port(emulator)` in its place plugs in a Linux.

import assert from "node:assert/strict";
import { createGateway, createStack, createSwitch } from "ethertab";

const gateway = await createGateway({ network: "10.0.2.0/24" });
gateway.serve("http://shop.test", async (request, { remote }) => {
  const { pathname } = new URL(request.url);
  return new Response(`${pathname} for ${remote.address}\n`);
});
gateway.addEventListener("request", ({ detail }) => console.log("request:", detail));

const machine = await createStack({ hostname: "machine" });
const nic = machine.addInterface({ dhcp: true });
const lan = await createSwitch();
lan.plug(gateway);
lan.plug(nic);

// The gateway lends the machine an address (DHCP), and knows it by its name from then on.
await nic.configured;
console.log("the machine's lease:", nic.lease);
const [hostname] = await machine.resolve("shop.test");
assert.equal(hostname, gateway.address);

// It fetches a page from there, over a socket.
const socket = machine.connect({ hostname, port: 80 }, { allowHalfOpen: true });
const writer = socket.writable.getWriter();
await writer.write(Buffer.from("GET /hats HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
const page = await new Response(socket.readable).text();
await writer.close();
console.log(page);
assert.match(page, /^HTTP\/1\.1 200 .*\n\/hats for 10\.0\.2\.\d+\n$/s);

// The machine has a web server of its own, for one request; the gateway knows its name.
const listener = machine.listen({ port: 8000 });
await listener.listening;
const served = listener.accept().then(async ({ readable, writable }) => {
  await readable.getReader().read();
  const server = writable.getWriter();
  await server.write(Buffer.from("HTTP/1.0 200 OK\r\n\r\nhello from the machine\n"));
  await server.close();
});
const response = await gateway.fetch("http://machine:8000/");
assert.equal(await response.text(), "hello from the machine\n");
console.log("http://machine:8000/ answered with", response.status);
await served;

console.log(gateway.counters().http);
await Promise.all([machine.close(), gateway.close()]);
lan.close();
