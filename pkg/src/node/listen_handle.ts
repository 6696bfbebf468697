/** A listener of the stack as a handle: see {@link TcpHandle}. */

import { AsyncResource } from "node:async_hooks";
import type { ListenerImpl } from "../listener.js";
import type { SocketImpl } from "../socket.js";
import type { Stack } from "../types.js";
import { codeOf } from "./errors.js";
import type { Hold, NodeHost } from "./host.js";
import { post } from "./phases.js";
import { type AddressInfo, addressInfo, bareAddress, TcpHandle } from "./tcp_handle.js";

/** Where a server listens. */
export interface ListenTarget {
  /** Null for all addresses of both families. */
  address: string | null;
  port: number;
  backlog: number;
  ipv6Only: boolean;
  /** Others that say so, too, may have the same port. */
  reusePort: boolean;
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
  /** Of an IPv4 address that is written as one of IPv6. */
  readonly #isMapped: boolean;
  readonly #resource = new AsyncResource("TCPSERVERWRAP");
  readonly #hold: Hold;
  readonly #backlog: number;
  readonly #reusesPort: boolean;
  /** The handles that share the listener, this one among them, in the order in which they are given connections. */
  readonly #sharers: ListenHandle[];
  /** Connections that wait for their task. */
  readonly #accepted: SocketImpl[] = [];
  #isClosed = false;
  /** Called with no error, as libuv does: what counts comes second. */
  onconnection: ((error: 0, handle: TcpHandle) => void) | null = null;

  private constructor(
    host: NodeHost,
    listener: ListenerImpl,
    target: ListenTarget,
    sharers: ListenHandle[],
  ) {
    this.#host = host;
    this.#backlog = target.backlog;
    this.#listener = listener;
    const address = (target.address ?? ANY_IPV6).replace(/%.*/, "");
    this.#address = addressInfo({ address, port: listener.address?.port ?? 0 }, false);
    this.#families = familiesOf(bareAddress(address), target.ipv6Only);
    this.#isMapped = address.includes(":") && this.#families === "IPv4";
    this.#sharers = sharers;
    this.#reusesPort = target.reusePort;
    sharers.push(this);
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
    if (target.reusePort) {
      const sharer = [...handles].find((handle) => handle.#shares(target));
      if (sharer !== undefined) {
        const handle = new ListenHandle(host, sharer.#listener, target, sharer.#sharers);
        handles.add(handle);
        return handle;
      }
    }
    for (const handle of handles) if (handle.#isInTheWayOf(target)) return "EADDRINUSE";
    const listener = host.stack.listen({
      port,
      backlog: Math.min(Math.max(1, Math.trunc(Number(backlog)) || 0), 65_535),
      allowHalfOpen: true,
      hostname: bareAddress(address ?? ANY_IPV6),
      ipv6Only: target.ipv6Only,
    }) as ListenerImpl;
    if (listener.over !== null) return codeOf(listener.over);
    const handle = new ListenHandle(host, listener, target, []);
    handles.add(handle);
    return handle;
  }

  /** Whether a server has this port, so that no connection can be made from it. */
  static isListening(host: NodeHost, address: string, port: number): boolean {
    const target = { address, port, backlog: 0, ipv6Only: false, reusePort: false };
    const handles = [...(listening.get(host.stack) ?? [])];
    return handles.some(
      (handle) =>
        handle.#isInTheWayOf(target) ||
        (handle.#address.port === port && bareAddress(handle.#address.address) === address),
    );
  }

  #shares({ address, port, ipv6Only }: ListenTarget): boolean {
    const bare = bareAddress(address ?? ANY_IPV6);
    return (
      this.#reusesPort &&
      port === this.#address.port &&
      bare === bareAddress(this.#address.address) &&
      familiesOf(bare, ipv6Only) === this.#families
    );
  }

  #isInTheWayOf({ address, port, ipv6Only }: ListenTarget): boolean {
    if (port !== this.#address.port) return false;
    const other = familiesOf(bareAddress(address ?? ANY_IPV6), ipv6Only);
    const isApart = other !== this.#families && other !== "both" && this.#families !== "both";
    return (
      !isApart &&
      (isWildcard(bareAddress(address ?? ANY_IPV6)) ||
        isWildcard(bareAddress(this.#address.address)))
    );
  }

  /**
   * Takes what has come at once, since a connection that is reset while it waits in the stack would never be seen, and systems do show
   * it. No more than the backlog wait here.
   */
  #wake(): void {
    if (this.#host.stack.over !== null)
      for (const handle of this.#sharers) handle.#hold.open = false;
    for (;;) {
      const next = this.#sharers.find((handle) => handle.#accepted.length < handle.#backlog);
      const socket = next === undefined ? null : (this.#listener.tryAccept() as SocketImpl | null);
      if (next === undefined || socket === null) return;
      next.#accepted.push(socket);
      post("poll", next.#task);
      this.#sharers.push(...this.#sharers.splice(this.#sharers.indexOf(next), 1));
    }
  }

  /** One connection in a task. Its handle is nobody's work, and belongs to no asynchronous context. */
  readonly #task = (): void => {
    const socket = this.#accepted.shift();
    if (socket === undefined || this.#isClosed) return;
    const isDual = this.#families === "both" || this.#isMapped;
    const handle = nobody.runInAsyncScope(() => TcpHandle.of(this.#host, socket, isDual));
    this.#resource.runInAsyncScope(() => this.onconnection?.(0, handle));
    this.#wake();
  };

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#hold.open = false;
    listening.get(this.#host.stack)?.delete(this);
    this.#sharers.splice(this.#sharers.indexOf(this), 1);
    const [successor] = this.#sharers;
    if (successor !== undefined) {
      this.#listener.onready = () => successor.#wake();
    } else {
      this.#listener.onready = null;
      void this.#listener.close();
    }
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
