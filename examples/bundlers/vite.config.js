import { defineConfig } from "vite";

export default defineConfig({
  build: { outDir: "dist/vite" },
  // The page in `static` is for the others.
  optimizeDeps: { entries: ["index.html"] },
});
