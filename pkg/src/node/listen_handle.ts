/** A listener of the stack as a handle: see {@link TcpHandle}. */

import { AsyncResource } from "node:async_hooks";
import type { ListenerImpl } from "../listener.js";
import type { SocketImpl } from "../socket.js";
import type { Stack } from "../types.js";
import { codeOf } from "./errors.js";
import type { Hold, NodeHost } from "./host.js";
import { post } from "./phases.js";
import { type AddressInfo, addressInfo, TcpHandle } from "./tcp_handle.js";

/** Where a server listens. */
export interface ListenTarget {
  /** Null for all addresses of both families. */
  address: string | null;
  port: number;
  backlog: number;
  ipv6Only: boolean;
}

const ANY_IPV4 = "0.0.0.0";
const ANY_IPV6 = "::";

/** The context of what nobody has begun. */
const nobody = new AsyncResource("TCPWRAP");

/** The addresses that connections may come to. */
type Families = "IPv4" | "IPv6" | "both";

const isWildcard = (address: string) => address === ANY_IPV4 || address === ANY_IPV6;

function familiesOf(address: string, ipv6Only: boolean): Families {
  if (!address.includes(":")) return "IPv4";
  return address === ANY_IPV6 && !ipv6Only ? "both" : "IPv6";
}

/** The handles that listen, by their stacks: whose port is whose is told for all addresses and for one of them together, as systems do. */
const listening = new WeakMap<Stack, Set<ListenHandle>>();

export class ListenHandle {
  readonly #host: NodeHost;
  readonly #listener: ListenerImpl;
  readonly #address: AddressInfo;
  readonly #families: Families;
  readonly #resource = new AsyncResource("TCPSERVERWRAP");
  readonly #hold: Hold;
  readonly #backlog: number;
  /** Connections that wait for their task. */
  readonly #accepted: SocketImpl[] = [];
  #isClosed = false;
  onconnection: ((handle: TcpHandle) => void) | null = null;

  private constructor(host: NodeHost, listener: ListenerImpl, target: ListenTarget) {
    this.#host = host;
    this.#backlog = target.backlog;
    this.#listener = listener;
    const address = target.address ?? ANY_IPV6;
    this.#address = addressInfo({ address, port: listener.address?.port ?? 0 }, false);
    this.#families = familiesOf(address, target.ipv6Only);
    listener.runInBackground();
    listener.onready = () => this.#wake();
    this.#hold = host.hold();
    this.#hold.open = true;
  }

  /** Begins to listen; the code of an error says why not. */
  static listen(host: NodeHost, target: ListenTarget): ListenHandle | string {
    const { address, port, backlog } = target;
    const handles = listening.get(host.stack) ?? new Set();
    listening.set(host.stack, handles);
    for (const handle of handles) if (handle.#isInTheWayOf(target)) return "EADDRINUSE";
    const listener = host.stack.listen({
      port,
      backlog: Math.min(Math.max(1, backlog), 65_535),
      allowHalfOpen: true,
      hostname: address ?? ANY_IPV6,
      ipv6Only: target.ipv6Only,
    }) as ListenerImpl;
    if (listener.over !== null) return codeOf(listener.over);
    const handle = new ListenHandle(host, listener, target);
    handles.add(handle);
    return handle;
  }

  #isInTheWayOf({ address, port, ipv6Only }: ListenTarget): boolean {
    if (port !== this.#address.port) return false;
    const other = familiesOf(address ?? ANY_IPV6, ipv6Only);
    const isApart = other !== this.#families && other !== "both" && this.#families !== "both";
    return !isApart && (isWildcard(address ?? ANY_IPV6) || isWildcard(this.#address.address));
  }

  /**
   * Takes what has come at once, since a connection that is reset while it waits in the stack would never be seen, and systems do show
   * it. No more than the backlog wait here.
   */
  #wake(): void {
    if (this.#host.stack.over !== null) this.#hold.open = false;
    while (!this.#isClosed && this.#accepted.length < this.#backlog) {
      const socket = this.#listener.tryAccept() as SocketImpl | null;
      if (socket === null) return;
      this.#accepted.push(socket);
      post("poll", this.#task);
    }
  }

  /** One connection in a task. Its handle is nobody's work, and belongs to no asynchronous context. */
  readonly #task = (): void => {
    const socket = this.#accepted.shift();
    if (socket === undefined || this.#isClosed) return;
    const isDual = this.#families === "both";
    const handle = nobody.runInAsyncScope(() => TcpHandle.of(this.#host, socket, isDual));
    this.#resource.runInAsyncScope(() => this.onconnection?.(handle));
    this.#wake();
  };

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#hold.open = false;
    this.#listener.onready = null;
    listening.get(this.#host.stack)?.delete(this);
    void this.#listener.close();
    for (const socket of this.#accepted.splice(0)) socket.abort();
  }

  ref(): void {
    this.#hold.wanted = true;
  }

  unref(): void {
    this.#hold.wanted = false;
  }

  get local(): AddressInfo {
    return { ...this.#address };
  }
}
