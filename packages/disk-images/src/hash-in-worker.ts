import { Worker } from "node:worker_threads";
import { TrineError } from "@trine/base";

/**
 * The worker's program. Text, so that it also runs where the packages were bundled into one file. It reads
 * by number: threads of one process share their descriptors.
 */
const PROGRAM = `
const { createHash } = require("node:crypto");
const { readSync } = require("node:fs");
const { parentPort, workerData } = require("node:worker_threads");
const { fd, sizeBytes, prefix, suffix } = workerData;
const hash = createHash("sha256").update(prefix);
const buffer = Buffer.alloc(1 << 20);
let at = 0;
while (at < sizeBytes) {
  const read = readSync(fd, buffer, 0, Math.min(buffer.length, sizeBytes - at), at);
  if (read === 0) break;
  hash.update(read === buffer.length ? buffer : buffer.subarray(0, read));
  at += read;
}
hash.update(suffix);
parentPort.postMessage({ hex: hash.digest("hex"), readBytes: at });
`;

/**
 * SHA-256, in hex, of `prefix`, the first `sizeBytes` of an open file, and `suffix`; reading and hashing
 * keep off the event loop. Kind `conflict` when the file is shorter.
 */
export async function hashInWorker(
  source: { fd: number; sizeBytes: number; prefix: Uint8Array; suffix: Uint8Array },
  signal?: AbortSignal,
): Promise<string> {
  signal?.throwIfAborted();
  const worker = new Worker(PROGRAM, { eval: true, workerData: source });
  const stop = (): void => void worker.terminate();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const { hex, readBytes } = await answerOf(worker, signal);
    if (readBytes !== source.sizeBytes) throw new TrineError("conflict", "the file became shorter");
    return hex;
  } finally {
    signal?.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

function answerOf(
  worker: Worker,
  signal: AbortSignal | undefined,
): Promise<{ hex: string; readBytes: number }> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", () => {
      const aborted = signal?.aborted === true;
      reject(aborted ? (signal.reason as Error) : new Error("hashing ended without a result"));
    });
  });
}
