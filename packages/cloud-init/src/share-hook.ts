/** A directory or file of the pod and where its guest is to have it. */
export interface GuestMount {
  /** Below the share. */
  readonly name: string;
  /** Absolute path in the guest. */
  readonly target: string;
  readonly kind: "directory" | "file";
  readonly readOnly: boolean;
}

/** Where the guest has all of them. */
const SHARE = "/run/trine/shares";

/**
 * Vendor data that mounts the pod's shares, parents before children as they are given, at every boot and before
 * cloud-init does anything else: a boothook of the vendor's takes no key from the user's own data. What does not work is
 * said in the guest's kernel log and keeps nothing else from coming up.
 */
export function shareHook(tag: string, mounts: readonly GuestMount[]): string {
  const places = mounts.map(
    ({ name, target, kind, readOnly }) =>
      `put ${kind} ${readOnly ? "ro" : "rw"} ${quoted(`${SHARE}/${name}`)} ${quoted(target)}`,
  );
  return [...HOOK(quoted(tag)), ...places, ""].join("\n");
}

const HOOK = (tag: string): string[] => [
  "#cloud-boothook",
  "#!/bin/sh",
  "# Mounts the volumes of the pod.",
  'say() { echo "trine: $*" >/dev/kmsg; }',
  "put() {",
  '  if [ "$1" = directory ]; then mkdir -p "$4"; else mkdir -p "${4%/*}" && : >>"$4"; fi',
  // Without the guest's own links, such as /var/run: mount(8) looks for what it has mounted by name.
  '  at=$(readlink -f "$4")',
  '  mount --bind "$3" "$at" || { say "cannot mount the volume on $4"; return; }',
  '  [ "$2" = rw ] || mount -o remount,bind,ro "$at" || say "cannot make $4 read-only"',
  "}",
  `[ ! -e ${SHARE} ] || exit 0`,
  `mkdir -p ${SHARE}`,
  `mount -t virtiofs ${tag} ${SHARE} || { say "cannot mount the pod's volumes: has this kernel virtiofs?"; rmdir ${SHARE}; exit 1; }`,
];

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
