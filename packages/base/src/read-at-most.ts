import type { Readable } from "node:stream";

/** All bytes of a stream. With more than `maxBytes` it rejects with what `tooLong` makes, and the stream is destroyed. */
export async function readAtMost(
  stream: Readable,
  maxBytes: number,
  tooLong: () => Error,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop destroys the stream.
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
