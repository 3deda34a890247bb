import type { ImageLimits } from "@trine/disk-images";

const GIB = 1024 ** 3;

/** What an import may cost, whatever its input says. */
export interface ImportLimits extends ImageLimits {
  /** Largest file, as it is fetched and as it is unpacked; bytes. */
  readonly maxBytes: number;
  /** Most unpacked bytes that one packed byte may become, above the first GiB. */
  readonly maxExpansion: number;
}

export const DEFAULT_IMPORT_LIMITS: ImportLimits = {
  maxBytes: 256 * GIB,
  maxExpansion: 1000,
  checkTables: true,
};

/** Tools and empty file systems pack well: below this nobody counts. */
export const EXPANSION_FREE_BYTES = GIB;

/** How far an import is. Bytes of this step; `total` undefined = not known. */
export interface ImportProgress {
  readonly step: "download" | "read" | "unpack" | "check" | "convert" | "store" | "register";
  readonly done: number;
  readonly total?: number;
}

export type OnProgress = (progress: ImportProgress) => void;
