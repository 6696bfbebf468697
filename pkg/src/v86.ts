/**
 * Entry point `ethertab/v86`: virtual machines of v86 as ports, without the rest.
 *
 * @module ethertab/v86
 */

export { v86Port } from "./ports/v86.js";
export type { Port, V86Emulator, V86PortOptions } from "./types.js";
