import { dirname, join, resolve } from "node:path";

/** Where the build and the installation lay what belongs to this program. */
export function besideProgram(path: string): string {
  return resolve(join(dirname(process.argv[1] ?? ""), path));
}
