import { echo, hello } from "./transfer.js";

/** Does both, and writes what came of it into the page. */
export async function show() {
  const result = document.querySelector("#result");
  try {
    result.textContent = `${await echo(1024 * 1024)} bytes came back; ${await hello()}`;
  } catch (error) {
    result.textContent = `failed: ${error.message}`;
  }
}
