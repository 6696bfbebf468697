import wasm from "v86/build/v86.wasm?url";
import type { V86Library } from "./model/machine.js";

/** Loads v86, which only a page with a guest needs. */
export async function loadV86(): Promise<V86Library> {
  const { V86 } = await import("v86");
  return { V86: V86 as V86Library["V86"], wasm: new URL(wasm, import.meta.url).href };
}
