import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import { hashFile } from "./hash-file.ts";
import type { KernelContext, KernelFiles } from "./kernel-files.ts";

/** A kernel of the caller's. Kind `notFound` when it is not there. */
export async function ownKernel(
  choice: { readonly kernel: string; readonly modules?: string },
  context: KernelContext,
): Promise<KernelFiles> {
  const sha256 = await hashFile(choice.kernel, context.signal).catch((cause: unknown) => {
    if (!["ENOENT", "ENOTDIR"].includes(errnoOf(cause) ?? "")) throw cause;
    throw new TrineError("notFound", `${choice.kernel}: no such kernel`, { cause });
  });
  const config = await findConfig(choice.kernel, choice.modules);
  return {
    source: `file sha256:${sha256}`,
    path: choice.kernel,
    ...(choice.modules === undefined ? {} : { modulesDir: choice.modules }),
    ...(config === undefined ? {} : { config }),
  };
}

/** Where distributions lay a kernel's configuration, and where a build leaves it. */
async function findConfig(kernel: string, modules?: string): Promise<string | undefined> {
  const besides = dirname(kernel);
  const release = /^vmlinu[xz]-(.+)$/.exec(basename(kernel))?.[1];
  const places = [
    ...(release === undefined ? [] : [join(besides, `config-${release}`)]),
    ...(modules === undefined ? [] : [join(modules, "config"), join(modules, "build/.config")]),
    ...[join(besides, "config"), join(besides, ".config")],
  ];
  for (const place of places) {
    const text = await readFile(place, "utf8").catch((cause: unknown) => {
      if (["ENOENT", "ENOTDIR", "EISDIR"].includes(errnoOf(cause) ?? "")) return undefined;
      throw TrineError.during(`read ${place}`, cause);
    });
    if (text !== undefined) return text;
  }
  return undefined;
}
