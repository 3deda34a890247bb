import { rmdir, stat, unlink } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError, errnoOf } from "@trine/base";
import type { MountRequestSchema } from "@trine/proto/shim";
import type { ShimLink } from "@trine/shim-client";
import type { Bundle } from "../bundle.ts";
import type { SharedMount } from "./guest-spec.ts";
import { record, text } from "../json-shape.ts";
import type { ShareMount } from "../pod-document.ts";
import type { CreateTask } from "../requests.ts";

type MountInit = MessageInitShape<typeof MountRequestSchema>;

/** A mount of the share and what comes there. */
export interface PlannedMount extends ShareMount {
  readonly what: Omit<MountInit, "target" | "$typeName">;
}

/**
 * Where a container's root, unless it is on disks, and the sources of its mounts go below `dir`, its directory of
 * the share. Kind `invalid` for a source that no file server can show.
 */
export async function planShare(
  dir: string,
  container: { task: CreateTask; bundle: Bundle; onDisks: boolean },
  mounts: readonly SharedMount[],
): Promise<PlannedMount[]> {
  const volumes = mounts.map(async ({ name, source, readOnly, follows }): Promise<PlannedMount> => {
    const kind = await kindOfSource(source);
    return { target: join(dir, name), kind, what: { bind: { source, readOnly, follows } } };
  });
  const root = { target: join(dir, "rootfs"), kind: "directory", what: rootOf(container) } as const;
  return [...(container.onDisks ? [] : [root]), ...(await Promise.all(volumes))];
}

/** Mounts all of it. Repeatable, also half done. */
export async function mountShare(shim: ShimLink, mounts: readonly PlannedMount[]): Promise<void> {
  for (const { target, what } of mounts) await shim.mount({ target, ...what });
}

/** Takes all of it off again. What is gone already is a success; nothing is removed through a mount. */
export async function unmountShare(
  shim: ShimLink,
  dir: string,
  mounts: readonly ShareMount[],
): Promise<void> {
  for (const { target, kind } of [...mounts].reverse()) {
    await shim.unmount(target);
    await (kind === "directory" ? rmdir(target) : unlink(target)).catch(absent);
  }
  await rmdir(dir).catch(absent);
}

/** containerd's snapshot, or what docker and `ctr run --rootfs` have made ready. */
function rootOf({ task, bundle }: { task: CreateTask; bundle: Bundle }): PlannedMount["what"] {
  if (task.rootfs.length > 0) {
    return { mounts: task.rootfs.map((layer) => ({ ...layer, options: [...layer.options] })) };
  }
  const path = text(record(bundle.spec["root"])["path"]) || "rootfs";
  return { bind: { source: isAbsolute(path) ? path : join(bundle.path, path) } };
}

async function kindOfSource(source: string): Promise<ShareMount["kind"]> {
  const stats = await stat(source).catch((cause: unknown) => {
    const kind = errnoOf(cause) === "ENOENT" ? "notFound" : "unavailable";
    throw new TrineError(kind, `the volume's source ${source} cannot be read`, { cause });
  });
  if (stats.isDirectory()) return "directory";
  if (stats.isFile()) return "file";
  throw new TrineError(
    "invalid",
    `${source} is a socket, pipe or device of the node: a microVM is given files and directories only`,
  );
}

function absent(cause: unknown): undefined {
  if (errnoOf(cause) !== "ENOENT") throw cause;
  return undefined;
}
