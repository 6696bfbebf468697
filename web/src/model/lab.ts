/** What the panels need to know of a network, whichever it is. */

import type { ConnectionInfo } from "ethertab";
import type { Watch } from "./watch.js";

/** A connection and the host whose view of it this is. */
export interface ConnectionRow extends ConnectionInfo {
  host: string;
}

/** A network to be looked at. */
export interface Lab {
  readonly watch: Watch;
  connections(): ConnectionRow[];
}
