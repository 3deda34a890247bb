import { Undo, kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { imageDocuments, machineLayer } from "@trine/disk-images";
import type { ImageDocument } from "@trine/disk-images";
import type { DiskToStore, MadeLayer } from "./disk-to-store.ts";
import { directoryOf, placeLayer } from "./placed-layer.ts";
import { putImage } from "./put-image.ts";
import type { NamedImage } from "./put-image.ts";
import { streamLayer } from "./streamed-layer.ts";

/** containerd frees by itself what an import that died has left. */
const LEASE_MS = 24 * 3_600_000;

export interface StoredImage {
  readonly reference: string;
  readonly digest: string;
  readonly layerDigest: string;
}

/** Makes one image of a disk, without a name yet. */
export type MakeImage = (disk: DiskToStore) => Promise<StoredImage>;

/** Makes a disk an image of containerd's store, unpacked, as `storeTogether` does several. */
export function storeImage(
  store: ImageStore,
  disk: DiskToStore,
  signal: AbortSignal,
): Promise<StoredImage> {
  return storeTogether(store, disk.key, (make) => make(disk), signal);
}

/**
 * Makes disks images of containerd's store, unpacked. All of it belongs to the lease `key`, theirs too, until `work` is done
 * and they get their names; whatever fails, what was made goes, names too, and containerd collects it at once. Killed between
 * two names it leaves the first.
 */
export async function storeTogether<T>(
  store: ImageStore,
  key: string,
  work: (make: MakeImage) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const undo = new Undo();
  const made: (() => Promise<void>)[] = [];
  try {
    await takeLease(store, key);
    undo.defer("lease", () => store.leases.delete({ id: key, sync: true }));
    const leased = store.under(key);
    const result = await work(async (disk) => {
      const { layer, manifest } = await makeImage(leased, disk, undo, signal);
      const { reference: name, labels, onProgress } = disk;
      made.push(async () => {
        onProgress({ step: "register", done: 0 });
        const target = { ...manifest, sizeBytes: manifest.bytes.length };
        await nameImage(leased, key, { name, labels, target }, undo);
      });
      return { reference: name, digest: manifest.digest, layerDigest: layer.digest };
    });
    signal.throwIfAborted();
    for (const register of made) await register();
    undo.keep();
    await store.leases.delete({ id: key, sync: true });
    return result;
  } catch (cause) {
    // What could not be undone is containerd's to collect when the lease ends.
    await undo.run();
    throw cause;
  }
}

/** `putImage`, undone with the rest: a new name goes, one that meant another image means that again. */
async function nameImage(
  leased: ImageStore,
  lease: string,
  named: NamedImage,
  undo: Undo,
): Promise<void> {
  const { name } = named;
  const before = await findImage(leased, name);
  if (before?.target === undefined) {
    undo.defer("name", () => leased.images.delete({ name }));
  } else {
    // What loses its last name is collected at any time.
    const resource = { id: before.target.digest, type: "content" };
    await leased.leases.addResource({ id: lease, resource });
    const updateMask = { paths: ["target", "labels"] };
    undo.defer("name", () => leased.images.update({ image: before, updateMask }));
  }
  await putImage(leased, named);
}

type KnownImage = Awaited<ReturnType<ImageStore["images"]["get"]>>["image"];

/** Undefined: no image has that name. */
export async function findImage(store: ImageStore, name: string): Promise<KnownImage> {
  try {
    return (await store.images.get({ name })).image;
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

async function makeImage(
  leased: ImageStore,
  disk: DiskToStore,
  undo: Undo,
  signal: AbortSignal,
): Promise<{ readonly layer: MadeLayer; readonly manifest: ImageDocument }> {
  const layer = await makeLayer(leased, disk, undo, signal);
  const { config, manifest } = imageDocuments({ ...disk, layer });
  const snapshot = `containerd.io/gc.ref.snapshot.${disk.snapshotter}`;
  await writeDocument(leased, disk.key, config, { [snapshot]: layer.digest }, signal);
  await writeDocument(
    leased,
    disk.key,
    manifest,
    {
      "containerd.io/gc.ref.content.config": config.digest,
      "containerd.io/gc.ref.content.l.0": layer.digest,
    },
    signal,
  );
  return { layer, manifest };
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

/** Makes the layer's blob and, under its name, the snapshot with the disk in it: the chain id of an only layer is its digest. */
async function makeLayer(
  store: ImageStore,
  disk: DiskToStore,
  undo: Undo,
  signal: AbortSignal,
): Promise<MadeLayer> {
  const { snapshotter, key } = disk;
  await orAbsent(store.snapshots.remove({ snapshotter, key }));
  signal.throwIfAborted();
  const { mounts } = await store.snapshots.prepare({ snapshotter, key });
  undo.defer("snapshot", () => store.snapshots.remove({ snapshotter, key }));
  undo.defer("write", () => store.content.abort({ ref: key }));
  const directory = directoryOf(mounts);
  const make = { disk, layer: machineLayer(disk.info), mounts };
  const made = await (directory === undefined
    ? streamLayer(store, make, signal)
    : placeLayer(store, directory, make, signal));
  signal.throwIfAborted();
  try {
    await store.snapshots.commit({ snapshotter, name: made.digest, key });
  } catch (cause) {
    if (kindOf(cause) !== "alreadyExists") throw cause;
    await orAbsent(store.snapshots.remove({ snapshotter, key }));
  }
  return made;
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
