import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { TrineError, quote } from "@trine/base";
import type { OnProgress } from "../limits.ts";

export interface Checksum {
  readonly algorithm: "sha1" | "sha256" | "sha512";
  readonly hex: string;
}

const HEX_LENGTH = { sha256: 64, sha512: 128 } as const;
const CHUNK_BYTES = 1024 * 1024;

/** `sha256:HEX` or `sha512:HEX`; kind `invalid` for others. */
export function parseChecksum(text: string): Checksum {
  const [, algorithm, hex = ""] = /^(sha256|sha512):([0-9a-fA-F]+)$/.exec(text) ?? [];
  if ((algorithm === "sha256" || algorithm === "sha512") && hex.length === HEX_LENGTH[algorithm]) {
    return { algorithm, hex: hex.toLowerCase() };
  }
  throw new TrineError("invalid", `checksum ${quote(text)}: sha256:HEX or sha512:HEX is wanted`);
}

/** Kind `invalid` when the bytes that were hashed are not those meant. */
export function requireSum(wanted: Checksum, hash: Hash, what: string): void {
  const found = hash.digest("hex");
  if (found === wanted.hex) return;
  throw new TrineError(
    "invalid",
    `${what}: checksum is ${wanted.algorithm}:${found}, and was to be ${wanted.algorithm}:${wanted.hex}`,
  );
}

/** Hashes a part of a file and compares. */
export async function checkSum(
  source: { handle: FileHandle; offset: number; sizeBytes: number; what: string },
  wanted: Checksum,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const hash = createHash(wanted.algorithm);
  const { handle, offset, sizeBytes: total } = source;
  const buffer = Buffer.alloc(CHUNK_BYTES);
  for (let done = 0; done < total;) {
    signal.throwIfAborted();
    const length = Math.min(CHUNK_BYTES, total - done);
    const { bytesRead } = await handle.read(buffer, 0, length, offset + done);
    if (bytesRead === 0) throw new TrineError("conflict", `${source.what} became shorter`);
    hash.update(buffer.subarray(0, bytesRead));
    done += bytesRead;
    onProgress({ step: "check", done, total });
  }
  requireSum(wanted, hash, source.what);
}
