/** A directory or file of the pod and where its guest is to have it. */
export interface GuestMount {
  /** Below the share. */
  readonly name: string;
  /** Absolute path in the guest. */
  readonly target: string;
  readonly kind: "directory" | "file";
  readonly readOnly: boolean;
}

/** A directory of the pod that is a file system of its own. */
export interface GuestFileSystem {
  readonly tag: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** What one device shows: all that is mounted is below it. */
interface SharedTree {
  readonly tag: string;
  readonly mounts: readonly GuestMount[];
}

/** Where the guest has all of them. */
const SHARE = "/run/trine/shares";

/**
 * Vendor data that mounts the pod's shares, parents before children whoever shows them, at every boot and before
 * cloud-init does anything else: a boothook of the vendor's takes no key from the user's own data. What does not work is
 * said in the guest's kernel log and keeps nothing else from coming up.
 */
export function shareHook(
  tree: SharedTree | undefined,
  fileSystems: readonly GuestFileSystem[] = [],
): string {
  const places = [...(tree?.mounts ?? []).map(placeOfTree), ...fileSystems.map(placeOfItsOwn)];
  // One that is mounted over its own parts would hide them.
  places.sort((a, b) => depth(a.target) - depth(b.target));
  return [
    ...HOOK,
    ...(tree === undefined ? [] : [treeLine(tree)]),
    ...places.map(({ line }) => line),
    "",
  ].join("\n");
}

const HOOK = [
  "#cloud-boothook",
  "#!/bin/sh",
  "# Mounts the volumes of the pod.",
  'say() { echo "trine: $*" >/dev/kmsg; }',
  'fix() { [ "$1" = rw ] || mount -o remount,bind,ro "$2" || say "cannot make $2 read-only"; }',
  "put() {",
  '  if [ "$1" = directory ]; then mkdir -p "$4"; else mkdir -p "${4%/*}" && : >>"$4"; fi',
  // Without the guest's own links, such as /var/run: mount(8) looks for what it has mounted by name.
  '  at=$(readlink -f "$4")',
  '  mount --bind "$3" "$at" || { say "cannot mount the volume on $4"; return; }',
  '  fix "$2" "$at"',
  "}",
  "own() {",
  '  mkdir -p "$3"; at=$(readlink -f "$3")',
  '  mount -t virtiofs "$2" "$at" || { say "cannot mount $2 on $3: has this kernel virtiofs?"; return; }',
  '  fix "$1" "$at"',
  "}",
  `[ ! -e ${SHARE} ] || exit 0`,
  `mkdir -p ${SHARE}`,
];

function treeLine({ tag }: SharedTree): string {
  return `mount -t virtiofs ${quoted(tag)} ${SHARE} || { say "cannot mount the pod's volumes: has this kernel virtiofs?"; rmdir ${SHARE}; exit 1; }`;
}

/** A line of the script, and where it mounts. */
interface Place {
  readonly target: string;
  readonly line: string;
}

function placeOfTree({ name, target, kind, readOnly }: GuestMount): Place {
  const from = quoted(`${SHARE}/${name}`);
  return { target, line: `put ${kind} ${wordOf(readOnly)} ${from} ${quoted(target)}` };
}

function placeOfItsOwn({ tag, target, readOnly }: GuestFileSystem): Place {
  return { target, line: `own ${wordOf(readOnly)} ${quoted(tag)} ${quoted(target)}` };
}

function depth(path: string): number {
  return path.split("/").length;
}

function wordOf(readOnly: boolean): "ro" | "rw" {
  return readOnly ? "ro" : "rw";
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
