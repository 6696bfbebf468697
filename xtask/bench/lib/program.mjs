// The WebAssembly benchmark programs.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

// Numbers of `Failure` in common/src/lib.rs.
const FAILURES = {
  1: "a byte arrived that is not the byte that was sent",
  2: "nothing moved any more",
  3: "the stack refused a call",
  4: "the program was called before setup",
};

/** Whether the program `name` has been built. */
export function hasProgram(folder, name) {
  return existsSync(path.join(folder, `${name}.wasm`));
}

/** A new instance of a program: its exports, and how those are called whose result says whether it went well. */
function instantiate(folder, name) {
  const module = new WebAssembly.Module(readFileSync(path.join(folder, `${name}.wasm`)));
  const { exports } = new WebAssembly.Instance(module, {});
  const call =
    (entry) =>
    (...args) => {
      const status = exports[entry](...args);
      if (status !== 0) {
        throw new Error(`${name}: ${entry}(${args.join(", ")}): ${FAILURES[status] ?? status}`);
      }
    };
  return { exports, call };
}

/** What the program "forward" does with packets, by the numbers of its `setup_forward`. */
const KINDS = { ipv4: 0, ipv6: 1, nat: 2 };

/** A new instance of the program "forward" with so many flows. */
export function startForward(folder, name, { kind, flows }) {
  const { exports, call } = instantiate(folder, name);
  call("setup_forward")(KINDS[kind], flows);
  return { packets: { work: call("forward") }, flowBytes: () => exports.flow_bytes() };
}

/** A new instance of the program `name` (such as "smoltcp.simd") with `idle` idle connections, or over IPv6 without. */
export function startProgram(folder, name, { bufferBytes, idle = 0, ipv6 = false }) {
  const { exports, call } = instantiate(folder, name);
  if (ipv6) call("setup_ipv6")(bufferBytes);
  else call("setup")(bufferBytes, idle);
  return {
    bulk: { work: call("bulk"), start: 1_000_000 },
    pingPong: { work: (rounds) => call("ping_pong")(rounds, 64) },
    connections: { work: call("connections") },
    liveBytes: () => exports.live_bytes(),
  };
}
