import { TrineError } from "@trine/base";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";

/** Devices that mean the same in every kernel (Documentation/admin-guide/devices.txt), type:major:minor. */
const EVERYWHERE = new Set([
  ...["c:1:3", "c:1:5", "c:1:7", "c:1:8", "c:1:9"], // null zero full random urandom
  ...["c:5:0", "c:5:1", "c:5:2"], // tty console ptmx
  ...["c:10:200", "c:10:229"], // net/tun fuse
]);

/**
 * The devices of a container that its guest has as well. Any other is one of the node: a privileged container,
 * which is given all of them unasked, goes without; one that names it is refused.
 */
export function guestDevices(linux: JsonObject): readonly unknown[] {
  const devices = list(linux["devices"]);
  const kept = devices.filter(isEverywhere);
  const left = devices.find((each) => !isEverywhere(each));
  if (left === undefined || mayUseAll(linux)) return kept;
  const path = text(record(left)["path"]);
  throw new TrineError(
    "invalid",
    `device ${path}: devices of the node cannot be given to a microVM; use a volume with a file system`,
  );
}

function isEverywhere(device: unknown): boolean {
  const { type, major, minor } = record(device);
  return EVERYWHERE.has(`${String(type)}:${String(major)}:${String(minor)}`);
}

/** A rule for all devices, as privileged containers have. */
function mayUseAll(linux: JsonObject): boolean {
  const isAny = (value: unknown): boolean => value === undefined || value === null || value === -1;
  return list(record(linux["resources"])["devices"]).some((each) => {
    const { allow, type, major, minor } = record(each);
    const isAllKinds = type === undefined || type === "" || type === "a";
    return allow === true && isAllKinds && isAny(major) && isAny(minor);
  });
}
