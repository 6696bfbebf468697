/**
 * A stack in a worker, with the API of a stack: see `createStackWorker`, and `exposeStack` for the worker's script.
 *
 * ```js
 * // worker.js
 * import { exposeStack } from "ethertab/worker";
 * exposeStack();
 *
 * // the page
 * const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
 * const stack = await createStackWorker(worker, { hostname: "page" });
 * const nic = await stack.addInterface({ addresses: ["10.0.2.2/24"] });
 * lan.plug(nic);
 * const socket = stack.connect("10.0.2.15:80");
 * ```
 *
 * @module ethertab/worker
 */

export { exposeStack, type MessageScope, type StackSource } from "./hosted_stack.js";
export { createStackWorker, type WorkerStackOptions, type WorkerTarget } from "./remote_stack.js";
export type * from "./types.js";
