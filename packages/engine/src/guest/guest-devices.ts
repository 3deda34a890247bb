import { TrineError } from "@trine/base";
import { blockVolume, isAny, isAnyKind } from "../block-device.ts";
import type { BlockVolume } from "../block-device.ts";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";

/** Devices that mean the same in every kernel (Documentation/admin-guide/devices.txt), type:major:minor. */
const EVERYWHERE = new Set([
  ...["c:1:3", "c:1:5", "c:1:7", "c:1:8", "c:1:9"], // null zero full random urandom
  ...["c:5:0", "c:5:1", "c:5:2"], // tty console ptmx
  ...["c:10:200", "c:10:229"], // net/tun fuse
]);
export interface GuestDevices {
  /** Of the specification, for the guest. */
  readonly devices: readonly unknown[];
  readonly volumes: readonly BlockVolume[];
  /** `linux.resources` without rules for block devices of the node: their numbers are others' in the guest. */
  readonly resources: unknown;
}

/**
 * The devices of a container that its guest has as well, and the block devices that become disks of the guest. Any
 * other is one of the node: a privileged container, which is given all of them unasked, goes without; one that
 * names it is refused (kind `invalid`, with the reason).
 */
export function guestDevices(linux: JsonObject): GuestDevices {
  const resources = linux["resources"];
  const rules = list(record(resources)["devices"]);
  const all = list(linux["devices"]);
  const devices = all.filter(isEverywhere);
  if (mayUseAll(rules)) return { devices, volumes: [], resources };
  const others = all.filter((each) => !isEverywhere(each));
  for (const each of others) requireBlock(record(each));
  const volumes = others.map((each) => blockVolume(record(each), rules));
  const kept = rules.filter((each) => !isOneBlockDevice(record(each)));
  const changed = kept.length < rules.length;
  return {
    devices,
    volumes,
    resources: changed ? { ...record(resources), devices: kept } : resources,
  };
}

function isEverywhere(device: unknown): boolean {
  const { type, major, minor } = record(device);
  return EVERYWHERE.has(`${String(type)}:${String(major)}:${String(minor)}`);
}

function requireBlock({ type, path }: JsonObject): void {
  if (type === "b") return;
  throw new TrineError(
    "invalid",
    `device ${text(path)}: character devices of the node cannot be given to a microVM, whose kernel has none of ` +
      "its drivers; block devices, /dev/fuse and /dev/net/tun can",
  );
}

function isOneBlockDevice({ type, major }: JsonObject): boolean {
  return type === "b" && !isAny(major);
}

/** A rule for all devices, as privileged containers have. */
function mayUseAll(rules: readonly unknown[]): boolean {
  return rules.some((each) => {
    const { allow, type, major, minor } = record(each);
    return allow === true && isAnyKind(type) && isAny(major) && isAny(minor);
  });
}
