import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ImageSchema } from "@trine/proto/cri/api";
import type { Image } from "@trine/proto/cri/api";

/** Encoded images of several stores: one of each id, with the names it has in any of them; the first one's rest. */
export function mergeImages(items: readonly Uint8Array[]): Uint8Array[] {
  const images = new Map<string, Image>();
  for (const item of items) {
    const image = fromBinary(ImageSchema, item);
    const same = images.get(image.id);
    if (same === undefined) {
      images.set(image.id, image);
      continue;
    }
    same.repoTags = [...new Set([...same.repoTags, ...image.repoTags])];
    same.repoDigests = [...new Set([...same.repoDigests, ...image.repoDigests])];
    same.pinned ||= image.pinned; // collected in one store, it would be missed in the other
  }
  return [...images.values()].map((image) => toBinary(ImageSchema, image));
}
