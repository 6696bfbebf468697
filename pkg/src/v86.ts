/** Virtual machines of v86 as ports. */

export { v86Port } from "./ports/v86.js";
export type { Port, V86Emulator, V86PortOptions } from "./types.js";
