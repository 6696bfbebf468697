/**
 * Entry point `ethertab/inline`: all of `ethertab`, with its WebAssembly in the script. For bundlers that lose files, and for
 * pages made of one file. Importing it once is enough for all entry points of the package.
 *
 * @module ethertab/inline
 */

import { engineModule } from "./engine.js";
import { unpack } from "./inline_text.js";
import { servicesModule } from "./services.js";
import { text as engine } from "./wasm/ethertab_inline.js";
import { text as services } from "./wasm/services_inline.js";

export * from "./index.js";

engineModule.carry(() => unpack(engine));
servicesModule.carry(() => unpack(services));
