/** What the package listens to by itself, such as for a DHCP server's answers: no reason for a program to wait. */

import { ListenerImpl } from "./listener.js";
import type { Listener, UdpSocket } from "./types.js";
import { UdpSocketImpl } from "./udp.js";

/** Lets a program end although this socket is open. */
export function inBackground<T extends UdpSocket | Listener>(socket: T): T {
  if (socket instanceof UdpSocketImpl || socket instanceof ListenerImpl) socket.runInBackground();
  return socket;
}
