import { access, constants } from "node:fs/promises";
import { join } from "node:path";

/** Where systemd lets services look, when PATH says nothing. */
const USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The directories of `path` and the usual ones, each once. */
export function programDirs(path: string): string[] {
  return [...new Set(`${path}:${USUAL_PATH}`.split(":").filter((dir) => dir !== ""))];
}

/** The first of these directories that holds all of the programs. */
export async function findProgram(
  path: string,
  names: readonly string[],
): Promise<string | undefined> {
  for (const dir of programDirs(path)) {
    const here = await Promise.all(names.map((name) => isProgram(join(dir, name))));
    if (here.every(Boolean)) return dir;
  }
  return undefined;
}

async function isProgram(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
