/** The bodies of guests' requests, as `fetch` can take them. */

/** A body is too long to be held in memory, and the platform sends no streams. */
export class UploadTooLarge extends Error {
  override readonly name = "UploadTooLarge";
  constructor(limit: number) {
    super(`the platform cannot stream this upload, and it has more than ${limit} bytes`);
  }
}

/** How bodies are sent. */
export interface UploadSettings {
  /** Bytes that are held in memory where a body is not streamed. */
  bufferLimit: number;
  /** Whether a stream may be tried for this URL. */
  mayStream: boolean;
  /** Bytes that are worth holding to see whether that is all: a body with a known length is sent again in redirects, and to servers that take no stream. */
  collected: number;
}

/** Pieces of a body that came before it was known whether they were all. */
type Pieces = Uint8Array<ArrayBuffer>[];

/**
 * The body to give to `fetch`: all of it, or a stream.
 * @throws {UploadTooLarge} if it can be neither.
 */
export async function uploadOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  { bufferLimit, mayStream, collected }: UploadSettings,
): Promise<Blob | ReadableStream<Uint8Array<ArrayBuffer>>> {
  const limit = mayStream ? Math.min(collected, bufferLimit) : bufferLimit;
  const reader = body.getReader();
  const pieces: Pieces = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(pieces);
    pieces.push(value);
    size += value.byteLength;
    if (size > limit) break;
  }
  if (!mayStream) {
    const error = new UploadTooLarge(bufferLimit);
    reader.cancel(error).catch(() => {});
    throw error;
  }
  return rest(pieces, reader);
}

/** What has come, and what still comes. */
function rest(
  pieces: Pieces,
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const next = pieces.shift();
        if (next !== undefined) return controller.enqueue(next);
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
