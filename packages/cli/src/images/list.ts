import { formatAge } from "../commands/duration.ts";
import type { Io } from "../io.ts";
import { asList, printList } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
import { sizeText } from "../output/progress.ts";
import { parseSelector } from "../pods/selector.ts";
import { namedImages, pickImage, selectImages, toImageObject, usedImages } from "./image-view.ts";
import type { ImageObject, UsedImage } from "./image-view.ts";
import { withStore } from "./open-store.ts";
import type { StoreFlags } from "./open-store.ts";

const HEADER = ["IMAGE", "KIND", "SIZE", "VIRTUAL", "USED", "AGE"];
const WIDE = ["FORMAT", "ARCHITECTURE", "DIGEST", "SOURCE"];
const SHORT_DIGEST = 19;

export interface ImageListFlags extends ListFlags, StoreFlags {
  readonly selector?: string;
  /** Names that say nothing but a digest, too. */
  readonly all?: boolean;
}

/** What `image ls` and `image inspect` show as JSON: a list unless `inspect` was given one name. */
type ImageDocument = ImageObject | List<ImageObject>;

/** `trine image ls` */
export async function listImagesCommand(io: Io, flags: ImageListFlags): Promise<void> {
  const matches = flags.selector === undefined ? () => true : parseSelector(flags.selector);
  const all = await withStore(io, flags, (store) => usedImages(io, store, flags));
  const named = flags.all === true ? all : namedImages(all);
  await show(
    io,
    flags,
    named.filter(({ labels }) => matches(labels)),
  );
}

/** `trine image inspect` */
export async function inspectImages(
  io: Io,
  names: readonly string[],
  flags: ImageListFlags,
): Promise<void> {
  const all = await withStore(io, flags, (store) => usedImages(io, store, flags));
  const chosen = selectImages(all, names, flags.selector).map((name) => pickImage(all, name));
  await show(io, flags, chosen, names.length === 1);
}

async function show(
  io: Io,
  flags: ImageListFlags,
  images: readonly UsedImage[],
  isOne = false,
): Promise<void> {
  const objects = images.map(toImageObject);
  const [only] = objects;
  const value: ImageDocument = isOne && only !== undefined ? only : asList(objects);
  await printList(io, flags, {
    value,
    header: [...HEADER, ...WIDE],
    narrow: HEADER.length,
    rows: images.map(toRow),
    names: images.map(({ name }) => name),
  });
}

function toRow(image: UsedImage): string[] {
  const { machine, usedBy } = image;
  return [
    image.name,
    image.manifest === undefined ? "incomplete" : machine === undefined ? "container" : "machine",
    sizeText(image.sizeBytes),
    machine === undefined ? "-" : sizeText(machine.virtualSizeBytes),
    String(usedBy.length),
    formatAge(Date.now() - image.createdAt),
    machine?.format ?? "-",
    image.architecture || "-",
    image.target.digest.slice(0, SHORT_DIGEST),
    image.labels["trine.dev/source"] ?? "-",
  ];
}
