import { kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { emptyImageDocuments } from "@trine/disk-images";
import { putImage } from "./put-image.ts";
import { dropLease, findImage, takeLease } from "./store-image.ts";

/** What pods of machines whose root is a volume name as their image; nothing is fetched for it. */
export const EMPTY_IMAGE = "trine.dev/machine:latest";
const LEASE = "trine-empty-image";
const LABELS = {
  // As CRI marks what it knows, and what kubelet is not to remove for lack of room.
  "io.cri-containerd.image": "managed",
  "io.cri-containerd.pinned": "pinned",
  "trine.dev/empty": "true",
};

/** Puts the image with nothing in it into containerd's store. Repeatable. Answers whether there was something to do. */
export async function putEmptyImage(
  store: ImageStore,
  architecture: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { layer, config, manifest } = emptyImageDocuments(architecture);
  const found = await findImage(store, EMPTY_IMAGE);
  if (found?.target?.digest === manifest.digest && hasLabels(found.labels)) return false;
  await takeLease(store, LEASE);
  const leased = store.under(LEASE);
  const refs = {
    "containerd.io/gc.ref.content.config": config.digest,
    "containerd.io/gc.ref.content.l.0": layer.digest,
  };
  for (const { digest, bytes, labels } of [
    { ...layer, labels: {} },
    { ...config, labels: {} },
    { ...manifest, labels: refs },
  ]) {
    const blob = { digest, sizeBytes: bytes.length, labels, chunks: [bytes] };
    await leased.write({ ref: `${LEASE}-${digest}`, ...blob }, signal);
  }
  const { mediaType, digest, bytes } = manifest;
  const target = { mediaType, digest, sizeBytes: bytes.length };
  await putImage(leased, { name: EMPTY_IMAGE, labels: LABELS, target });
  await dropLease(store, LEASE);
  return true;
}

/** Takes it away again, with the name that CRI gave it, where it is ours. Repeatable. */
export async function removeEmptyImage(store: ImageStore, architecture: string): Promise<void> {
  const { config, manifest } = emptyImageDocuments(architecture);
  for (const name of [config.digest, EMPTY_IMAGE]) {
    const found = await findImage(store, name);
    if (found?.target?.digest !== manifest.digest) continue;
    await store.images.delete({ name, sync: true }).catch((cause: unknown) => {
      if (kindOf(cause) !== "notFound") throw cause;
    });
  }
}

function hasLabels(labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(LABELS).every(([key, value]) => labels[key] === value);
}
