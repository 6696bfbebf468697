/** What both threads know of each other. */

import type { ChannelPort } from "../platform.js";
import type { StackOptions } from "../types.js";

/** Marks the message by which a thread asks for a stack. */
export const HELLO = "ethertab:stack";

/** The message by which a thread asks for a stack. */
export interface Hello {
  [HELLO]: {
    port: ChannelPort;
    options: StackOptions;
  };
}

/** The first message that comes back. */
export type Welcome =
  | { refused: unknown }
  | {
      hostname: string;
      /** A lock that the worker holds as long as it lives, where there are locks. */
      lock: string | null;
    };

/** What is known of an interface from the first. */
export interface NicInfo {
  number: number;
  name: string;
  mac: string;
  mtu: number;
}

/** Methods of a stack that take and give what can be copied. */
export const STACK_METHODS = [
  "routes",
  "addRoute",
  "removeRoute",
  "setNat",
  "natFlows",
  "forwardPort",
  "unforwardPort",
  "portForwards",
  "addNeighbor",
  "ping",
  "resolve",
  "resolveRecords",
  "connections",
  "setTcpOptions",
  "tcpSettings",
  "neighbors",
  "counters",
  "close",
] as const;

/** Those of an interface. */
export const NIC_METHODS = [
  "addressInfo",
  "addAddress",
  "removeAddress",
  "setForwarding",
  "forwarding",
  "advertise",
  "joinGroup",
  "leaveGroup",
  "setGroupQuerier",
  "unplug",
  "close",
] as const;

/** What it tells as properties. */
export const NIC_PROPERTIES = ["addresses", "lease", "lease6", "counters", "isPlugged"] as const;
