import { Readable } from "node:stream";
import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { TrineError } from "@trine/base";
import type { ZipMember } from "@trine/disk-images";

const CHUNK_BYTES = 1024 * 1024;
/** A header of RFC 1952 without anything that is optional: deflate, no time, no name. */
const GZIP_HEADER = Buffer.from("1f8b0800000000000003", "hex");

/** The packed bytes of a file in a zip archive, as the program for their method reads them: a deflated one as gzip has it. */
export function memberStream(from: FileHandle, member: ZipMember): Readable {
  return Readable.from(packedBytes(from, member), { objectMode: false });
}

async function* packedBytes(from: FileHandle, member: ZipMember): AsyncGenerator<Buffer, void> {
  const isDeflated = member.method === "deflate";
  if (isDeflated) yield GZIP_HEADER;
  const end = member.offset + member.packedBytes;
  for (let at = member.offset; at < end;) {
    // Fresh: the pipe may still hold the last one.
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at));
    const { bytesRead } = await from.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new TrineError("conflict", "the file was changed while it was read");
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
  if (!isDeflated) return;
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(member.crc32, 0);
  trailer.writeUInt32LE(member.unpackedBytes % 2 ** 32, 4);
  yield trailer;
}

/** The unpacked bytes; kind `invalid` at once when there are more than was said, at their end when they are others or less. */
export async function* withSum(
  output: AsyncIterable<Buffer>,
  { unpackedBytes, crc32: wanted }: ZipMember,
): AsyncGenerator<Buffer, void> {
  let [at, sum] = [0, 0];
  for await (const chunk of output) {
    at += chunk.length;
    if (at > unpackedBytes)
      throw refused(`unpacks to more than the ${unpackedBytes} bytes it says`);
    sum = crc32(chunk, sum);
    yield chunk;
  }
  if (at < unpackedBytes) throw refused(`unpacks to ${at} of the ${unpackedBytes} bytes it says`);
  if (sum !== wanted) throw refused("unpacks to other bytes than its checksum says");
}

function refused(what: string): TrineError {
  return new TrineError("invalid", what);
}
