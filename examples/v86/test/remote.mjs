/**
 * The other process of the WebSocket scenario: a gateway behind a hub.
 *
 *   node test/remote.mjs HUB-URL
 *
 * Prints "ready" when it serves and ends when its standard input does.
 */
import { plug, webSocketPort } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { WebSocket } from "ws";
import { bytes, FILE, GATEWAY } from "./data.mjs";

const gateway = await createGateway(GATEWAY);
const data = bytes(FILE.length, FILE.seed);
gateway.serve("http://shop.test", () => new Response(data));
const relay = webSocketPort(new WebSocket(process.argv[2]));
await relay.opened;
plug(gateway, relay);
console.log("ready");

process.stdin.resume().once("end", () => process.exit(0));
