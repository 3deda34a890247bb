import { open } from "node:fs/promises";
import { TrineError } from "@trine/base";

/**
 * Makes a sparse file for a guest's memory, open to the VMM's user whichever that is. One that is there is
 * taken when it has the size (a repeated start), else kind `alreadyExists`.
 */
export async function makeMemoryFile(path: string, bytes: number): Promise<void> {
  await using file = await open(path, "a", 0o600);
  const { size } = await file.stat();
  if (size === bytes) return;
  if (size !== 0) {
    throw new TrineError("alreadyExists", `${path} has ${size} bytes: it is another machine's`);
  }
  await file.truncate(bytes);
  await file.chmod(0o666);
}
