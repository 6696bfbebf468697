/** A transfer of bytes between two stacks over one TCP connection. */

import type { Socket, Stack } from "ethertab";
import { PatternCheck, pattern } from "./pattern.js";

/** How far a transfer is. */
export interface TransferProgress {
  /** Bytes that the receiver has and has checked. */
  received: number;
  total: number;
  /** Milliseconds since the connection was asked for. */
  elapsed: number;
}

/** A transfer that runs. */
export interface Transfer {
  progress(): TransferProgress;
  /** The sender's end. */
  readonly socket: Socket;
  /** Resolves when every byte has arrived as it was sent, with the figures of that moment. */
  readonly done: Promise<TransferProgress>;
}

/** One block, sent again and again; its length is prime, so that it falls in step with no segment or buffer. */
const BLOCK = pattern(1_048_573);
const PORT = 5001;
const PIECE = 64 * 1024;

/** Sends `total` bytes to `address`, which must be one of the receiver's. */
export function transfer(
  sender: Stack,
  receiver: Stack,
  address: string,
  total: number,
  signal: AbortSignal,
): Transfer {
  const begin = performance.now();
  const check = new PatternCheck(BLOCK);
  const progress = (): TransferProgress => ({
    received: check.received,
    total,
    elapsed: performance.now() - begin,
  });
  const listener = receiver.listen({ port: PORT });
  const socket = sender.connect({ hostname: address, port: PORT }, { signal });
  const run = async (): Promise<TransferProgress> => {
    try {
      const [end] = await Promise.all([receive(), send(socket, total)]);
      return end;
    } catch (error) {
      socket.abort();
      throw error;
    } finally {
      await listener.close();
    }
  };
  const receive = async (): Promise<TransferProgress> => {
    await listener.listening;
    const peer = await listener.accept({ signal });
    for await (const piece of peer.readable) check.add(piece);
    if (check.received !== total) {
      throw new Error(`${check.received} of ${total} bytes arrived`);
    }
    return progress();
  };
  return { progress, socket, done: run() };
}

async function send(socket: Socket, total: number): Promise<void> {
  // Whoever waits for `done` learns of a failure there.
  socket.closed.catch(() => {});
  await socket.opened;
  const writer = socket.writable.getWriter();
  for (let sent = 0; sent < total; ) {
    const at = sent % BLOCK.length;
    const piece = BLOCK.subarray(at, Math.min(at + PIECE, at + total - sent));
    await writer.write(piece);
    sent += piece.length;
  }
  await writer.close();
}
