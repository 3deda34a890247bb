import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, lockFile } from "@trine/base";

/**
 * Makes this process the only daemon of a state directory until it ends, however it ends. Kind
 * `alreadyExists`, naming the other, when there is one.
 */
export async function lockState(stateDir: string): Promise<FileHandle> {
  const file = join(stateDir, "trined.lock");
  const handle = await open(file, "a+", 0o600);
  try {
    if (!(await lockFile(handle))) {
      const owner = (await handle.readFile("utf8")).trim();
      throw new TrineError(
        "alreadyExists",
        `another trined (pid ${owner || "unknown"}) runs on ${stateDir}: stop it, or give this one another stateDir`,
      );
    }
    await handle.truncate(0);
    await handle.write(`${process.pid}\n`);
    return handle;
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}
