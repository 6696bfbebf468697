/** Who waits for what: the message of a world in which nothing will happen any more. */

import type { HostImpl } from "./host.js";

/** Open sockets that are told of, each host. */
const MOST = 16;

/** A line for each operation that has not settled, and for each host that is dead. */
export function* waitsOf(hosts: Iterable<HostImpl>): Generator<string> {
  for (const host of hosts) {
    if (!host.isAlive) {
      yield `${host.name}: was killed, and what its program waits for never comes`;
      continue;
    }
    const open = host.stack.waits();
    for (const line of open.slice(0, MOST)) yield `${host.name}: ${line}`;
    if (open.length > MOST) yield `${host.name}: and ${open.length - MOST} more`;
  }
}
