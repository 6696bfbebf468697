/** The time server of a gateway: core's, on UDP port 123, with the engine's clock. */

import { inBackground } from "../background.js";
import type { EngineCore } from "../engine_core.js";
import type { Services } from "../services.js";
import type { Stack, UdpSocket } from "../types.js";

const PORT = 123;

/** The answer to a question about the time; undefined for what is no question. */
export function timeAnswer(services: Services, question: Uint8Array): Uint8Array | undefined {
  return services.call((wasm) => wasm.answer_time(question, Date.now()));
}

/** Answers SNTP, so that a guest that was restored from a snapshot can set its clock. */
export function serveTime(
  stack: Stack,
  services: Services,
  failed: (error: unknown) => void,
): UdpSocket {
  const engine = stack.engine as EngineCore;
  const socket = inBackground(stack.bindUdp({ port: PORT }));
  socket.onready = () => {
    for (;;) {
      const question = services.over === null ? socket.tryReceive() : null;
      if (question === null) return;
      try {
        const answer = services.call((wasm) => wasm.answer_time(question.data, engine.date()));
        if (answer === undefined) continue;
        const { remoteAddress, remotePort, localAddress } = question;
        socket.send(answer as Uint8Array<ArrayBuffer>, { remoteAddress, remotePort, localAddress });
      } catch (error) {
        failed(error);
      }
    }
  };
  return socket;
}
