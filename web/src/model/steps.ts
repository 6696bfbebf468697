/** The commands that the page types for a newcomer, in the order in which they make sense. */

import { FILE_URL, SHOP } from "./vm_lab.js";

/** A button and what it types. */
export interface Step {
  label: string;
  command: string;
  /** Whether the guest needs an address first. */
  needsLease: boolean;
}

/** What a guest's web server shows. */
const PAGE = "<h1>Hello from inside the VM</h1>";

export const STEPS: readonly Step[] = [
  {
    label: "Run udhcpc",
    command: "udhcpc -i eth0 -n -q -t 5 -T 2 -O mtu -O domain -s /etc/udhcpc.sh",
    needsLease: false,
  },
  { label: "Ping the gateway", command: "ping -c 3 10.0.2.2", needsLease: true },
  { label: "Open shop.test", command: `wget -q -O - ${SHOP}`, needsLease: true },
  {
    label: "wget 50 MiB",
    command: `wget -O /tmp/50MiB ${FILE_URL} && sha256sum /tmp/50MiB; rm -f /tmp/50MiB`,
    needsLease: true,
  },
];

/** Starts busybox's web server; a second one would find its port taken, so the first is ended. */
export const START_WEB_SERVER: Step = {
  label: "Start the guest's web server",
  command:
    `killall httpd 2>/dev/null; mkdir -p /www; ` +
    `(echo '${PAGE}'; uname -a) > /www/index.html; httpd -p 80 -h /www && echo serving /www`,
  needsLease: true,
};
