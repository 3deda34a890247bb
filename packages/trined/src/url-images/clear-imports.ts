import { readdir } from "node:fs/promises";
import { errnoOf } from "@trine/base";
import type { Logger } from "pino";

const CRI_NAMESPACE = "k8s.io";

/**
 * Removes what imports that were killed have left in `workDir` and in the containerd at this socket. Nobody waits for it: what
 * goes wrong is logged, and the next start tries again. What is at work is locked, and stays.
 */
export async function clearImports(socket: string, workDir: string, log: Logger): Promise<void> {
  try {
    if ((await namesIn(workDir)).length === 0) return; // nothing of it is loaded
    const [{ createImageStore }, { collectLeftovers }] = await Promise.all([
      import("@trine/containerd-client"),
      import("@trine/image-import"),
    ]);
    const store = createImageStore(socket, CRI_NAMESPACE);
    try {
      const found = await collectLeftovers(store, { workDir, all: true });
      log.info({ imports: found.length }, "what imports of images had left is removed");
    } finally {
      store.close();
    }
  } catch (err) {
    log.warn({ err }, "what imports of images have left stays until the next start");
  }
}

async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return [];
    throw cause;
  });
}
