import { open } from "node:fs/promises";
import { errnoOf } from "@trine/base";

const MOST_BYTES = 2048;

/** The end of a process' log, at most 2 KiB of it: why it gave up. Empty where there is no log. */
export async function lastWords(path: string): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    const length = Math.min(size, MOST_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString("utf8", 0, bytesRead).trim();
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return "";
    throw cause;
  }
}
