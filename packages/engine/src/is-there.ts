import { stat } from "node:fs/promises";
import { errnoOf } from "@trine/base";

export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return false;
    throw cause;
  }
}
