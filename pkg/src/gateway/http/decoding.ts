/** Bodies as they were before their content coding (RFC 9110 §8.4), where the platform can undo it. */

type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>;

/** What `DecompressionStream` calls the codings. Not every platform has Brotli, nor one name for it. */
const FORMATS: Readonly<Record<string, readonly string[]>> = {
  gzip: ["gzip"],
  "x-gzip": ["gzip"],
  br: ["brotli", "br"],
};
/** In the first byte of the zlib format: deflate (RFC 1950 §2.2). */
const ZLIB_METHOD = 8;

/**
 * A body without its codings, which are in the order in which they were applied. With one that is not known it is left as it is, as `fetch` does.
 * `failed` makes of an error what the reader sees.
 */
export function decoded(
  body: Bytes,
  codings: readonly string[],
  failed: (error: unknown) => unknown,
): Bytes {
  const undo = codings.filter((coding) => coding !== "identity").map(decoderOf);
  if (undo.length === 0 || undo.includes(null)) return body;
  let output: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          // Not before somebody reads: it takes pieces ahead.
          output ??= undo.reduceRight((from, decoder) => decoder?.(from) ?? from, body).getReader();
          const { value } = await output.read();
          if (value === undefined) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          controller.error(failed(error));
        }
      },
      cancel: (reason) => (output ?? body).cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function decoderOf(coding: string): ((body: Bytes) => Bytes) | null {
  if (coding === "deflate") return inflated;
  for (const format of FORMATS[coding] ?? []) {
    try {
      const decoder = decompressor(format);
      return (body) => body.pipeThrough(decoder);
    } catch {
      // The platform has no such format.
    }
  }
  return null;
}

function decompressor(
  format: string,
): ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  return new DecompressionStream(format as CompressionFormat) as ReadableWritablePair<
    Uint8Array<ArrayBuffer>,
    Uint8Array<ArrayBuffer>
  >;
}

/** RFC 9110 §8.4.1.2: "deflate" is zlib's format, but some servers send it without that. The first byte tells. */
function inflated(body: Bytes): Bytes {
  const source = body.getReader();
  let first: Uint8Array<ArrayBuffer> | undefined;
  let output: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  const begin = async () => {
    first = (await source.read()).value;
    const isZlib = ((first?.[0] ?? ZLIB_METHOD) & 15) === ZLIB_METHOD;
    const input: Bytes = new ReadableStream({
      async pull(controller) {
        const piece = first ?? (await source.read()).value;
        first = undefined;
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
      cancel: (reason) => source.cancel(reason),
    });
    return input.pipeThrough(decompressor(isZlib ? "deflate" : "deflate-raw")).getReader();
  };
  return new ReadableStream(
    {
      async pull(controller) {
        output ??= await begin();
        const { value } = await output.read();
        if (value === undefined) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => (output ?? source).cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
