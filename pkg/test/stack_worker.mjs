/** A worker whose stack others use; told by its data how it is joined to the network of the test. */

import { workerData } from "node:worker_threads";
import { createStack } from "ethertab";
import { exposeStack } from "ethertab/worker";

if (workerData?.refuses) exposeStack(() => Promise.reject(new RangeError("no stack today")));
else if (workerData?.throws) throw new Error("a broken script");
else exposeStack((options) => createStack(options));
