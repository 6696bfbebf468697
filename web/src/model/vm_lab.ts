/** The network of the guest: a switch, a gateway with web servers that are functions of the page, and a watch. */

import {
  type ConnectionInfo,
  createGateway,
  createSwitch,
  type Gateway,
  type Lease,
  type Port,
  type Switch,
  v86Port,
} from "ethertab";
import { type Readable, writable } from "svelte/store";
import { hex } from "./format.js";
import type { ConnectionRow, Lab } from "./lab.js";
import { type Machine, type StartOptions, startMachine } from "./machine.js";
import { pattern } from "./pattern.js";
import { Watch } from "./watch.js";

/** Where the guest finds the page's servers. */
export const SHOP = "http://shop.test/";
export const FILE_URL = "http://files.test/50MiB";
const FILE_SIZE = 50 * 1024 * 1024;
/** Pieces in which the file is handed to the stack. */
const FILE_PIECE = 64 * 1024;

/** What the guest's web server answered. */
export interface GuestResponse {
  url: string;
  status: number;
  statusText: string;
  headers: [name: string, value: string][];
  body: string;
}

/** See the module's comment. */
export class VmLab implements Lab {
  readonly gateway: Gateway;
  readonly watch: Watch;
  /** SHA-256 of the 50 MiB file; null until the file was made. */
  readonly fileSum: Readable<string | null>;
  /** What the page's own servers were asked and answered. */
  readonly served: Readable<string>;
  readonly #lan: Switch;
  readonly #fileSum = writable<string | null>(null);
  readonly #served = writable("");
  #file: Uint8Array<ArrayBuffer> | null = null;
  #machine: Machine | null = null;
  #port: Port | null = null;

  constructor(lan: Switch, gateway: Gateway) {
    this.#lan = lan;
    this.gateway = gateway;
    this.fileSum = this.#fileSum;
    this.served = this.#served;
    lan.plug(gateway);
    this.watch = new Watch(gateway);
    gateway.serve("http://shop.test", () => shopPage());
    gateway.serve("http://files.test", (request) => this.#serveFile(request));
    gateway.addEventListener("request", ({ detail }) => {
      this.#served.set(
        `${detail.remoteAddress}: ${detail.method} ${detail.url} → ${detail.status}`,
      );
    });
  }

  /** Starts a guest in place of the one that runs. */
  async start(options: StartOptions): Promise<Machine> {
    await this.stop();
    const machine = await startMachine(options);
    this.#machine = machine;
    this.#port = v86Port(machine.emulator, { name: "guest" });
    this.#lan.plug(this.#port);
    return machine;
  }

  /** Ends the guest. */
  async stop(): Promise<void> {
    this.#port?.close();
    this.#port = null;
    const machine = this.#machine;
    this.#machine = null;
    await machine?.stop();
  }

  /** Addresses that the gateway has given. */
  leases(): Lease[] {
    return this.gateway.leases().filter((lease) => lease.state !== "expired");
  }

  connections(): ConnectionRow[] {
    return this.gateway.stack
      .connections()
      .map((info: ConnectionInfo) => ({ host: "gateway", ...info }));
  }

  /** Asks the guest's own web server, as `fetch` would. */
  async fetchFromGuest(address: string): Promise<GuestResponse> {
    const url = `http://${address}/`;
    const response = await this.gateway.fetch(url, { signal: AbortSignal.timeout(10_000) });
    return {
      url,
      status: response.status,
      statusText: response.statusText,
      headers: [...response.headers],
      body: await response.text(),
    };
  }

  async close(): Promise<void> {
    await this.stop();
    this.watch.close();
    await this.gateway.close();
    this.#lan.close();
  }

  /** Makes the file unless there is one. It takes a moment, and its memory. */
  async file(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#file === null) {
      this.#file = pattern(FILE_SIZE);
      const digest = await crypto.subtle.digest("SHA-256", this.#file);
      this.#fileSum.set(hex(new Uint8Array(digest)));
    }
    return this.#file;
  }

  async #serveFile(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== "/50MiB") {
      return new Response(`There is one file here: ${FILE_URL}\n`, { status: 404 });
    }
    const file = await this.file();
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(file.subarray(at, at + FILE_PIECE));
        at += FILE_PIECE;
        if (at >= file.length) controller.close();
      },
    });
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(file.length),
    };
    return new Response(body, { headers });
  }
}

/** Makes the network without a guest. */
export async function createVmLab(): Promise<VmLab> {
  const [lan, gateway] = await Promise.all([
    createSwitch({ name: "lan" }),
    createGateway({ network: "10.0.2.0/24" }),
  ]);
  return new VmLab(lan, gateway);
}

function shopPage(): Response {
  const text = [
    "Hello, Linux!",
    "This answer comes from a function in the web page around you:",
    'gateway.serve("http://shop.test", (request) => new Response("..."))',
    "",
  ].join("\n");
  return new Response(text, { headers: { "content-type": "text/plain; charset=utf-8" } });
}
