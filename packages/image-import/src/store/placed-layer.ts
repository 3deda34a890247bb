import { chmod, chown, link, mkdir, open, rm, utimes } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { copyDisk } from "../copy-disk.ts";
import { LAYER, PACK_MS } from "./disk-to-store.ts";
import type { DiskToStore, LayerToMake, MadeLayer, Mount } from "./disk-to-store.ts";

const LOOK_EVERY_MS = 200;
/** Another file system, or one without hard links. */
const CANNOT_LINK = ["EXDEV", "EPERM", "ENOTSUP", "EOPNOTSUPP", "EMLINK"];

/** Where files may simply be put: a snapshot that is one directory. */
export function directoryOf(mounts: readonly Mount[]): string | undefined {
  const [mount, ...more] = mounts;
  return mount?.type === "bind" && more.length === 0 ? mount.source : undefined;
}

/**
 * Puts the disk into the snapshot's directory, and has containerd pack that into the layer: nothing of it goes over
 * a socket, holes stay holes, and a file of ours is not even copied.
 */
export async function placeLayer(
  store: ImageStore,
  directory: string,
  make: LayerToMake,
  signal: AbortSignal,
): Promise<MadeLayer> {
  const { disk } = make;
  const placed = await place(directory, make, signal);
  try {
    const [made] = await Promise.all([
      pack(store, placed, make, signal),
      sync(placed.handle, [join(directory, make.layer.directory.name), directory]),
    ]);
    // From here on the file is the image's alone.
    if (placed.isLink) await rm(disk.own?.path ?? "");
    else if (isKept(disk)) await giveUp(disk);
    return made;
  } finally {
    if (!placed.isLink) await placed.handle.close();
  }
}

interface Placed {
  readonly handle: FileHandle;
  /** It is the disk's own file, under a second name: whoever is interrupted still has it. */
  readonly isLink: boolean;
}

async function place(
  directory: string,
  { disk, layer }: LayerToMake,
  signal: AbortSignal,
): Promise<Placed> {
  const parent = join(directory, layer.directory.name);
  const path = join(parent, layer.disk.name);
  await mkdir(parent);
  const isLink = disk.own !== undefined && (await linked(disk.own.path, path));
  const handle = isLink ? disk.handle : await copyDisk(disk.handle, path, disk.onProgress, signal);
  if (!isLink && !isKept(disk)) await giveUp(disk);
  await handle.chmod(layer.disk.mode);
  await handle.chown(0, 0);
  await handle.utimes(0, 0);
  await chmod(parent, layer.directory.mode);
  await chown(parent, 0, 0);
  await utimes(parent, 0, 0);
  return { handle, isLink };
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (cause) {
    if (CANNOT_LINK.includes(errnoOf(cause) ?? "")) return false;
    throw cause;
  }
}

/** containerd says of a snapshot that it is committed: then it has to outlive a loss of power, names too. */
async function sync(file: FileHandle, directories: readonly string[]): Promise<void> {
  await file.sync();
  for (const path of directories) {
    await using handle = await open(path, "r");
    await handle.sync();
  }
}

/** Whether the file has to be whole until containerd has the layer: whoever is interrupted goes on with it. */
export function isKept({ own }: DiskToStore): boolean {
  return own?.isKept === true;
}

/** What is elsewhere by now would be a third copy. */
export async function giveUp({ handle, own }: DiskToStore): Promise<void> {
  if (own === undefined) return;
  await rm(own.path);
  await handle.truncate(0);
}

async function pack(
  store: ImageStore,
  placed: Placed,
  { disk, mounts }: LayerToMake,
  signal: AbortSignal,
): Promise<MadeLayer> {
  signal.throwIfAborted();
  // containerd reads a file that it has begun to its end, whoever has gone: of one without an end there is no more.
  const isCut = !placed.isLink || !isKept(disk);
  const ending = new AbortController();
  const stop = (): void => {
    if (!isCut) ending.abort(signal.reason);
    else
      placed.handle.truncate(0).catch((cause: unknown) => {
        ending.abort(cause);
      });
  };
  signal.addEventListener("abort", stop, { once: true });
  const watch = watchWrite(store, disk);
  try {
    const { diff } = await store.diff.diff(
      { left: [], right: [...mounts], mediaType: LAYER, ref: disk.key },
      { signal: ending.signal, timeoutMs: PACK_MS },
    );
    if (diff === undefined) throw new TrineError("internal", "containerd names no layer");
    return { digest: diff.digest, sizeBytes: Number(diff.size) };
  } catch (cause) {
    signal.throwIfAborted();
    throw cause;
  } finally {
    clearInterval(watch);
    signal.removeEventListener("abort", stop);
  }
}

/** Tells how far containerd is, of the disk's bytes. */
function watchWrite(store: ImageStore, disk: DiskToStore): NodeJS.Timeout {
  const { key: ref, onProgress } = disk;
  const total = disk.info.fileSizeBytes;
  onProgress({ step: "store", done: 0, total });
  let last = 0;
  return setInterval(() => {
    store.content.status({ ref }).then(
      ({ status }) => {
        const done = Math.min(Number(status?.offset ?? 0n), total);
        if (done <= last) return;
        last = done;
        onProgress({ step: "store", done, total });
      },
      () => undefined, // it has not begun, or is over: the call itself says how
    );
  }, LOOK_EVERY_MS);
}
