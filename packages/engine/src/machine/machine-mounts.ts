import type { DiskSetting } from "@trine/annotations";
import { TrineError, quote } from "@trine/base";
import { list } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import { READ_ONLY, readMount } from "../share-mounts.ts";
import type { OciMount, SharedMount } from "../share-mounts.ts";
import { nearestAbove, plain } from "./disk-volumes.ts";

/** A volume of the machine's container, and where its guest is to have it. */
export interface MachineMount {
  readonly share: SharedMount;
  readonly target: string;
}

/** A machine's own: cloud-init makes them, of what the pod is told. */
const OWN_FILES = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
const OWN_TREES = /^\/(dev|proc|sys)(\/|$)/;
/** What the seed is made of: read on the node, and the guest has it in the seed. */
const OF_THE_SEED = "/trine.dev/";
const MAX_MOUNTS = 256;
const MAX_NAME = 200;
/** What a script of the seed can name. */
const PLAIN = /^\/[^\0-\x1f\x7f]*$/; // eslint-disable-line no-control-regex -- those are what is refused

/**
 * What of a container's mounts its guest is to see: those of the host, parents before children, less the files that a
 * machine makes itself and the volumes that hold its disks. Kind `invalid` for what no guest can honour.
 */
export function machineMounts(
  spec: JsonObject,
  disks: readonly Pick<DiskSetting, "source">[],
): readonly MachineMount[] {
  const binds = list(spec["mounts"]).map(readMount).filter(isVolume);
  const ofDisks = disks.flatMap(({ source }) => {
    if (source.kind !== "file" && source.kind !== "image" && source.kind !== "files") return [];
    return nearestAbove(binds, source.path) ?? [];
  });
  const volumes = binds.filter((mount) => !ofDisks.includes(mount));
  if (volumes.length > MAX_MOUNTS) {
    throw new TrineError(
      "invalid",
      `${volumes.length} volumes: a machine has at most ${MAX_MOUNTS}`,
    );
  }
  const names = new Set<string>();
  return volumes
    .map((mount) => ({ mount, target: targetOf(mount) }))
    .sort((a, b) => depth(a.target) - depth(b.target))
    .map(({ mount: { source, options, follows }, target }) => {
      const readOnly = options.some((option) => READ_ONLY.includes(option));
      const how = { readOnly, readOnlyBelow: options.includes("rro"), follows };
      return { target, share: { name: nameOf(target, names), source, ...how } };
    });
}

function isVolume({ isBind, destination }: OciMount): boolean {
  const at = plain(destination);
  return (
    isBind &&
    at !== "/" &&
    !OWN_FILES.includes(at) &&
    !OWN_TREES.test(at) &&
    !at.startsWith(OF_THE_SEED)
  );
}

function targetOf({ destination }: OciMount): string {
  const target = plain(destination);
  if (PLAIN.test(target)) return target;
  throw new TrineError(
    "invalid",
    `mountPath ${quote(destination)}: an absolute path of plain text`,
  );
}

function depth(path: string): number {
  return path.split("/").length;
}

/** As its place in the guest, with - between the parts: for those who mount by hand. */
function nameOf(target: string, taken: Set<string>): string {
  const joined = target.slice(1).replaceAll("/", "-");
  const name = joined.replaceAll(/[^A-Za-z0-9._-]/g, "_").slice(0, MAX_NAME);
  const free = [name, ...Array.from({ length: MAX_MOUNTS }, (_, index) => `${name}.${index + 2}`)];
  const found = free.find((each) => !taken.has(each) && !each.startsWith(".")) ?? `_${taken.size}`;
  taken.add(found);
  return found;
}
