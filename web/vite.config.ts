import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative: the page works from any path, with no network but its own server.
  base: "./",
  plugins: [svelte()],
  build: {
    target: "es2022",
    // v86 alone is larger than the limit that is meant for pages of text.
    chunkSizeWarningLimit: 1000,
  },
});
