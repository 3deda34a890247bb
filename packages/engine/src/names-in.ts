import { readdir } from "node:fs/promises";
import { errnoOf } from "@trine/base";

/** Empty when there is no such directory. Any other failure must not pass for "no pods". */
export async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return [];
    throw cause;
  });
}
