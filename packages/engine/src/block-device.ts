import { TrineError } from "@trine/base";
import { record, text } from "./json-shape.ts";
import type { JsonObject } from "./json-shape.ts";

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

/** Reads an entry of type b; kind `invalid` for one that is none. `rules`: `linux.resources.devices`. */
export function blockVolume(device: JsonObject, rules: readonly unknown[]): BlockVolume {
  const { fileMode, uid, gid } = device;
  const path = text(device["path"]);
  const [major, minor] = [device["major"], device["minor"]];
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

export function isAnyKind(type: unknown): boolean {
  return type === undefined || type === "" || type === "a";
}

export function isAny(value: unknown): boolean {
  return value === undefined || value === null || value === -1;
}

function fits(rule: unknown, number: number): boolean {
  return isAny(rule) || rule === number;
}
