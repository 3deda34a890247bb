import { isThere } from "./is-there.ts";

const DIRECTORIES = [
  ...["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"],
];

/** What a dynamically linked program of the node needs in a root of its own. */
export async function libraryBinds(): Promise<{ source: string; target: string }[]> {
  const found: { source: string; target: string }[] = [];
  for (const path of DIRECTORIES) {
    if (await isThere(path)) found.push({ source: path, target: path });
  }
  return found;
}
