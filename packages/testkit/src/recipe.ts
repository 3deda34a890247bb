import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";

/** One digest over files and directory trees: base names and contents, in order of path. */
export async function hashOfFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) {
    const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(
      () => undefined,
    );
    const files = entries
      ?.filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    for (const file of files ?? [path]) hash.update(basename(file)).update(await readFile(file));
  }
  return hash.digest("hex");
}
