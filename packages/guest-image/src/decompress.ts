import { promisify } from "node:util";
import { gunzip, zstdDecompress } from "node:zlib";
import { TrineError, messageOf } from "@trine/base";
import { runTool } from "./run-tool.ts";

export interface DecompressOptions {
  /** What is decompressed, for messages. */
  readonly what: string;
  /** Of the result; more is refused. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

interface Format {
  readonly name: string;
  readonly magic: readonly number[];
  readonly unpack: (data: Uint8Array, options: DecompressOptions) => Promise<Buffer>;
}

const gunzipAll = promisify(gunzip);
const unzstdAll = promisify(zstdDecompress);

function tool(program: string, ...args: string[]): Format["unpack"] {
  return (input, { maxBytes, signal }) => runTool(program, args, { input, maxBytes, signal });
}

/** What kernels and modules are compressed with; the tools are of the packages of the same names. */
const FORMATS: readonly Format[] = [
  {
    name: "gzip",
    magic: [0x1f, 0x8b],
    unpack: (data, { maxBytes }) => gunzipAll(data, { maxOutputLength: maxBytes }),
  },
  {
    name: "zstd",
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    unpack: (data, { maxBytes }) => unzstdAll(data, { maxOutputLength: maxBytes }),
  },
  { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], unpack: tool("xz", "-dc") },
  // The kernel's LZ4 is the legacy frame.
  { name: "lz4", magic: [0x02, 0x21, 0x4c, 0x18], unpack: tool("lz4", "-dc") },
  { name: "bzip2", magic: [0x42, 0x5a, 0x68], unpack: tool("bzip2", "-dc") },
  { name: "lzma", magic: [0x5d, 0x00, 0x00], unpack: tool("xz", "--format=lzma", "-dc") },
];

/** What the first bytes say the data is compressed with. */
export function compressionOf(data: Uint8Array): string | undefined {
  return formatOf(data)?.name;
}

/**
 * The data decompressed. Kind `invalid` when nothing knows it or it is damaged, `unavailable` when the tool
 * for it is not installed, `exhausted` when it grows too large.
 */
export async function decompress(data: Uint8Array, options: DecompressOptions): Promise<Buffer> {
  const format = formatOf(data);
  if (format === undefined) {
    const start = Buffer.from(data.subarray(0, 6)).toString("hex");
    throw new TrineError(
      "invalid",
      `${options.what}: compressed in no known way (begins ${start})`,
    );
  }
  options.signal.throwIfAborted();
  try {
    return await format.unpack(data, options);
  } catch (cause) {
    options.signal.throwIfAborted();
    const doing = `${options.what}: decompress ${format.name}`;
    if (cause instanceof TrineError && cause.kind !== "internal") {
      throw TrineError.during(doing, cause);
    }
    throw new TrineError("invalid", `${doing}: ${messageOf(cause)}`, { cause });
  }
}

function formatOf(data: Uint8Array): Format | undefined {
  return FORMATS.find(({ magic }) => magic.every((byte, index) => data[index] === byte));
}
