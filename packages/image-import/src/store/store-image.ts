import { chmod, chown, mkdir, rename, rm, utimes } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, Undo, errnoOf, kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { imageDocuments, machineLayer } from "@trine/disk-images";
import type { ImageDocument, ImageInfo, MachineLayer } from "@trine/disk-images";
import type { OnProgress } from "../limits.ts";
import { putImage } from "./put-image.ts";

const LAYER = "application/vnd.oci.image.layer.v1.tar";
const CHUNK_BYTES = 4 * 1024 * 1024;
/** containerd frees by itself what an import that died has left. */
const LEASE_MS = 24 * 3_600_000;
/** Hashing and writing back of a whole disk. */
const APPLY_MS = 6 * 3_600_000;

export interface DiskToStore {
  readonly handle: FileHandle;
  readonly info: ImageInfo;
  /** Where the file lies, when it is ours to give away: it becomes the unpacked image. */
  readonly ownPath?: string;
  readonly reference: string;
  /** Labels of the image's name in containerd. */
  readonly labels: Readonly<Record<string, string>>;
  readonly architecture: string;
  readonly snapshotter: string;
  /** Name for lease, write and snapshot while the import goes on. */
  readonly key: string;
  readonly onProgress: OnProgress;
}

export interface StoredImage {
  readonly reference: string;
  readonly digest: string;
  readonly layerDigest: string;
}

/**
 * Makes a disk an image of containerd's store, unpacked. All of it belongs to a lease until the image has its
 * name; whatever fails, what was made goes, and containerd collects it at once.
 */
export async function storeImage(
  store: ImageStore,
  disk: DiskToStore,
  signal: AbortSignal,
): Promise<StoredImage> {
  const undo = new Undo();
  try {
    await takeLease(store, disk.key);
    undo.defer("lease", () => store.leases.delete({ id: disk.key, sync: true }));
    const leased = store.under(disk.key);
    const layer = machineLayer(disk.info);
    const { digest: layerDigest } = await writeLayer(leased, disk, layer, undo, signal);
    await unpackLayer(leased, disk, { ...layer, digest: layerDigest }, undo, signal);
    const { config, manifest } = imageDocuments({
      ...disk,
      layer: { digest: layerDigest, sizeBytes: layer.sizeBytes },
    });
    const snapshot = `containerd.io/gc.ref.snapshot.${disk.snapshotter}`;
    await writeDocument(leased, disk.key, config, { [snapshot]: layerDigest }, signal);
    await writeDocument(
      leased,
      disk.key,
      manifest,
      {
        "containerd.io/gc.ref.content.config": config.digest,
        "containerd.io/gc.ref.content.l.0": layerDigest,
      },
      signal,
    );
    signal.throwIfAborted();
    disk.onProgress({ step: "register", done: 0 });
    await putImage(leased, {
      name: disk.reference,
      labels: disk.labels,
      target: { ...manifest, sizeBytes: manifest.bytes.length },
    });
    undo.keep();
    await store.leases.delete({ id: disk.key, sync: true });
    return { reference: disk.reference, digest: manifest.digest, layerDigest };
  } catch (cause) {
    // What could not be undone is containerd's to collect when the lease ends.
    await undo.run();
    throw cause;
  }
}

/** A lease of this name is an earlier run's, which is dead: the lock of the import says so. */
export async function takeLease(store: ImageStore, id: string): Promise<void> {
  await dropLease(store, id);
  const expire = new Date(Date.now() + LEASE_MS).toISOString();
  await store.leases.create({ id, labels: { "containerd.io/gc.expire": expire } });
}

/** Ends a lease and collects what it held; one that is not there is a success. */
export async function dropLease(store: ImageStore, id: string): Promise<void> {
  await orAbsent(store.content.abort({ ref: id }));
  await orAbsent(store.leases.delete({ id, sync: true }));
}

async function orAbsent(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
  }
}

async function writeLayer(
  store: ImageStore,
  disk: DiskToStore,
  layer: MachineLayer,
  undo: Undo,
  signal: AbortSignal,
): Promise<{ digest: string }> {
  undo.defer("write", () => store.content.abort({ ref: disk.key }));
  const { sizeBytes } = layer;
  const chunks = layerChunks(disk, layer, signal);
  // Written back meanwhile, so that giving the file away has not to wait for it.
  const settling = disk.ownPath === undefined ? undefined : disk.handle.datasync();
  const [written] = await Promise.all([
    store.write({ ref: disk.key, sizeBytes, chunks }, signal),
    settling,
  ]);
  return written;
}

async function* layerChunks(
  disk: DiskToStore,
  layer: MachineLayer,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const { handle, info } = disk;
  const total = info.fileSizeBytes;
  const before = await handle.stat({ bigint: true });
  yield layer.prefix;
  for (let at = 0; at < total;) {
    signal.throwIfAborted();
    // Fresh: the sink may still hold the last one.
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, total - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw changed();
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
    disk.onProgress({ step: "store", done: at, total });
  }
  const after = await handle.stat({ bigint: true });
  if (before.size !== after.size || before.mtimeNs !== after.mtimeNs) throw changed();
  yield layer.suffix;
}

function changed(): TrineError {
  const advice = "stop what writes to it, then repeat";
  return new TrineError("conflict", `the file changed while it was read: ${advice}`);
}

/** The chain id of an only layer is its own digest. */
async function unpackLayer(
  store: ImageStore,
  disk: DiskToStore,
  layer: MachineLayer & { readonly digest: string },
  undo: Undo,
  signal: AbortSignal,
): Promise<void> {
  const { snapshotter, key } = disk;
  if (await hasSnapshot(store, snapshotter, layer.digest)) return;
  await orAbsent(store.snapshots.remove({ snapshotter, key }));
  signal.throwIfAborted();
  const { mounts } = await store.snapshots.prepare({ snapshotter, key });
  undo.defer("snapshot", () => store.snapshots.remove({ snapshotter, key }));
  const [mount, ...more] = mounts;
  const place = mount?.type === "bind" && more.length === 0 ? mount.source : undefined;
  const moved = place !== undefined && (await moveInto(place, disk, layer));
  if (!moved) {
    await giveUp(disk);
    const size = BigInt(layer.sizeBytes);
    const diff = { mediaType: LAYER, digest: layer.digest, size };
    await store.diff.apply({ diff, mounts }, { signal, timeoutMs: APPLY_MS });
  }
  signal.throwIfAborted();
  try {
    await store.snapshots.commit({ snapshotter, name: layer.digest, key });
  } catch (cause) {
    if (kindOf(cause) !== "alreadyExists") throw cause;
    await orAbsent(store.snapshots.remove({ snapshotter, key }));
  }
}

/**
 * Unpacks by giving the file itself away: no third copy, and holes stay holes. Answers whether that was
 * possible: the snapshot is a plain directory of the same file system, and the file is ours.
 */
async function moveInto(place: string, disk: DiskToStore, layer: MachineLayer): Promise<boolean> {
  if (disk.ownPath === undefined) return false;
  const directory = join(place, layer.directory.name);
  const target = join(directory, layer.disk.name);
  await disk.handle.chmod(layer.disk.mode);
  await disk.handle.chown(0, 0);
  await disk.handle.utimes(0, 0);
  // containerd says it is committed: then it has to outlive a loss of power.
  await disk.handle.datasync();
  await mkdir(directory);
  try {
    await rename(disk.ownPath, target);
  } catch (cause) {
    if (errnoOf(cause) !== "EXDEV") throw cause;
    return false;
  }
  await chmod(directory, layer.directory.mode);
  await chown(directory, 0, 0);
  await utimes(directory, 0, 0);
  return true;
}

/** The layer has all of it: unpacked from there it would be a third copy. */
async function giveUp({ handle, ownPath }: DiskToStore): Promise<void> {
  if (ownPath === undefined) return;
  await rm(ownPath);
  await handle.truncate(0);
}

async function hasSnapshot(store: ImageStore, snapshotter: string, key: string): Promise<boolean> {
  try {
    await store.snapshots.stat({ snapshotter, key });
    return true;
  } catch (cause) {
    if (kindOf(cause) === "notFound") return false;
    throw cause;
  }
}

async function writeDocument(
  store: ImageStore,
  key: string,
  document: ImageDocument,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  const { digest, bytes } = document;
  const ref = `${key}-${digest}`;
  await store.write({ ref, digest, sizeBytes: bytes.length, labels, chunks: [bytes] }, signal);
}
