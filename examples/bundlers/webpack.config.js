import { fileURLToPath } from "node:url";

export default {
  entry: "./src/main.js",
  output: { path: fileURLToPath(new URL("dist/webpack", import.meta.url)) },
  devServer: { static: "static" },
  // The WebAssembly is larger than what webpack expects of a page of text.
  performance: { hints: false },
};
