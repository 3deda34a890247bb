import { TrineError } from "@trine/base";

/** What an archive holds at a path; its owner is root, its times are 0. */
export type CpioEntry =
  | { readonly path: string; readonly kind: "directory" }
  | {
      readonly path: string;
      readonly kind: "file";
      readonly data: Uint8Array;
      readonly executable?: boolean;
    }
  | {
      readonly path: string;
      readonly kind: "device";
      readonly major: number;
      readonly minor: number;
      /** Permissions. */
      readonly mode: number;
    };

const TRAILER = "TRAILER!!!";
const MAX_PATH = 4096;
const MAX_FILE = 0xffff_ffff;

interface Record {
  readonly name: string;
  readonly mode: number;
  readonly data: Uint8Array;
  readonly links: number;
  readonly inode: number;
  readonly device: readonly [number, number];
}

/**
 * A cpio archive in the kernel's initramfs format ("newc", not compressed). The same entries, in any order,
 * give the same bytes; parents come first and are added where they are missing. Kind `invalid` for a path
 * twice, with `..`, or absolute. Format: Documentation/driver-api/early-userspace/buffer-format.rst.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const byPath = new Map<string, CpioEntry>();
  for (const entry of entries) {
    checkPath(entry.path);
    if (byPath.has(entry.path)) throw new TrineError("invalid", `cpio: ${entry.path} comes twice`);
    byPath.set(entry.path, entry);
  }
  for (const path of [...byPath.keys()]) addParents(byPath, path);
  const sorted = [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  const records = sorted.map((entry, index) => recordOf(entry, index + 1));
  const trailer = { name: TRAILER, mode: 0, data: NOTHING, links: 1, inode: 0, device: NO_DEVICE };
  return Buffer.concat([...records, trailer as Record].flatMap(bytesOf));
}

const NOTHING = new Uint8Array();
const NO_DEVICE = [0, 0] as const;

function checkPath(path: string): void {
  const parts = path.split("/");
  const bad = parts.some((part) => part === "" || part === "." || part === "..");
  if (bad || path.includes("\0") || Buffer.byteLength(path) >= MAX_PATH) {
    throw new TrineError("invalid", `cpio: ${JSON.stringify(path.slice(0, 200))} is no path`);
  }
}

function addParents(byPath: Map<string, CpioEntry>, path: string): void {
  const parts = path.split("/").slice(0, -1);
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const parent = parts.slice(0, depth).join("/");
    const found = byPath.get(parent);
    if (found === undefined) byPath.set(parent, { path: parent, kind: "directory" });
    else if (found.kind !== "directory") {
      throw new TrineError("invalid", `cpio: ${path} is below ${parent}, which is no directory`);
    }
  }
}

function recordOf(entry: CpioEntry, inode: number): Record {
  const common = { name: entry.path, inode, links: 1, data: NOTHING, device: NO_DEVICE };
  switch (entry.kind) {
    case "directory":
      return { ...common, mode: 0o040755, links: 2 };
    case "device":
      return { ...common, mode: 0o020000 | entry.mode, device: [entry.major, entry.minor] };
    case "file":
      if (entry.data.length > MAX_FILE) {
        throw new TrineError("exhausted", `cpio: ${entry.path} is larger than 4 GiB`);
      }
      return {
        ...common,
        mode: entry.executable === true ? 0o100755 : 0o100644,
        data: entry.data,
      };
  }
}

/** Header and name, then the data, each padded to 4 bytes. */
function bytesOf(record: Record): Uint8Array[] {
  const name = Buffer.from(`${record.name}\0`);
  const fields = [
    ...[record.inode, record.mode, 0, 0, record.links, 0, record.data.length],
    ...[0, 0, ...record.device, name.length, 0],
  ];
  const hex = fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  const head = Buffer.concat([Buffer.from(`070701${hex}`), name]);
  return [head, padding(head.length), record.data, padding(record.data.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
