import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { TrineError, pollUntil, errnoOf } from "@trine/base";

/** Where built things are kept between runs: `TRINE_CACHE`, else `~/.cache/trine`. */
export function cacheDir(): string {
  return process.env["TRINE_CACHE"] ?? join(homedir(), ".cache", "trine");
}

/**
 * A directory built once for a recipe: `build` fills an empty directory, which then gets its final name
 * at once. Anything that changes the result belongs into `recipe`. Processes that want the same wait for
 * the one that builds.
 */
export async function cachedDir(
  name: string,
  recipe: readonly string[],
  build: (dir: string) => Promise<void>,
): Promise<string> {
  const key = createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 16);
  const target = join(cacheDir(), `${name}-${key}`);
  if (await exists(target)) return target;
  await mkdir(cacheDir(), { recursive: true });
  const unlock = await lock(`${target}.lock`);
  try {
    if (await exists(target)) return target;
    const making = await mkdtemp(`${target}.making-`);
    try {
      await build(making);
      // Unprivileged machines read from here too.
      await chmod(making, 0o755);
      await rename(making, target);
    } catch (cause) {
      await rm(making, { recursive: true, force: true });
      throw TrineError.during(`build ${name}`, cause);
    }
    return target;
  } finally {
    await unlock();
  }
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A lock file with the owner's pid; one whose owner is gone is taken over. */
async function lock(path: string): Promise<() => Promise<void>> {
  await pollUntil(`lock ${path}`, { ms: 1_800_000, everyMs: 200 }, async () => {
    try {
      await writeFile(path, String(process.pid), { flag: "wx" });
      return true;
    } catch (cause) {
      if (errnoOf(cause) !== "EEXIST") throw cause;
    }
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    if (owner > 0 && !(await exists(`/proc/${owner}`))) await rm(path, { force: true });
    return undefined;
  });
  return () => rm(path, { force: true });
}
