import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { join, posix } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import type { Beneath } from "@trine/disk-images";
import type { ShimLink } from "@trine/shim-client";
import { blockVolume } from "../block-device.ts";
import type { BlockVolume } from "../block-device.ts";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import { READ_ONLY, readMount } from "../share-mounts.ts";
import type { OciMount } from "../share-mounts.ts";

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
  const wanted = plain(path);
  const found = devices.find((each) => plain(text(each["path"])) === wanted);
  if (found?.["type"] === "b") {
    return blockVolume(found, list(record(linux["resources"])["devices"]));
  }
  const blocks = devices.filter(({ type }) => type === "b").map((each) => text(each["path"]));
  const has = blocks.length === 0 ? "it has none" : `it has ${blocks.join(", ")}`;
  throw new TrineError("invalid", `the container has no block device ${path}: ${has}`);
}

/** The volume that is mounted at or above a path of the container. Kind `invalid` when none is. */
export function volumeAt(spec: JsonObject, path: string): VolumeAt {
  const found = volumeAbove(spec, path);
  if (found !== undefined) return found;
  throw new TrineError("invalid", `no volume of the container is mounted at or above ${path}`);
}

/** The same; undefined when none is. */
export function volumeAbove(spec: JsonObject, path: string): VolumeAt | undefined {
  const binds = list(spec["mounts"])
    .map(readMount)
    .filter(({ isBind }) => isBind);
  const nearest = nearestAbove(binds, path);
  if (nearest === undefined) return undefined;
  const { source, destination, options } = nearest;
  const parts = plain(path).slice(plain(destination).length).split("/").filter(Boolean);
  return { source, parts, readOnly: options.some((option) => READ_ONLY.includes(option)) };
}

/** The mount that a path of the container lies in, the root's not counted. */
export function nearestAbove(mounts: readonly OciMount[], path: string): OciMount | undefined {
  const wanted = plain(path);
  const above = mounts.filter(({ destination }) => {
    const at = plain(destination);
    return at !== "/" && (wanted === at || wanted.startsWith(`${at}/`));
  });
  return above.sort((a, b) => plain(b.destination).length - plain(a.destination).length)[0];
}

/** Without what says nothing. */
export function plain(path: string): string {
  return posix.normalize(path).replace(/(.)\/$/, "$1");
}

/** Where the volumes of a machine's disks are mounted for it, a place for each disk; no disk's name begins with _. */
export function disksDir(podDir: string): string {
  return join(podDir, "disks");
}

/** Makes a node of the device that its VMM alone is given; `uid` may open it by itself. Repeatable. */
export async function mountDevice(
  shim: ShimLink,
  podDir: string,
  disk: { readonly name: string; readonly readOnly: boolean; readonly shared: boolean },
  { major, minor }: BlockVolume,
  uid = 0,
): Promise<string> {
  const target = join(disksDir(podDir), disk.name);
  const { readOnly, shared } = disk;
  await shim.mount({ target, device: { major, minor, readOnly, shared, uid } });
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

/** Takes all of them off again. Repeatable. */
export function unmountDisks(shim: ShimLink, podDir: string): Promise<void> {
  return unmountAllIn(shim, disksDir(podDir));
}

/** Takes off what is mounted right below a directory, and the directory away; nothing is removed through a mount. Repeatable. */
export async function unmountAllIn(shim: ShimLink, dir: string): Promise<void> {
  const names = await readdir(dir).catch((cause: unknown) => {
    if (errnoOf(cause) !== "ENOENT") throw cause;
    return undefined;
  });
  if (names === undefined) return;
  for (const name of names) {
    const place = join(dir, name);
    await shim.unmount(place);
    await ((await lstat(place)).isDirectory() ? rmdir(place) : rm(place));
  }
  await rmdir(dir);
}
