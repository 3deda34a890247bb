import type { ImageStore } from "@trine/containerd-client";
import { isDigestName } from "./list-images.ts";
import type { ImageView } from "./list-images.ts";

/**
 * Takes a name away. With the last one that somebody gave, the names that CRI made go too, and containerd
 * collects the content before this answers.
 */
export async function removeImage(
  store: ImageStore,
  images: readonly ImageView[],
  image: ImageView,
): Promise<void> {
  const same = images.filter(({ target }) => target.digest === image.target.digest);
  const others = same.filter(({ name }) => name !== image.name);
  const isLast = others.every(({ name }) => isDigestName(name) || name.includes("@sha256:"));
  const names = [image.name, ...(isLast ? others.map(({ name }) => name) : [])];
  for (const [i, name] of names.entries()) {
    await store.images.delete({ name, sync: i === names.length - 1 });
  }
}
