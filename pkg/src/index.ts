/**
 * ethertab: a TCP/IP stack in a page, a worker or a program, with sockets in the shape of the platform.
 *
 * ```js
 * const stack = await createStack({ hostname: "page" });
 * const nic = stack.addInterface({ addresses: ["10.0.2.2/24", "fd00::2/64"] });
 * const lan = await createSwitch();
 * lan.plug(nic);
 * lan.plug(v86Port(emulator));
 * const socket = stack.connect({ hostname: "10.0.2.15", port: 80 });
 * ```
 *
 * @module ethertab
 */

export { capture } from "./capture.js";
export type * from "./direct/index.js";
export { createDirectSockets } from "./direct/index.js";
export { createEngine, init } from "./engine.js";
export {
  EngineError,
  SocketError,
  type SocketErrorCode,
  type SocketErrorOptions,
  type TlsErrorCode,
} from "./errors.js";
export * from "./gateway/index.js";
export { createCable, plug } from "./plug.js";
export { functionPort } from "./ports/function.js";
export { broadcastPort, messagePort } from "./ports/message.js";
export { qemuPort } from "./ports/qemu.js";
export { replayPort } from "./ports/replay.js";
export { streamPort } from "./ports/stream.js";
export { v86Port } from "./ports/v86.js";
export { webSocketPort } from "./ports/web_socket.js";
export { createStack } from "./stack.js";
export { createSwitch } from "./switch.js";
export { createAuthority } from "./tls/authority.js";
export type { StreamPair } from "./tls/transport.js";
export {
  type AcceptTlsOptions,
  acceptTls,
  type WrapOptions,
  type WrapTlsOptions,
  wrapTls,
} from "./tls/wrap.js";
export type * from "./types.js";
