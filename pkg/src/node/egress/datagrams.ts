/** A guest's UDP flow by a socket of this computer. */

import dgram from "node:dgram";
import type { EgressDatagrams, EgressUdpFlow } from "../../gateway/egress/types.js";
import { codeOf, UNREACHABLE } from "./reasons.js";

/** What becomes of flows of datagrams. */
export interface DatagramHooks {
  /** A datagram could not be sent, or the guest not take it. */
  dropped(): void;
  /** The host has said that nobody has the port. */
  refused(address: string): void;
  /** There is no way to the host, as this computer says. */
  unreachable(): void;
}

/** Carries a flow, until one side ends it, to the first of some addresses to which there is a way. Returns how it is ended. */
export function carryDatagrams(
  flow: EgressUdpFlow,
  addresses: readonly string[],
  hooks: DatagramHooks,
): () => void {
  const [address = "", ...others] = addresses;
  const host = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
  let guest: EgressDatagrams | null = null;
  let isClosed = false;
  let end = (): void => {
    if (isClosed) return;
    isClosed = true;
    flow.signal.removeEventListener("abort", close);
    host.close();
  };
  const close = (): void => end();
  const fail = (error: Error): void => {
    if (isClosed) return;
    close();
    const code = codeOf(error);
    const reason = UNREACHABLE[code];
    if (guest === null && reason !== undefined && others.length > 0) {
      end = carryDatagrams(flow, others, hooks);
      return;
    }
    if (code === "ECONNREFUSED") hooks.refused(address);
    if (guest !== null) {
      void guest.close();
      return;
    }
    quietly(() => (reason === undefined ? flow.refuse() : flow.unreachable(reason)));
    if (reason !== undefined) hooks.unreachable();
  };
  const sendAll = (from: EgressDatagrams): void => {
    for (let next = from.tryReceive(); next !== null && !isClosed; next = from.tryReceive()) {
      host.send(next.data, (error) => {
        if (error === null || error === undefined) return;
        hooks.dropped();
        if (codeOf(error) === "ECONNREFUSED") fail(error);
      });
    }
  };
  flow.signal.addEventListener("abort", close, { once: true });
  host.on("error", fail);
  host.on("message", (data) => {
    try {
      guest?.send(data);
    } catch {
      hooks.dropped();
    }
  });
  // Node gives a failure to the callback, which its types do not know, and not to `error`.
  host.connect(flow.local.port, address, (error?: Error | null) => {
    if (isClosed) return;
    if (error) return fail(error);
    const taken = quietly(() => flow.accept());
    if (taken === null) return close();
    guest = taken;
    taken.onready = sendAll;
    // That the guest listens no more, the host finds out by its next datagram.
    taken.onerror = () => void taken.close();
    sendAll(taken);
  });
  return close;
}

/** Decides on a flow whose guest may have given up, or for which there is no room; null if it was not to be. */
function quietly<T>(decide: () => T): T | null {
  try {
    return decide();
  } catch {
    return null;
  }
}
