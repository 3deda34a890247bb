import type { FileHandle } from "node:fs/promises";
import type { ImageInfo, MachineLayer } from "@trine/disk-images";
import type { OnProgress } from "../limits.ts";

export const LAYER = "application/vnd.oci.image.layer.v1.tar";
/** Hashing and writing back of a whole disk. */
export const PACK_MS = 6 * 3_600_000;

export interface DiskToStore {
  readonly handle: FileHandle;
  readonly info: ImageInfo;
  /** Where the file lies, when it is ours to give away: it becomes the unpacked image. */
  readonly own?: {
    readonly path: string;
    /** It has to be whole still when the import is interrupted. */
    readonly isKept: boolean;
  };
  readonly reference: string;
  /** Labels of the image's name in containerd. */
  readonly labels: Readonly<Record<string, string>>;
  readonly architecture: string;
  readonly snapshotter: string;
  /** Name for lease, write and snapshot while the import goes on. */
  readonly key: string;
  readonly onProgress: OnProgress;
}

/** A snapshot that waits for its files, as containerd would mount it. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: string[];
}

/** What one way of making a layer needs: `mounts` are those of the snapshot that is to hold it unpacked. */
export interface LayerToMake {
  readonly disk: DiskToStore;
  readonly layer: MachineLayer;
  readonly mounts: readonly Mount[];
}

export interface MadeLayer {
  readonly digest: string;
  readonly sizeBytes: number;
}
