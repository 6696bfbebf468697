// Node's own http over a simulated network: a server on one host, requests from another, names by the network's DNS.

import assert from "node:assert/strict";
import { createServer, get } from "node:http";
import { createEngine, createGateway, createStack, createSwitch } from "ethertab";
import { createDns, createHttpAgent, createNet } from "ethertab/node";

const engine = await createEngine();
const lan = await createSwitch({ engine });
const gateway = await createGateway({
  engine,
  network: "10.0.2.0/24",
  dns: { hosts: { "shop.test": ["10.0.2.10"] } },
});
lan.plug(gateway);

const shop = await createStack({ hostname: "shop", engine });
lan.plug(shop.addInterface({ addresses: ["10.0.2.10/24"], gateway: gateway.address }));
const visitor = await createStack({ hostname: "visitor", engine });
const nic = visitor.addInterface({ dhcp: true });
lan.plug(nic);
await nic.configured;

// An http.Server takes connections from anywhere: those of the stack's net are given to it.
const web = createServer((request, response) =>
  response.end(`hello from ${request.headers.host}\n`),
);
const net = createNet(shop).createServer((socket) => web.emit("connection", socket));
net.listen(80);

const dns = createDns(visitor);
console.log("shop.test is", (await dns.promises.lookup("shop.test")).address);

const agent = createHttpAgent(visitor, { keepAlive: true });
const response = await new Promise((resolve, reject) => {
  get("http://shop.test/", { agent }, resolve).on("error", reject);
});
let text = "";
for await (const chunk of response.setEncoding("utf8")) text += chunk;
console.log(response.statusCode, text.trim());
assert.equal(text, "hello from shop.test\n");

// Errors are those of node:net.
createNet(visitor)
  .connect(81, "10.0.2.10")
  .on("error", (error) => console.log(error.message))
  .on("close", () => {
    agent.destroy();
    web.close();
    net.close();
    engine.close();
  });
