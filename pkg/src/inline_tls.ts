/**
 * Entry point `ethertab/inline-tls`: the WebAssembly module for TLS in the script, beside `ethertab/inline`, which has the others. Importing it
 * once is enough.
 *
 * @module ethertab/inline-tls
 */

import { unpack } from "./inline_text.js";
import { tlsModule } from "./tls/module.js";
import { text } from "./wasm/tls_inline.js";

tlsModule.carry(() => unpack(text));
