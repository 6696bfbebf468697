/** A host in a worker. */

import { parentPort } from "node:worker_threads";
import { createStack, messagePort, plug } from "ethertab";

const stack = await createStack({ hostname: "worker" });
plug(stack.addInterface({ addresses: ["10.0.0.2/24"] }), messagePort(parentPort));
parentPort.postMessage("ready");
