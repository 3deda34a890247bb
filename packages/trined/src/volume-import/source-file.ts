import { stat } from "node:fs/promises";
import { join } from "node:path";
import { findMachineDisk } from "@trine/disk-images";
import type { VolumeRequest } from "@trine/image-import";
import type { VolumeOrder } from "@trine/node-door";

/** The container's own image, as the node shows it. */
const IMAGE = "/trine/image";
const DISK = "disk.img";

type FileSource = Extract<VolumeOrder["source"], { readonly kind: "image" | "volume" }>;

/** What is at hand in the pod. */
export async function sourceFile(
  source: FileSource,
): Promise<Pick<VolumeRequest, "source" | "isRaw">> {
  if (source.kind === "image") return { source: await findMachineDisk(IMAGE) };
  const isDirectory = (await stat(source.path)).isDirectory();
  return { source: isDirectory ? join(source.path, DISK) : source.path, isRaw: true };
}
