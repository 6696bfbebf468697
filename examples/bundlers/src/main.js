// Where the bundler finds `new URL(FILE, import.meta.url)` in a package and takes the file along, as Vite and webpack do,
// and without a bundler: nothing to do.

import { show } from "./show.js";

show();
