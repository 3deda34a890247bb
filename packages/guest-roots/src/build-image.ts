import { chmod, chown, mkdir, open, rename, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, kindOf } from "@trine/base";
import { checkErofs, uuidOfChain } from "./erofs-file.ts";
import type { OpenStore, Origin } from "./image-origins.ts";
import { runChild } from "./run-child.ts";

/** A build that hangs is ended then. */
const BUILD_MS = 30 * 60_000;
/** containerd forgets the lease then, whoever has made it and is no more. */
const LEASE_MS = 2 * BUILD_MS;
/** Part of the disk that a build leaves free: kubelet removes images before it is full. */
const FREE_PART = 0.05;

export interface Builder {
  /** trine-rootfs and mkfs.erofs. */
  readonly program: string;
  readonly mkfs: string;
  /** User it runs as. */
  readonly uid: number;
  readonly maxBytes: number;
  readonly openStore: OpenStore;
}

export interface ImageBuild {
  /** The digits of the image's chain id. */
  readonly hex: string;
  readonly origin: Origin;
  /** Directories, uppermost first. */
  readonly layers: readonly string[];
  /** Where the file goes. */
  readonly path: string;
  /** An empty directory, and a file, of this build's own. */
  readonly scratchDir: string;
}

/** Writes an image's file. Its layers stay while this works; when it fails nothing is left. */
export async function buildImage(
  builder: Builder,
  build: ImageBuild,
  signal: AbortSignal,
): Promise<void> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(BUILD_MS)]);
  const work = join(build.scratchDir, build.hex);
  const out = `${work}.erofs`;
  await holdLayers(builder.openStore, build);
  try {
    await mkdir(work, { mode: 0o700 });
    await using file = await open(out, "wx", 0o600);
    await file.chown(builder.uid, builder.uid);
    const uuid = uuidOfChain(build.hex);
    await runChild(builder.program, await argumentsOf(builder, build, { uuid, work, out }), until);
    await checkErofs(out, uuid);
    await file.sync();
    await chown(out, 0, 0);
    await chmod(out, 0o644);
    await rename(out, build.path);
  } finally {
    await rm(out, { force: true });
    await rm(work, { recursive: true, force: true });
    await releaseLayers(builder.openStore, build);
  }
}

/** Ends the lease of a build, also of one that an earlier daemon began. */
export async function releaseLayers(
  openStore: OpenStore,
  { origin, hex }: Pick<ImageBuild, "origin" | "hex">,
): Promise<void> {
  const store = openStore(origin.containerd, origin.namespace);
  try {
    await store.leases.delete({ id: leaseOf(hex) });
  } catch (cause) {
    // containerd forgets it by itself in time.
    if (!["notFound", "unavailable"].includes(kindOf(cause))) throw cause;
  }
}

async function holdLayers(openStore: OpenStore, { origin, hex }: ImageBuild): Promise<void> {
  await releaseLayers(openStore, { origin, hex });
  const store = openStore(origin.containerd, origin.namespace);
  const expire = new Date(Date.now() + LEASE_MS).toISOString();
  const id = leaseOf(hex);
  await store.leases.create({ id, labels: { "containerd.io/gc.expire": expire } });
  const type = `snapshots/${origin.snapshotter}`;
  await store.leases.addResource({ id, resource: { id: `sha256:${hex}`, type } });
}

function leaseOf(hex: string): string {
  return `trine-root-${hex}`;
}

async function argumentsOf(
  builder: Builder,
  { layers, scratchDir }: ImageBuild,
  made: { uuid: string; work: string; out: string },
): Promise<string[]> {
  const { bavail, blocks, bsize } = await statfs(scratchDir);
  const room = Math.floor((bavail - blocks * FREE_PART) * bsize);
  const most = Math.min(builder.maxBytes, room);
  if (most <= 0) throw new TrineError("exhausted", `too little room on the disk of ${scratchDir}`);
  return [
    ...["--mkfs", builder.mkfs, "--uid", `${builder.uid}`, "--max-bytes", `${most}`],
    ...["--uuid", made.uuid, "--work", made.work, "--out", made.out],
    ...layers,
  ];
}
