/** What the package listens to by itself, such as for a DHCP server's answers: no reason for a program to wait. */

import { FlowTaker } from "./flows.js";
import { ListenerImpl } from "./listener.js";
import type { AnyAddress, Listener, UdpSocket } from "./types.js";
import { UdpSocketImpl } from "./udp.js";

/** Lets a program end although this socket is open. */
export function inBackground<T extends UdpSocket | Listener | AnyAddress>(socket: T): T {
  const isOwn = [UdpSocketImpl, ListenerImpl, FlowTaker].some((kind) => socket instanceof kind);
  if (isOwn) (socket as unknown as { runInBackground(): void }).runInBackground();
  return socket;
}
