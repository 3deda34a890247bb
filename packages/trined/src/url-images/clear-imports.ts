import { readdir } from "node:fs/promises";
import { errnoOf, messageOf, sleep } from "@trine/base";
import type { Logger } from "pino";

const CRI_NAMESPACE = "k8s.io";

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

/**
 * Removes what imports that were killed have left in `workDir` and in the containerd at this socket; while that is away, again
 * and again. Nobody waits for it. What is at work is locked, and stays. Does not reject.
 */
export async function clearImports(
  socket: string,
  workDir: string,
  log: Logger,
  signal: AbortSignal,
  firstRetryMs = FIRST_RETRY_MS,
): Promise<void> {
  let said: string | undefined;
  for (let pause = firstRetryMs; ; pause = Math.min(pause * 2, LONGEST_RETRY_MS)) {
    try {
      await clearOnce(socket, workDir, log);
      return;
    } catch (cause) {
      const err = messageOf(cause);
      if (err !== said) log.warn({ err }, "what imports of images have left stays for now");
      said = err;
    }
    await sleep(pause, signal).catch(() => undefined); // it only fails when we stop
    if (signal.aborted) return;
  }
}

async function clearOnce(socket: string, workDir: string, log: Logger): Promise<void> {
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
}

async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return [];
    throw cause;
  });
}
