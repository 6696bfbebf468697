// Methods of a stack in a worker are those of `Stack` and `Nic`, mapped to promises: they are documented there.
import { NIC_METHODS, STACK_METHODS } from "./dist/worker/protocol.js";

/** @type {Partial<import("typedoc").TypeDocOptions>} */
export default {
  name: "ethertab",
  entryPoints: [
    "src/index.ts",
    "src/gateway/index.ts",
    "src/node/index.ts",
    "src/testing/index.ts",
    "src/worker/index.ts",
    "src/inline.ts",
    "src/inline_tls.ts",
    "src/v86.ts",
  ],
  tsconfig: "tsconfig.docs.json",
  out: "dist/web/api",
  readme: "README.md",
  includeVersion: true,
  hideGenerator: true,
  navigationLinks: { "The page": "../index.html" },
  excludePrivate: true,
  excludeInternal: true,
  excludeExternals: true,
  disableSources: true,
  validation: { notExported: true, invalidLink: true, notDocumented: true },
  // What other types are made by; readers have no use for it.
  intentionallyNotExported: ["Made"],
  intentionallyNotDocumented: [
    ...STACK_METHODS.map((name) => `ethertab/worker.WorkerStack.${name}`),
    ...NIC_METHODS.map((name) => `ethertab/worker.WorkerNic.${name}`),
  ],
};
