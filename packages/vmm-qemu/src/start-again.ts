import { sleep } from "@trine/base";
import type { QmpClient } from "@trine/qmp";

const LOOK_MS = 10;

/**
 * A guest that has powered itself off begins anew, by a reset; answers whether it was off. QEMU takes a reset as a wish: the
 * guest can run when it was granted. Of a caller that died in between the next one does the rest.
 */
export async function startAgain(
  client: Pick<QmpClient, "execute">,
  signal: AbortSignal,
): Promise<boolean> {
  for (let asked = false; ; asked = true) {
    const { status } = await client.execute("query-status", {}, { signal });
    if (status === "prelaunch") {
      await client.execute("cont", {}, { signal });
      return true;
    }
    if (status !== "shutdown") return asked;
    if (!asked) await client.execute("system_reset", {}, { signal });
    await sleep(LOOK_MS, signal);
  }
}
