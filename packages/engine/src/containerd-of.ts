import { readFile } from "node:fs/promises";
import { TrineError, errnoOf } from "@trine/base";
import type { PodContext } from "./pod-context.ts";

/** Socket of the containerd whose pod this is, as its shim has noted it; empty = another's, an older shim's. */
export async function containerdOf({ files }: Pick<PodContext, "files">): Promise<string> {
  try {
    return (await readFile(files.containerd, "utf8")).trim().replace(/^unix:\/\//, "");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return "";
    throw TrineError.during("read the address of the pod's containerd", cause);
  }
}
