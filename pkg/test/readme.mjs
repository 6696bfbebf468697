/** The snippets of a README as programs, each in the world that it takes for granted. */

import { readFile } from "node:fs/promises";

/** Longer than a snippet takes that ends; those that wait for events for ever have begun by then. */
const PATIENCE = 1_500;

/** The blocks of JavaScript in a file, with the heading and the line that they are under. */
export async function snippets(file) {
  const found = [];
  let heading = "";
  let block = null;
  const lines = (await readFile(file, "utf8")).split("\n");
  for (const [index, line] of lines.entries()) {
    if (block !== null) {
      if (line.startsWith("```")) block = null;
      else block.text += `${line}\n`;
    } else if (line.startsWith("```js")) {
      block = { heading, line: index + 2, text: "" };
      found.push(block);
    } else if (line.startsWith("#")) {
      heading = line.replace(/^#+ /, "");
    }
  }
  return found;
}

/** A module that runs a snippet; `world` is the module that makes what it takes for granted. */
export function programOf({ heading, text }, world) {
  const imports = [];
  const body = text.replace(/^import .*;.*$/gm, (line) => {
    imports.push(line);
    return "";
  });
  const own = imports.flatMap((line) => /\{(.*?)\}/.exec(line)?.[1].split(",") ?? []);
  const names = JSON.stringify(own.map((name) => name.trim()));
  return `${imports.join("\n")}
import * as ethertab from "ethertab";
import { world } from "${world}";

// What the snippet does not import or make is an export of the package, or something of the world.
const given = { ...ethertab, ...(await world(${JSON.stringify(heading)})) };
for (const [name, value] of Object.entries(given)) {
  if (!${names}.includes(name)) globalThis[name] = value;
}
const snippet = async () => {
${body}
};
await Promise.race([snippet(), new Promise((resolve) => setTimeout(resolve, ${PATIENCE}))]);
process.exit(0);
`;
}
