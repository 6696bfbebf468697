// Node, Deno and Bun find the files by themselves.

import { echo, hello } from "./transfer.js";

console.log(`${await echo(1024 * 1024)} bytes came back; ${await hello()}`);
