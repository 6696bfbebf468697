import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative: the page works from any path, with no network but its own server.
  base: "./",
  plugins: [svelte()],
  build: {
    target: "es2022",
    // Of what is bundled: for those who publish the page.
    license: { fileName: "licenses.md" },
    // v86 alone is larger than the limit that is meant for pages of text.
    chunkSizeWarningLimit: 1000,
  },
});
