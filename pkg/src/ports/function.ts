/** A port made of functions: for transports that this package has no port for. */

import * as check from "../arguments.js";
import { eachFrame, guarded } from "../engine_core.js";
import type { FunctionPort, FunctionPortOptions } from "../types.js";
import { ExternalPort } from "./port_base.js";

/** Makes a port from a function that takes frames; bring frames in with `receive`. */
export function functionPort(options: FunctionPortOptions): FunctionPort {
  const { send, closed, name, signal } = check.options("options", options);
  const sender = check.callback("options.send", send);
  if (sender === null) throw new TypeError("options.send must be a function, got undefined");
  const port = new FunctionPortImpl(
    name === undefined ? "functions" : check.string("options.name", name),
    sender.bind(options),
    check.callback("options.closed", closed)?.bind(options) ?? null,
  );
  port.closeOn(check.abortSignal("options.signal", signal));
  return port;
}

class FunctionPortImpl extends ExternalPort implements FunctionPort {
  readonly #send: (frame: Uint8Array) => void;
  readonly #closed: (() => void) | null;
  /** The batch is copied out of the module's memory, where a call from `send` could move it. */
  #batch = new Uint8Array(0);

  constructor(name: string, send: (frame: Uint8Array) => void, closed: (() => void) | null) {
    super(name);
    this.#send = send;
    this.#closed = closed;
  }

  onFrames(): void {
    for (let batch = this.take(); batch !== null; batch = this.take()) {
      if (this.#batch.byteLength < batch.byteLength) this.#batch = new Uint8Array(batch.byteLength);
      this.#batch.set(batch);
      eachFrame(this.#batch.subarray(0, batch.byteLength), (frame) => {
        guarded(() => this.#send(frame));
      });
    }
  }

  receive(frame: Uint8Array): boolean {
    return this.bring(check.bytes("frame", frame));
  }

  protected dispose(): void {
    if (this.#closed !== null) guarded(this.#closed);
  }
}
