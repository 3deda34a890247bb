import { TrineError, kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { collectLeftovers, isDigestName, putImage, removeImage } from "@trine/image-import";
import type { Io } from "../io.ts";
import { forEachPod } from "../pods/select-pods.ts";
import { DECLINED, confirmed, namesOf } from "../output/confirm.ts";
import type { ConfirmFlags } from "../output/confirm.ts";
import { parseImageName } from "./image-name.ts";
import { pickImage, selectImages, usedImages } from "./image-view.ts";
import type { UsedImage } from "./image-view.ts";
import { withStore } from "./open-store.ts";
import type { StoreFlags } from "./open-store.ts";
import { importsDir } from "./places.ts";

export interface RemoveFlags extends StoreFlags {
  readonly selector?: string;
  readonly force: boolean;
}

export interface CollectFlags extends StoreFlags {
  readonly unused: boolean;
  readonly olderThan?: number;
  readonly downloads: boolean;
  readonly dryRun: boolean;
}

/** `trine image rm`; the content goes with its last name. */
export function removeImages(
  io: Io,
  names: readonly string[],
  flags: RemoveFlags & ConfirmFlags,
): Promise<number> {
  return withStore(io, flags, async (store) => {
    const chosen = selectImages(await usedImages(io, store, flags), names, flags.selector);
    if (!(await confirmed(io, `remove ${namesOf(chosen)}?`, flags))) return DECLINED;
    return forEachPod(io, chosen, async (text) => {
      // Anew for each: the one before may have been another name of the same.
      const images = await usedImages(io, store, flags);
      const image = pickImage(images, text);
      if (!flags.force) requireFree(image, images);
      await removeImage(store, images, image);
      return `${image.name} removed`;
    });
  });
}

function requireFree(image: UsedImage, images: readonly UsedImage[]): void {
  const isOnly = !images.some(
    ({ name, target }) =>
      name !== image.name &&
      target.digest === image.target.digest &&
      !isDigestName(name) &&
      !name.includes("@"),
  );
  if (!isOnly) return;
  const [user] = image.usedBy;
  if (user !== undefined) {
    throw new TrineError("wrongState", `image ${image.name}: used by ${user}; --force removes it`);
  }
  if (image.isPinned) {
    throw new TrineError(
      "wrongState",
      `image ${image.name}: pinned by containerd; --force removes it`,
    );
  }
}

/** `trine image tag` */
export async function tagImage(io: Io, from: string, to: string, flags: StoreFlags): Promise<void> {
  const name = parseImageName(to);
  await withStore(io, flags, async (store) => {
    const image = pickImage(await usedImages(io, store, flags), from);
    const own = Object.entries(image.labels).filter(([key]) => key.startsWith("trine.dev/"));
    const kept = own.filter(([key]) => key === "trine.dev/source" || key === "trine.dev/machine");
    await putImage(store, { name, labels: Object.fromEntries(kept), target: image.target });
    io.stdout.write(`${name}\n`);
  });
}

/** `trine image gc`; a line for each thing that went, or would go. */
export function collectImages(io: Io, flags: CollectFlags & ConfirmFlags): Promise<number> {
  return withStore(io, flags, async (store) => {
    const images = await usedImages(io, store, flags);
    const chosen = images.filter((image) => isGarbage(image, images, flags));
    const named = chosen.map(({ name }) => name).filter((name) => !isDigestName(name));
    // What has no name any more is nobody's: of that nobody is asked.
    const isAsked = !flags.dryRun && named.length > 0;
    if (isAsked && !(await confirmed(io, `remove ${namesOf(named)}?`, flags))) return DECLINED;
    const { downloads: all, dryRun } = flags;
    const found = await collectLeftovers(store, { workDir: importsDir(io), all, dryRun });
    const would = dryRun ? "would be " : "";
    for (const { key, state } of found) io.stdout.write(`import ${key} ${would}${state}\n`);
    return forEachPod(
      io,
      chosen.map(({ name }) => name),
      async (name) => {
        if (flags.dryRun) return `${name} would be removed`;
        await removeOne(store, images, name);
        return `${name} removed`;
      },
    );
  });
}

async function removeOne(
  store: ImageStore,
  images: readonly UsedImage[],
  name: string,
): Promise<void> {
  const image = images.find((each) => each.name === name);
  if (image === undefined) return;
  try {
    await removeImage(store, images, image);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause; // it went with another name of it
  }
}

/** Disks only: what kubelet pulled is kubelet's to collect. */
function isGarbage(image: UsedImage, images: readonly UsedImage[], flags: CollectFlags): boolean {
  if (image.machine === undefined || image.isPinned || image.usedBy.length > 0) return false;
  if (Date.now() - image.createdAt < (flags.olderThan ?? 0)) return false;
  if (flags.unused) return true;
  return images
    .filter(({ target }) => target.digest === image.target.digest)
    .every(({ name }) => isDigestName(name));
}
