import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DiskSource } from "@trine/annotations";
import { TrineError } from "@trine/base";
import { buildIso9660 } from "@trine/disk-images";
import type { IsoFile } from "@trine/disk-images";
import type { MachineInput } from "./machine-input.ts";
import { readSource } from "./seed-volumes.ts";

/**
 * Writes the image of a disk that shows files of a volume, as they are now: guests keep what they have read of a disk, so
 * it stays so as long as the machine runs. On tmpfs, for it may hold secrets. Repeatable.
 */
export async function writeFilesDisk(
  { bundle, files: { filesDir } }: Pick<MachineInput, "bundle" | "files">,
  name: string,
  { path: from, label }: DiskSource & { readonly kind: "files" },
): Promise<{ readonly path: string; readonly bytes: number }> {
  const found = await readSource(bundle.spec, { path: from }, { below: true });
  const files =
    found.kind === "file"
      ? [{ name: from.slice(from.lastIndexOf("/") + 1), bytes: found.bytes }]
      : [...found.files].map(([file, bytes]) => ({ name: file, bytes }));
  const image = imageOf(files, label, from);
  const path = join(filesDir, `${name}.iso`);
  await mkdir(filesDir, { recursive: true, mode: 0o700 });
  await rm(path, { force: true });
  await writeFile(path, image, { mode: 0o600 });
  return { path, bytes: image.length };
}

function imageOf(files: readonly IsoFile[], label: string, from: string): Buffer {
  try {
    return buildIso9660(files, { volumeLabel: label });
  } catch (cause) {
    throw TrineError.during(`show the files of ${from} on a disk`, cause);
  }
}
