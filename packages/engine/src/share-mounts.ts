import { rmdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError, errnoOf } from "@trine/base";
import type { MountRequestSchema } from "@trine/proto/shim";
import type { ShimLink } from "@trine/shim-client";
import { list, record, text } from "./json-shape.ts";
import type { ShareMount } from "./pod-document.ts";

type MountInit = MessageInitShape<typeof MountRequestSchema>;

const SHARED = ["shared", "rshared"];
const SLAVE = ["slave", "rslave"];
/** Words of mount propagation among a mount's options. */
export const PROPAGATION = [...SHARED, ...SLAVE, "private", "rprivate", "unbindable"];

/** A feature of shims (shim.proto). */
const READ_ONLY_BELOW = "read-only-below";

/** With the second also what is mounted below. */
export const READ_ONLY = ["ro", "rro"];

/** A mount of an OCI specification. */
export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
  readonly isBind: boolean;
  /** What is mounted below the source later is to be seen too (mountPropagation: HostToContainer). */
  readonly follows: boolean;
}

/** Something of the host that is mounted below a directory of the share. */
export interface SharedMount {
  readonly source: string;
  /** Name in that directory. */
  readonly name: string;
  readonly readOnly: boolean;
  /** What is mounted below the source too. */
  readonly readOnlyBelow: boolean;
  readonly follows: boolean;
}

/** A mount of the share and what comes there. */
export interface PlannedMount extends ShareMount {
  readonly what: Omit<MountInit, "target" | "$typeName">;
}

/** Kind `invalid` for what no guest can honour. */
export function readMount(value: unknown): OciMount {
  const { destination, type, source, options } = record(value);
  const words = list(options).map(text);
  const mount = {
    destination: text(destination),
    type: text(type),
    source: text(source),
    options: words,
    isBind: type === "bind" || words.includes("bind") || words.includes("rbind"),
    follows: words.some((word) => SLAVE.includes(word)),
  };
  if (mount.isBind && !mount.source.startsWith("/")) {
    throw new TrineError("invalid", `the mount on ${mount.destination} has no absolute source`);
  }
  if (words.some((word) => SHARED.includes(word))) {
    const what = `the mount on ${mount.destination} is to carry mounts back to the node`;
    const why = "mounts made in a guest cannot leave it";
    throw new TrineError("invalid", `${what} (mountPropagation: Bidirectional): ${why}`);
  }
  return mount;
}

/** Where the sources of mounts go below `dir`. Kind `invalid` for a source that no file server can show. */
export function planVolumes(dir: string, mounts: readonly SharedMount[]): Promise<PlannedMount[]> {
  const volumes = mounts.map(async ({ name, ...bind }): Promise<PlannedMount> => {
    const kind = await kindOfSource(bind.source);
    return { target: join(dir, name), kind, what: { bind } };
  });
  return Promise.all(volumes);
}

/** Mounts all of it. Repeatable, also half done. Kind `wrongState` for what this pod's shim is too old for. */
export async function mountShare(shim: ShimLink, mounts: readonly PlannedMount[]): Promise<void> {
  await requireReadOnlyBelow(shim, mounts);
  for (const { target, what } of mounts) await shim.mount({ target, ...what });
}

/** An older shim, of a pod that was there before trined was updated, passes over what it does not know. */
async function requireReadOnlyBelow(
  shim: ShimLink,
  mounts: readonly PlannedMount[],
): Promise<void> {
  const wanting = mounts.find(({ what: { bind } }) => bind?.readOnlyBelow === true);
  if (wanting === undefined) return;
  const { version, features } = await shim.describe();
  if (features.includes(READ_ONLY_BELOW)) return;
  const what = `${wanting.what.bind?.source ?? ""} is to be read-only with all that is mounted below it`;
  const why = `the pod's shim (${version}) cannot do that yet: delete the pod and make it anew`;
  throw new TrineError("wrongState", `${what}; ${why}`);
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

async function kindOfSource(source: string): Promise<ShareMount["kind"]> {
  const stats = await stat(source).catch((cause: unknown) => {
    const kind = errnoOf(cause) === "ENOENT" ? "notFound" : "unavailable";
    throw new TrineError(kind, `the volume's source ${source} cannot be read`, { cause });
  });
  if (stats.isDirectory()) return "directory";
  if (stats.isFile()) return "file";
  const what = `${source} is a socket, pipe or device of the node`;
  throw new TrineError("invalid", `${what}: a guest is given files and directories only`);
}

function absent(cause: unknown): undefined {
  if (errnoOf(cause) !== "ENOENT") throw cause;
  return undefined;
}
