// Where the bundler makes a URL of an import of a file: the engine is told where its modules are.

import { init } from "ethertab";
import wasm from "ethertab/ethertab.wasm";
import servicesWasm from "ethertab/services.wasm";
import { show } from "./show.js";

init({ wasm, servicesWasm }).then(show);
