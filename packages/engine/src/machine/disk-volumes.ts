import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { join, posix } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import type { Beneath } from "@trine/disk-images";
import type { ShimLink } from "@trine/shim-client";
import { blockVolume } from "../block-device.ts";
import type { BlockVolume } from "../block-device.ts";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";

/** A volume of the container, and what of it is meant. */
interface VolumeAt {
  /** On the host. */
  readonly source: string;
  readonly parts: readonly string[];
  readonly readOnly: boolean;
}

/** The container's block device of that path. Kind `invalid`, with those it has, when there is none. */
export function deviceAt(spec: JsonObject, path: string): BlockVolume {
  const linux = record(spec["linux"]);
  const devices = list(linux["devices"]).map(record);
  const wanted = posix.normalize(path);
  const found = devices.find((each) => posix.normalize(text(each["path"])) === wanted);
  if (found?.["type"] === "b") {
    return blockVolume(found, list(record(linux["resources"])["devices"]));
  }
  const blocks = devices.filter(({ type }) => type === "b").map((each) => text(each["path"]));
  const has = blocks.length === 0 ? "it has none" : `it has ${blocks.join(", ")}`;
  throw new TrineError("invalid", `the container has no block device ${path}: ${has}`);
}

/** The volume that is mounted at or above a path of the container. Kind `invalid` when none is. */
export function volumeAt(spec: JsonObject, path: string): VolumeAt {
  const wanted = posix.normalize(path).replace(/(.)\/$/, "$1");
  const above = list(spec["mounts"]).flatMap((each) => {
    const { destination, source, options } = record(each);
    const at = posix.normalize(text(destination)).replace(/(.)\/$/, "$1");
    const covers = at !== "/" && (wanted === at || wanted.startsWith(`${at}/`));
    if (!covers || !text(source).startsWith("/")) return [];
    const readOnly = list(options).includes("ro");
    const parts = wanted.slice(at.length).split("/").filter(Boolean);
    return [{ source: text(source), parts, readOnly }];
  });
  const [nearest] = above.sort((a, b) => a.parts.length - b.parts.length);
  if (nearest !== undefined) return nearest;
  throw new TrineError("invalid", `no volume of the container is mounted at or above ${path}`);
}

/** Where the volumes of a machine's disks are mounted for it, a place for each disk. */
function disksDir(podDir: string): string {
  return join(podDir, "disks");
}

/** Makes a node of the device that its VMM alone is given. Repeatable. */
export async function mountDevice(
  shim: ShimLink,
  podDir: string,
  disk: { readonly name: string; readonly readOnly: boolean; readonly shared: boolean },
  { major, minor }: BlockVolume,
): Promise<string> {
  const target = join(disksDir(podDir), disk.name);
  const { readOnly, shared } = disk;
  await shim.mount({ target, device: { major, minor, readOnly, shared } });
  return target;
}

/** Mounts a volume for a disk and answers what of it is meant; a volume that is one file has no parts. Repeatable. */
export async function mountVolume(
  shim: ShimLink,
  podDir: string,
  disk: { readonly name: string; readonly readOnly: boolean },
  { source, parts }: VolumeAt,
): Promise<Beneath> {
  const target = join(disksDir(podDir), disk.name);
  await shim.mount({ target, bind: { source, readOnly: disk.readOnly } });
  return { dir: target, parts };
}

/** Takes all of them off again; nothing is removed through a mount. Repeatable. */
export async function unmountDisks(shim: ShimLink, podDir: string): Promise<void> {
  const dir = disksDir(podDir);
  const names = await readdir(dir).catch((cause: unknown) => {
    if (errnoOf(cause) !== "ENOENT") throw cause;
    return [];
  });
  for (const name of names) {
    const place = join(dir, name);
    await shim.unmount(place);
    await ((await lstat(place)).isDirectory() ? rmdir(place) : rm(place));
  }
  if (names.length > 0) await rmdir(dir);
}
