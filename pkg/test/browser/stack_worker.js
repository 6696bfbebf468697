/** A worker whose stacks the page uses. */

import { exposeStack } from "/dist/worker/index.js";

exposeStack();
