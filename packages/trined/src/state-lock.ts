import { spawn } from "node:child_process";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, messageOf } from "@trine/base";

const HELD = 1;

/**
 * Makes this process the only daemon of a state directory until it ends, however it ends. Kind
 * `alreadyExists`, naming the other, when there is one.
 *
 * Node cannot lock files. flock(1) locks the open file it is given as descriptor 3, which is ours as well:
 * the lock stays when it exits.
 */
export async function lockState(stateDir: string): Promise<FileHandle> {
  const file = join(stateDir, "trined.lock");
  const handle = await open(file, "a+", 0o600);
  try {
    const code = await flock(handle.fd);
    if (code === HELD) {
      const owner = (await handle.readFile("utf8")).trim();
      throw new TrineError(
        "alreadyExists",
        `another trined (pid ${owner || "unknown"}) runs on ${stateDir}: stop it, or give this one another stateDir`,
      );
    }
    if (code !== 0) throw new TrineError("internal", `lock ${file}: flock ended with ${code}`);
    await handle.truncate(0);
    await handle.write(`${process.pid}\n`);
    return handle;
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

function flock(fd: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("flock", ["--exclusive", "--nonblock", "3"], {
      stdio: ["ignore", "ignore", "ignore", fd],
    });
    child.on("error", (cause) => {
      const what = `flock: ${messageOf(cause)}; it is part of util-linux`;
      reject(new TrineError("unavailable", what, { cause }));
    });
    child.on("close", (code) => {
      resolve(code ?? -1);
    });
  });
}
