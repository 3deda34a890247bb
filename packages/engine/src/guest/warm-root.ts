import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "@trine/base";
import type { Machine } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { fillRoot } from "./disk-root.ts";
import type { DiskRoot } from "./disk-root-record.ts";
import { emptySlots } from "./slots.ts";

const run = promisify(execFile);
const MAKE_MS = 30_000;

/** A root on disks, as pods have theirs, with nothing in it but one program. */
interface WarmRoot {
  readonly root: DiskRoot;
  /** Takes it out of the machine and away. `busy`: as the agent has answered. */
  readonly remove: (busy: readonly string[]) => Promise<void>;
}

/**
 * Puts a root on disks into a guest that is nobody's. Its image is made of `program` alone: an image of the node
 * would be a tenant's. Undefined where roots of pods all go through the share, or none can be made.
 */
export async function placeWarmRoot(
  pod: PodContext,
  to: { readonly guest: GuestRecord; readonly machine: Machine },
  { id, program }: { readonly id: string; readonly program: string },
): Promise<WarmRoot | undefined> {
  const { guest, machine } = to;
  if (pod.deps.roots === undefined || guest.spec.slots === undefined) return undefined;
  const dir = join(pod.files.diskDir, id);
  const made = await makeFiles(pod, { dir, program, uid: guest.uid }).catch((cause: unknown) => {
    pod.log.warn({ err: messageOf(cause) }, "a spare runs nothing from disks before its pod does");
    return undefined;
  });
  if (made === undefined) {
    await rm(dir, { recursive: true, force: true });
    return undefined;
  }
  const root: DiskRoot = { ...made, lower: "slot-ro-0", upper: "slot-rw-0" };
  guest.containers[id] = { name: id, mounts: [], state: "creating", root };
  await fillRoot(pod, machine, root);
  const remove = async (busy: readonly string[]): Promise<void> => {
    await emptySlots(pod, { guest, machine, busy }, id);
    Reflect.deleteProperty(guest.containers, id);
    await rm(dir, { recursive: true });
  };
  return { root, remove };
}

async function makeFiles(
  { deps }: PodContext,
  { dir, program, uid }: { dir: string; program: string; uid: number },
): Promise<Pick<DiskRoot, "image" | "layer"> | undefined> {
  const { roots, fileServer } = deps.config.microvms;
  const tree = join(dir, "tree");
  const upper = join(dir, "upper");
  const image = join(dir, "image");
  await mkdir(dirname(join(tree, program)), { recursive: true });
  // The last as in nearly every image: the container's own files come there, and overlay makes it the layer's first.
  for (const name of ["proc", "dev", "sys", "etc"]) await mkdir(join(tree, name));
  await mkdir(upper);
  await copyFile(fileServer, join(tree, program));
  await run(roots.mkfs, ["--quiet", image, tree], { timeout: MAKE_MS });
  await chmod(image, 0o644);
  const layer = await deps.roots?.placeLayer(upper, uid);
  return layer === undefined ? undefined : { image, layer };
}
