import { TrineError } from "@trine/base";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";

/** Devices that mean the same in every kernel (Documentation/admin-guide/devices.txt), type:major:minor. */
const EVERYWHERE = new Set([
  ...["c:1:3", "c:1:5", "c:1:7", "c:1:8", "c:1:9"], // null zero full random urandom
  ...["c:5:0", "c:5:1", "c:5:2"], // tty console ptmx
  ...["c:10:200", "c:10:229"], // net/tun fuse
]);
/** Of a number as Linux has it. */
const [MAX_MAJOR, MAX_MINOR] = [0xfff, 0xf_ffff];
const PERMISSIONS = 0o777;
const DEFAULT_MODE = 0o660;
const LETTERS = ["r", "w", "m"];

/** A block device of the node that a container has as a device. */
export interface BlockVolume {
  /** In the container. */
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** What the container may do with it: letters r, w, m of OCI's device rules, at least one. */
  readonly access: string;
  readonly readOnly: boolean;
}

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

function blockVolume(device: JsonObject, rules: readonly unknown[]): BlockVolume {
  const { type, fileMode, uid, gid } = device;
  const path = text(device["path"]);
  const [major, minor] = [device["major"], device["minor"]];
  if (type !== "b") {
    throw new TrineError(
      "invalid",
      `device ${path}: character devices of the node cannot be given to a microVM, whose kernel has none of ` +
        "its drivers; block devices, /dev/fuse and /dev/net/tun can",
    );
  }
  if (!path.startsWith("/") || !isNumber(major, MAX_MAJOR) || !isNumber(minor, MAX_MINOR)) {
    const named = `${path} ${String(major)}:${String(minor)}`;
    throw new TrineError("invalid", `block device ${named}: not a path and a device's number`);
  }
  const access = accessTo(major, minor, rules);
  return {
    ...{ path, major, minor },
    mode: isNumber(fileMode, 0o177_777) ? fileMode & PERMISSIONS : DEFAULT_MODE,
    uid: isNumber(uid, 0xffff_ffff) ? uid : 0,
    gid: isNumber(gid, 0xffff_ffff) ? gid : 0,
    access: access === "" ? "m" : access,
    readOnly: !access.includes("w"),
  };
}

function isNumber(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

/** As a control group reads its rules: nothing is allowed, then each rule gives or takes. */
function accessTo(major: number, minor: number, rules: readonly unknown[]): string {
  const allowed = new Set<string>();
  for (const each of rules) {
    const rule = record(each);
    const kind = rule["type"];
    const covers = (isAnyKind(kind) || kind === "b") && fits(rule["major"], major);
    if (!covers || !fits(rule["minor"], minor)) continue;
    for (const letter of text(rule["access"]) || LETTERS.join("")) {
      if (rule["allow"] === true) allowed.add(letter);
      else allowed.delete(letter);
    }
  }
  return LETTERS.filter((letter) => allowed.has(letter)).join("");
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

function isAnyKind(type: unknown): boolean {
  return type === undefined || type === "" || type === "a";
}

function isAny(value: unknown): boolean {
  return value === undefined || value === null || value === -1;
}

function fits(rule: unknown, number: number): boolean {
  return isAny(rule) || rule === number;
}
