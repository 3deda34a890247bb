import type { ImageInfo } from "./image-info.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar-header.ts";

const DIRECTORY_MODE = 0o555;
const DISK_MODE = 0o440;

/** The one layer of a machine image: a tar archive of a directory and the disk in it. */
export interface MachineLayer {
  readonly directory: { readonly name: string; readonly mode: number };
  readonly disk: { readonly name: string; readonly mode: number };
  /** What stands before the disk's bytes, and after them. */
  readonly prefix: Buffer;
  readonly suffix: Buffer;
  readonly sizeBytes: number;
}

/** Equal disks make equal layers: owner root, time 0. */
export function machineLayer(info: Pick<ImageInfo, "format" | "fileSizeBytes">): MachineLayer {
  const { fileSizeBytes } = info;
  const directory = { name: "disk", mode: DIRECTORY_MODE };
  const disk = { name: info.format === "qcow2" ? "disk.qcow2" : "disk.img", mode: DISK_MODE };
  const prefix = Buffer.concat([
    tarHeader({ name: "disk/", mode: DIRECTORY_MODE, sizeBytes: 0, type: "directory" }),
    tarHeader({
      name: `disk/${disk.name}`,
      mode: DISK_MODE,
      sizeBytes: fileSizeBytes,
      type: "file",
    }),
  ]);
  const suffix = Buffer.concat([tarPadding(fileSizeBytes), TAR_END]);
  return {
    directory,
    disk,
    prefix,
    suffix,
    sizeBytes: prefix.length + fileSizeBytes + suffix.length,
  };
}
