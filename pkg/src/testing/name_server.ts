/**
 * The name server of a world: core's DNS server, which every host asks on its own loopback interface, as with the stub resolvers of Linux distributions. So names work
 * whatever the network looks like, by real questions and answers, which can be late or wrong.
 */

import { inBackground } from "../background.js";
import type { Services } from "../services.js";
import type { StackImpl } from "../stack.js";
import type { Datagram } from "../types.js";
import type { Host } from "./types.js";

/** Where hosts ask: a loopback address that programs have no reason to use themselves. */
export const SERVER_ADDRESS = "127.0.0.53";
const PORT = 53;
/** How long answers may be kept, in seconds: not at all, so that a fault counts at once. */
const TTL = 0;

/** What the module's server wants done: a message sent, or a question answered. */
type Action =
  | { message: Uint8Array<ArrayBuffer>; question?: undefined }
  | { message?: undefined; question: number; name: string; type: string };

/** What becomes of a question. */
export interface DnsVerdict {
  /** Milliseconds that the answer takes. */
  delay?: number;
  answer?: readonly string[] | "no such name" | "server failure" | "no answer";
}

/** What the name server needs of its world. */
export interface NameWorld {
  /** The addresses of a name, null if there is no such name. */
  lookup(name: string): readonly string[] | null;
  /** Whether something is wrong with the answer. */
  judge(name: string, host: Host): DnsVerdict;
  later(callback: () => void, delay: number): void;
  /** A name in one's own tree of the addresses' (RFC 1035 §3.5). */
  reverse(name: string): string | null;
}

/** See the module's comment. */
export class NameServer {
  readonly #services: Services;
  readonly #world: NameWorld;

  constructor(services: Services, world: NameWorld) {
    this.#services = services;
    this.#world = world;
    services.call((wasm) => wasm.create_dns(TTL));
  }

  /** Answers questions that come to a host's port 53. */
  serve(stack: StackImpl, host: Host, hostname?: string): void {
    const socket = inBackground(stack.bindUdp({ port: PORT, ...(hostname && { hostname }) }));
    socket.onready = () => {
      for (;;) {
        const question = this.#services.over === null ? socket.tryReceive() : null;
        if (question === null) return;
        this.#answer(question, host, (message) => {
          if (message === undefined || stack.over !== null) return;
          const { remoteAddress, remotePort, localAddress, nic } = question;
          const way = nic === null ? {} : { nic };
          socket.send(message, { remoteAddress, remotePort, localAddress, ...way });
        });
      }
    };
  }

  #answer(
    { data, remoteAddress, remotePort }: Datagram,
    host: Host,
    reply: (message: Uint8Array<ArrayBuffer> | undefined) => void,
  ): void {
    const action = this.#services.row<Action>((wasm, now) =>
      wasm.handle_dns(now, remoteAddress, remotePort, data, false),
    );
    if (action === null) return;
    if (action.question === undefined) {
      reply(action.message);
      return;
    }
    const { question, name, type } = action;
    const { delay = 0, answer } = this.#world.judge(name, host);
    const give = (): void => {
      if (this.#services.over !== null) return;
      const [lines, outcome] = this.#outcome(name, type, answer);
      const message = this.#services.call((wasm) => wasm.answer_dns(question, lines, outcome, TTL));
      if (answer !== "no answer") reply(message as Uint8Array<ArrayBuffer> | undefined);
    };
    if (delay > 0) this.#world.later(give, delay);
    else give();
  }

  /** The data of the answer's records, and the failure that it tells if it does. */
  #outcome(name: string, type: string, wrong: DnsVerdict["answer"]): [string, string] {
    if (wrong === "no such name") return ["", "nxdomain"];
    if (wrong === "server failure") return ["", "servfail"];
    if (type === "PTR") {
      const target = this.#world.reverse(name);
      return target === null ? ["", "nxdomain"] : [`${target}\n`, ""];
    }
    const addresses = Array.isArray(wrong) ? wrong : this.#world.lookup(name);
    if (addresses === null) return ["", "nxdomain"];
    const isWanted = (address: string): boolean => type === (address.includes(":") ? "AAAA" : "A");
    return [
      (addresses as string[])
        .filter(isWanted)
        .map((line) => `${line}\n`)
        .join(""),
      "",
    ];
  }
}
