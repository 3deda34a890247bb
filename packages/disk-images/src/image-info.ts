/** What a disk image is, as far as its own header says and we have checked. */
export interface ImageInfo {
  readonly format: "qcow2" | "raw";
  /** Size of the disk the guest sees; a whole number of 512-byte sectors. */
  readonly virtualSizeBytes: number;
  readonly fileSizeBytes: number;
  /** What a firmware would find. Of a QCOW2 only the header is read, so it is `unknown`. */
  readonly bootable: "mbr" | "gpt" | "iso9660" | "unknown";
}

export interface ImageLimits {
  /** Largest virtual size; default 16 TiB. */
  readonly maxVirtualBytes?: number;
  /**
   * Above 1 TiB of virtual size: the most virtual bytes one byte of the file may stand for; default
   * 1048576. A file of a few KiB that claims a giant disk is a mistake or an attack.
   */
  readonly maxRatio?: number;
  /** Also reads the second-level tables, which finds a cut-off file; for imports, not for starts. */
  readonly checkTables?: boolean;
}

const TIB = 1024 ** 4;

export const DEFAULT_MAX_VIRTUAL_BYTES = 16 * TIB;
export const DEFAULT_MAX_RATIO = 1024 * 1024;
/** Below this virtual size the ratio is nobody's concern: fresh disks are nearly empty. */
export const RATIO_FREE_BYTES = TIB;
export const SECTOR_BYTES = 512;
