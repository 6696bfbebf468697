// With any bundler, and for pages made of one file: the WebAssembly is in the script.

import "ethertab/inline";
import { show } from "./show.js";

show();
