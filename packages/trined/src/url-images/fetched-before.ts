import { createHash } from "node:crypto";
import { kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { isUnchanged } from "@trine/image-import";
import type { HttpSettings } from "@trine/image-import";
import type { ImageSource } from "./image-source.ts";

/** Labels of an image: what it was fetched from, and which version that was. No URL: one may have a key in its query. */
const OF = "trine.dev/fetched-of";
const VERSION = "trine.dev/fetched-version";
/** containerd takes 4096 for key and value. */
const MAX_VERSION = 1024;

/**
 * Whether the store has the image as its server has it now: what has not changed is not fetched anew. A digest in the name
 * was that of the file when the image got the name.
 */
export async function isFetched(
  store: ImageStore,
  { reference, url, checksum }: ImageSource,
  http: HttpSettings,
  signal: AbortSignal,
): Promise<boolean> {
  const labels = (await imageOf(store, reference))?.labels;
  if (labels === undefined) return false;
  if (checksum !== undefined) return labels[OF] !== undefined;
  const version = labels[VERSION] ?? "";
  if (labels[OF] !== hashOf(url) || version === "") return false;
  return isUnchanged(url, version, http, signal);
}

/** Notes of an image that has just been made what it was made of. `version`: the file's validator, where its server gave one. */
export async function noteFetched(
  store: ImageStore,
  { reference, url }: ImageSource,
  version = "",
): Promise<void> {
  const image = await imageOf(store, reference);
  if (image === undefined) return; // removed meanwhile
  const own = { [OF]: hashOf(url), [VERSION]: version.length > MAX_VERSION ? "" : version };
  const paths = Object.keys(own).map((key) => `labels.${key}`);
  // With its target, although that is in no path: containerd 2.4 ends itself over an image without one.
  const noted = { ...image, labels: { ...image.labels, ...own } };
  await store.images.update({ image: noted, updateMask: { paths } });
}

type Image = NonNullable<Awaited<ReturnType<ImageStore["images"]["get"]>>["image"]>;

async function imageOf(store: ImageStore, name: string): Promise<Image | undefined> {
  try {
    return (await store.images.get({ name })).image;
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

function hashOf(url: URL): string {
  return createHash("sha256").update(url.href).digest("hex");
}
