/** Copies what the package carries of the repository's top folder: licences and the changelog. npm calls it before it packs. */

import { copyFileSync } from "node:fs";

for (const file of ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"]) {
  copyFileSync(new URL(`../../${file}`, import.meta.url), new URL(`../${file}`, import.meta.url));
}
