/** What the page does, and Node: moves bytes between two stacks, and fetches a page from a gateway. */

import { createCable, createGateway, createStack, plug } from "ethertab";

/** Sends `length` bytes over a cable to a host that sends them back; resolves to how many came back unchanged. */
export async function echo(length) {
  const [a, b] = await Promise.all([createStack(), createStack()]);
  const cable = await createCable({ latency: "1ms" });
  plug(a.addInterface({ addresses: ["10.0.0.1/24"] }), cable.a);
  plug(b.addInterface({ addresses: ["10.0.0.2/24"] }), cable.b);

  const listener = b.listen({ port: 7 });
  await listener.listening;
  (async () => {
    for await (const peer of listener) peer.readable.pipeTo(peer.writable);
  })();

  const socket = a.connect("10.0.0.2:7");
  const sent = Uint8Array.from({ length }, (_, index) => (index * 31) ^ (index >> 8));
  const writer = socket.writable.getWriter();
  writer.write(sent).then(() => writer.close());
  const came = new Uint8Array(await new Response(socket.readable).arrayBuffer());
  await Promise.all([a.close(), b.close()]);
  return came.findIndex((byte, index) => byte !== sent[index]) < 0 ? came.length : 0;
}

/** Asks a web server that is a function, through a gateway: its DHCP, DNS and HTTP are a WebAssembly module of their own. */
export async function hello() {
  const gateway = await createGateway({ network: "10.0.2.0/24" });
  gateway.serve("http://shop.test", (request) => new Response(`hello, ${request.url}`));
  const guest = await createStack();
  const nic = guest.addInterface({ dhcp: true });
  plug(gateway.port, nic);
  await nic.configured;
  const socket = guest.connect("shop.test:80");
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode("GET /x HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
  const response = await new Response(socket.readable).text();
  await Promise.all([guest.close(), gateway.close()]);
  return response.slice(response.indexOf("\r\n\r\n") + 4);
}
