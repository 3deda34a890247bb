import type { ImageLimits } from "@trine/disk-images";

const MIB = 1024 ** 2;
const GIB = 1024 * MIB;

/** What an import may cost, whatever its input says. */
export interface ImportLimits extends ImageLimits {
  /** Largest file, as it is fetched, unpacked and converted; bytes. */
  readonly maxBytes: number;
  /** As it is fetched, where that is another. */
  readonly maxFetchedBytes?: number;
  /** What has set these, for people. Absent: `--max-size`. */
  readonly setBy?: string;
  /** Most bytes that one packed byte, or one of a foreign disk, may become, above the first GiB. */
  readonly maxExpansion: number;
}

export const DEFAULT_IMPORT_LIMITS: ImportLimits = {
  maxBytes: 256 * GIB,
  maxExpansion: 1000,
  checkTables: true,
};

/** Tools and empty file systems pack well: below this nobody counts. */
export const EXPANSION_FREE_BYTES = GIB;

/**
 * Largest QCOW2, in bytes, that a disk may become. A VMDK of some KiB may point all its tables at one piece of
 * data, and would else be written out in full.
 */
export function convertedBytes(
  disk: { readonly virtualSizeBytes: number; readonly sizeBytes: number },
  limits: ImportLimits,
): number {
  // Data, its tables and some room: a QCOW2 of a full disk is little larger than the disk.
  const full = Math.ceil(disk.virtualSizeBytes * 1.02) + 64 * MIB;
  const grown = Math.max(EXPANSION_FREE_BYTES, disk.sizeBytes * limits.maxExpansion);
  return Math.floor(Math.min(full, limits.maxBytes, grown));
}

/** How far an import is. Bytes of this step; `total` undefined = not known. */
export interface ImportProgress {
  readonly step: "download" | "read" | "unpack" | "check" | "convert" | "store" | "register";
  readonly done: number;
  readonly total?: number;
  /** No other step comes after it. */
  readonly isLast?: boolean;
}

export type OnProgress = (progress: ImportProgress) => void;
