const DISK_BYTES = 1024 * 1024;
const SECTOR_BYTES = 512;

/** A raw disk with `code` in its boot sector; 1 MiB, because the BIOS does not read one of a single sector. */
export function bootDisk(code: readonly number[]): Uint8Array {
  if (code.length > SECTOR_BYTES - 2) throw new RangeError(`boot code of ${code.length} bytes`);
  const disk = new Uint8Array(DISK_BYTES);
  disk.set(code, 0);
  disk.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return disk;
}
