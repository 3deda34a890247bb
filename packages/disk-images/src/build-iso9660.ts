import { TrineError } from "@trine/base";
import { ISO_SECTOR, sectorsOf } from "./iso-record.ts";
import { buildIsoTree, directoriesOf } from "./iso-tree.ts";
import type { IsoFile, IsoNode } from "./iso-tree.ts";
import { planVolume, terminator } from "./iso-volume.ts";

const MAX_IMAGE_BYTES = 64 * 1024 * 1024;
const FIRST_DESCRIPTOR = 16;
const LABEL = /^[A-Za-z0-9_-]{1,16}$/;

/**
 * An ISO 9660 image holding `files`, with their exact names by Rock Ridge (Linux) and Joliet (Windows, which has
 * those of more than 64 characters cut).
 * The same input gives the same bytes. Kind `invalid` for names or a label that cannot be, and for
 * more than 64 MiB.
 */
export function buildIso9660(
  files: readonly IsoFile[],
  options: { readonly volumeLabel: string },
): Buffer {
  const { volumeLabel } = options;
  if (!LABEL.test(volumeLabel)) {
    throw new TrineError(
      "invalid",
      "ISO image: volume label is not 1 to 16 letters, digits, - or _",
    );
  }
  const totalBytes = files.reduce((sum, file) => sum + file.bytes.length, 0);
  if (totalBytes > MAX_IMAGE_BYTES) {
    throw new TrineError(
      "invalid",
      `ISO image: ${totalBytes} bytes of files; the limit is ${MAX_IMAGE_BYTES}`,
    );
  }
  const root = buildIsoTree(files);
  // Descriptors of both volumes and their end; then what they lead to; then the files, shared by both.
  const plain = planVolume(root, "rockRidge", FIRST_DESCRIPTOR + 3);
  const joliet = planVolume(root, "joliet", plain.endSector);
  const { placed, endSector } = placeFiles(root, joliet.endSector);

  const image = Buffer.alloc(endSector * ISO_SECTOR);
  const write = (sector: number, bytes: Uint8Array): void => {
    image.set(bytes, sector * ISO_SECTOR);
  };
  write(FIRST_DESCRIPTOR, plain.descriptor(volumeLabel, endSector));
  write(FIRST_DESCRIPTOR + 1, joliet.descriptor(volumeLabel, endSector));
  write(FIRST_DESCRIPTOR + 2, terminator());
  for (const volume of [plain, joliet]) volume.writeTables(write, placed);
  for (const [node, sector] of placed) write(sector, node.data ?? new Uint8Array());
  return image;
}

function placeFiles(
  root: IsoNode,
  firstSector: number,
): { placed: ReadonlyMap<IsoNode, number>; endSector: number } {
  const placed = new Map<IsoNode, number>();
  let sector = firstSector;
  for (const dir of directoriesOf(root)) {
    for (const node of dir.children) {
      if (node.data === undefined) continue;
      placed.set(node, sector);
      sector += sectorsOf(node.data.length);
    }
  }
  return { placed, endSector: sector };
}
