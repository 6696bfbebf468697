/**
 * Node's network modules over a stack, so that existing libraries run over it.
 *
 * @module
 */

export { createNet, type Net } from "./net.js";
