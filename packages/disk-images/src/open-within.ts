import { constants } from "node:fs";
import { lstat, open, readlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, errnoOf, quote } from "@trine/base";
import type { Beneath } from "./open-beneath.ts";

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** kubelet's volumes have two, one behind the other. */
const MAX_LINKS = 8;

/**
 * Opens a regular file or a directory below a directory whose contents others write, to read it. Links are followed as long
 * as they lead down from where they are, which those in volumes of ConfigMaps and Secrets do. Kind `notFound` or `invalid`.
 */
export async function openWithin({ dir, parts }: Beneath): Promise<FileHandle> {
  let at = await open(dir, O_RDONLY | O_DIRECTORY);
  try {
    const todo = [...parts];
    for (let links = 0, name = todo.shift(); name !== undefined; name = todo.shift()) {
      const next = await step(at, name);
      if (typeof next === "string") {
        links += 1;
        todo.unshift(...targetOf(next, name, links));
        continue;
      }
      await at.close();
      at = next;
    }
    return at;
  } catch (cause) {
    await at.close();
    throw cause;
  }
}

/** What the name is, or where it leads as a link. By the directory's descriptor, so that nobody can put another in its place. */
async function step(at: FileHandle, name: string): Promise<FileHandle | string> {
  const path = `/proc/self/fd/${at.fd}/${name}`;
  try {
    const found = await lstat(path);
    if (found.isSymbolicLink()) return await readlink(path);
    // Looked at before: to open a device can do something.
    if (!found.isFile() && !found.isDirectory()) {
      throw new TrineError("invalid", `${quote(name)} is neither a regular file nor a directory`);
    }
    return await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (cause) {
    const code = errnoOf(cause);
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new TrineError("notFound", `${quote(name)} does not exist`, { cause });
    }
    throw TrineError.during(`open ${quote(name)}`, cause);
  }
}

function targetOf(link: string, name: string, links: number): string[] {
  const target = link.split("/").filter((part) => part !== "" && part !== ".");
  const isDown = !link.startsWith("/") && !target.includes("..");
  if (isDown && links <= MAX_LINKS) return target;
  const why = isDown ? "is one of too many links" : "is a link that leads out of its directory";
  throw new TrineError("invalid", `${quote(name)} ${why}`);
}
