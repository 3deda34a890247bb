import { constants } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "@trine/base";
import { importFiles, importsDir } from "./import-container.ts";

const MAX_WORD_BYTES = 8 * 1024;

/** What an import of a pod says of itself: JSON of its own process, to be read by schema. */
export interface SaidImport {
  readonly container: string;
  readonly word: unknown;
}

/** The imports of a pod, as far as they have said anything. */
export async function saidImports(podDir: string): Promise<SaidImport[]> {
  const names = await readdir(importsDir(podDir)).catch(absent);
  const found = await Promise.all(
    (names ?? []).map(async (container) => {
      const word = await readWord(join(importFiles(podDir, container).say, "word.json"));
      return word === undefined ? [] : [{ container, word }];
    }),
  );
  return found.flat();
}

/** The socket at which a container's import takes an upload. */
export function uploadSocket(podDir: string, container: string): string {
  return join(importFiles(podDir, container).say, "upload.sock");
}

async function readWord(path: string): Promise<unknown> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(absent);
  if (handle === undefined) return undefined;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) return undefined;
    // It may grow while it is read.
    const buffer = Buffer.alloc(MAX_WORD_BYTES + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead > MAX_WORD_BYTES) return undefined;
    return JSON.parse(buffer.toString("utf8", 0, bytesRead)) as unknown;
  } catch {
    return undefined; // no words of ours
  } finally {
    await handle.close();
  }
}

function absent(cause: unknown): undefined {
  if (!["ENOENT", "ELOOP", "ENOTDIR"].includes(errnoOf(cause) ?? "")) throw cause;
  return undefined;
}
