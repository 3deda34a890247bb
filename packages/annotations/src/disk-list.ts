import { parseDocument } from "yaml";
import { formatQuantity, parseQuantity } from "./quantity.ts";

/** Where a disk's bytes are. Paths are the machine container's. */
export type DiskSource =
  /** The disk in the container's image: the root's alone. */
  | { readonly kind: "machine" }
  /** `devicePath` of a volume with volumeMode Block. */
  | { readonly kind: "device"; readonly path: string }
  /** A file on a volume, QCOW2 or raw; of a directory its `disk.img`. */
  | { readonly kind: "file"; readonly path: string }
  /** A directory, such as an image volume, with one disk below its `disk/`. */
  | { readonly kind: "image"; readonly path: string }
  /** Files of a directory, or one file, of a volume: as an ISO 9660 image with that label. */
  | { readonly kind: "files"; readonly path: string; readonly label: string }
  /** Nothing: an empty disk that lives as long as the container. */
  | { readonly kind: "empty" };

/** A disk of the machine, as an entry of trine.dev/disks says. */
export interface DiskSetting {
  /** Unique; `root` is the one the machine boots from. */
  readonly name: string;
  readonly source: DiskSource;
  readonly sizeBytes?: number;
  /** Of a file. Absent: raw where it is written, whatever its header says otherwise. */
  readonly format?: "raw" | "qcow2";
  /** Absent: as trine.dev/disk-bus says. */
  readonly bus?: "virtio" | "scsi" | "sata";
  readonly cdrom: boolean;
  readonly readOnly: boolean;
  /** What is written goes, with the container; the source stays as it is. */
  readonly ephemeral: boolean;
  /** Other machines write it too. */
  readonly shared: boolean;
  /** A thread of the VMM serves it alone. */
  readonly ownThread?: true;
  readonly cache?: "none" | "writethrough" | "writeback";
  readonly io?: "threads" | "native";
  /** What the VMM does when a read or write fails. Absent: the guest is told. */
  readonly onError?: "report" | "stop" | "ignore" | "enospc";
  readonly serial?: string;
  /** Of a root on a device: written from the container's image at its first start; what becomes of another image's. */
  readonly fromImage?: "refuse" | "rewrite";
  /** 1 boots first. */
  readonly boot?: number;
  readonly discard: boolean;
}

const NAME = /^[a-z0-9][a-z0-9-]{0,15}$/;
const LABEL = /^[A-Za-z0-9_-]{1,16}$/;
/** What guests that look for none in particular are used to. */
const USUAL_LABEL = "cfgdata";
const SERIAL = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,19}$/;
const MAX_PATH = 4095;
const [MIN_BYTES, MAX_BYTES] = [1024n ** 2n, 64n * 1024n ** 4n];
const MAX_BOOT = 99;
const SOURCES = ["device", "file", "image", "files", "empty"] as const;
const FORMATS = ["raw", "qcow2"] as const;
const BUSES = ["virtio", "scsi", "sata"] as const;
const CACHES = ["none", "writethrough", "writeback"] as const;
const IO = ["threads", "native"] as const;
const ON_ERROR = ["report", "stop", "ignore", "enospc"] as const;
const FROM_IMAGE = ["refuse", "rewrite"] as const;
const SWITCHES = ["cdrom", "readOnly", "ephemeral", "shared", "discard", "ownThread"] as const;
const KEYS: readonly string[] = [
  ...[
    "name",
    "size",
    "format",
    "bus",
    "cache",
    "io",
    "serial",
    "boot",
    "fromImage",
    "onError",
    "label",
  ],
  ...SOURCES,
  ...SWITCHES,
];
/** Names of ours. */
const TAKEN = ["seed", "sysprep"];

/** What is wrong with an entry; a parse ends at the first. */
class Wrong extends Error {}

/** The disks, or one sentence saying what is wrong, with the entry it is in. */
export function parseDisks(
  text: string,
  { maxBytes, maxCount }: { readonly maxBytes: number; readonly maxCount: number },
): { readonly disks: readonly DiskSetting[] } | { readonly why: string } {
  const size = Buffer.byteLength(text);
  if (size > maxBytes) return { why: `has ${size} bytes` };
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined)
    return { why: `is not YAML: ${error.code} at character ${error.pos[0]}` };
  let entries: unknown;
  try {
    entries = document.toJS({ maxAliasCount: 0 });
  } catch {
    return { why: "has YAML aliases" };
  }
  if (!Array.isArray(entries)) return { why: "is not a list" };
  if (entries.length > maxCount) return { why: `has ${entries.length} disks` };
  const disks: DiskSetting[] = [];
  for (const [index, entry] of entries.entries()) {
    try {
      disks.push(readDisk(entry));
    } catch (cause) {
      if (!(cause instanceof Wrong)) throw cause;
      return { why: `disk ${index + 1}${nameOf(entry)}: ${cause.message}` };
    }
  }
  const twice = repeated(disks);
  return twice === undefined ? { disks } : { why: twice };
}

type Entry = Readonly<Record<string, unknown>>;

function readDisk(value: unknown): DiskSetting {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Wrong("is not a mapping");
  }
  const entry = value as Entry;
  const unknown = Object.keys(entry).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw new Wrong(`${quoted(unknown)} is no field of a disk: ${KEYS.join(", ")} are`);
  }
  const name = text(entry, "name", NAME, "1 to 16 of a-z, 0-9 and -");
  if (name === undefined) throw new Wrong("name is missing");
  if (TAKEN.includes(name)) throw new Wrong(`the name ${name} is taken`);
  const source = readSource(entry, name);
  if (entry["label"] !== undefined && source.kind !== "files") {
    throw new Wrong("label is said of files");
  }
  const isSet = (key: (typeof SWITCHES)[number]): boolean => flag(entry, key) ?? false;
  const cdrom = isSet("cdrom");
  const disk = {
    name,
    source,
    cdrom,
    readOnly: cdrom || isSet("readOnly") || source.kind === "files",
    ephemeral: isSet("ephemeral"),
    shared: isSet("shared"),
    discard: flag(entry, "discard") ?? true,
    ...(isSet("ownThread") ? ({ ownThread: true } as const) : {}),
    ...present("bus", choice(entry, "bus", BUSES) ?? (cdrom ? "sata" : undefined)),
    ...present("sizeBytes", quantity(entry)),
    ...present("format", choice(entry, "format", FORMATS)),
    ...present("cache", choice(entry, "cache", CACHES)),
    ...present("io", choice(entry, "io", IO)),
    ...present("serial", text(entry, "serial", SERIAL, "1 to 20 of letters, digits, _ . -")),
    ...present("onError", choice(entry, "onError", ON_ERROR)),
    ...present("fromImage", choice(entry, "fromImage", FROM_IMAGE)),
    ...present("boot", bootOrder(entry)),
  };
  check(disk);
  return disk;
}

function readSource(entry: Entry, name: string): DiskSource {
  const given = SOURCES.filter((key) => entry[key] !== undefined);
  const [kind, another] = given;
  const which = `one of ${SOURCES.join(", ")}`;
  if (another !== undefined) throw new Wrong(`${given.join(" and ")} are given: ${which}`);
  if (kind === undefined) {
    if (name === "root") return { kind: "machine" };
    throw new Wrong(`says not where it is: ${which}`);
  }
  const value = entry[kind];
  if (kind === "empty") {
    if (value !== true) throw new Wrong(`empty ${quoted(value)}: true`);
    if (name === "root") throw new Wrong("a machine does not boot from an empty disk");
    return { kind };
  }
  const isPath = typeof value === "string" && value.startsWith("/") && value.length <= MAX_PATH;
  const isPlain = isPath && !/[\0-\x1f]|(^|\/)\.\.(\/|$)/.test(value); // eslint-disable-line no-control-regex -- those are what is refused
  if (!isPlain) throw new Wrong(`${kind} ${quoted(value)}: an absolute path in the container`);
  if (kind !== "files") return { kind, path: value };
  if (name === "root") throw new Wrong("a machine does not boot from files");
  const label = text(entry, "label", LABEL, "1 to 16 of letters, digits, _ and -") ?? USUAL_LABEL;
  return { kind, path: value, label };
}

/** What excludes what. */
function check(disk: DiskSetting): void {
  const { name, source, cdrom, readOnly, ephemeral, shared, sizeBytes, format } = disk;
  const { io, cache, bus, fromImage } = disk;
  const refuse = (when: boolean, why: string): void => {
    if (when) throw new Wrong(why);
  };
  refuse(source.kind === "empty" && sizeBytes === undefined, "an empty disk needs a size");
  refuse(
    source.kind === "empty" && (readOnly || shared),
    "an empty disk is for one that writes it",
  );
  refuse(cdrom && bus === "virtio", "a cdrom has bus scsi or sata");
  refuse(
    bus === "sata" && readOnly && !cdrom && source.kind !== "files",
    "a disk on sata is always written: take scsi or virtio, or a cdrom",
  );
  refuse(
    readOnly && ephemeral,
    "ephemeral says where writes go, readOnly (or cdrom) that there are none",
  );
  refuse(readOnly && shared, "shared is about who writes, and it is read-only");
  refuse(ephemeral && shared, "an ephemeral disk writes nothing that others could see");
  refuse(disk.ownThread === true && bus === "sata", "ownThread is for bus virtio or scsi");
  refuse(io === "native" && cache !== "none", "io native needs cache none");
  refuse(
    source.kind === "device" && sizeBytes !== undefined && !ephemeral,
    "a device has its own size",
  );
  refuse(readOnly && sizeBytes !== undefined, "a disk that is read-only cannot be given a size");
  refuse(
    (source.kind === "machine" || source.kind === "empty") && ephemeral,
    "it is ephemeral by itself: it goes with the container",
  );
  refuse(format !== undefined && source.kind !== "file", "format is said of a file");
  refuse(
    format === "qcow2" && sizeBytes !== undefined && !ephemeral,
    "a size makes or enlarges a raw file, not a qcow2",
  );
  refuse(source.kind === "image" && shared, "a disk of an image is never written");
  const isKeptRoot = name === "root" && source.kind === "device" && !readOnly && !ephemeral;
  refuse(
    fromImage !== undefined && (!isKeptRoot || shared),
    "fromImage is said of a root on a device of its own",
  );
}

function text(entry: Entry, key: string, pattern: RegExp, allowed: string): string | undefined {
  const value = entry[key];
  if (value === undefined) return undefined;
  // A number is what YAML makes of a serial number without quotes.
  const shown = typeof value === "number" ? String(value) : value;
  if (typeof shown === "string" && pattern.test(shown)) return shown;
  throw new Wrong(`${key} ${quoted(value)}: ${allowed}`);
}

function choice<T extends string>(entry: Entry, key: string, of: readonly T[]): T | undefined {
  const value = entry[key];
  if (value === undefined) return undefined;
  const found = of.find((each) => each === value);
  if (found !== undefined) return found;
  throw new Wrong(`${key} ${quoted(value)}: ${of.map((each) => `"${each}"`).join(" or ")}`);
}

function flag(entry: Entry, key: string): boolean | undefined {
  const value = entry[key];
  if (value === undefined || typeof value === "boolean") return value;
  throw new Wrong(`${key} ${quoted(value)}: true or false`);
}

function quantity(entry: Entry): number | undefined {
  const value = entry["size"];
  if (value === undefined) return undefined;
  const bytes = typeof value === "string" ? parseQuantity(value) : undefined;
  if (bytes !== undefined && bytes >= MIN_BYTES && bytes <= MAX_BYTES) return Number(bytes);
  const range = `${formatQuantity(MIN_BYTES)} to ${formatQuantity(MAX_BYTES)}`;
  throw new Wrong(`size ${quoted(value)}: a quantity from ${range}`);
}

function bootOrder(entry: Entry): number | undefined {
  const value = entry["boot"];
  if (value === undefined) return undefined;
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_BOOT)
    return Number(value);
  throw new Wrong(`boot ${quoted(value)}: a whole number from 1 to ${MAX_BOOT}`);
}

/** Undefined: nothing is said twice. */
function repeated(disks: readonly DiskSetting[]): string | undefined {
  for (const key of ["name", "serial", "boot"] as const) {
    const values = disks.flatMap((disk) => disk[key] ?? []);
    const twice = values.find((value, index) => values.indexOf(value) !== index);
    if (twice !== undefined) return `two disks have ${key} ${quoted(twice)}`;
  }
  return undefined;
}

function nameOf(entry: unknown): string {
  const name = (entry as { name?: unknown } | null)?.name;
  return typeof name === "string" ? ` (${quoted(name)})` : "";
}

function present<K extends string, T>(key: K, value: T | undefined): { readonly [key in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]: T });
}

function quoted(value: unknown): string {
  const shown = JSON.stringify(value) as string | undefined;
  return (shown ?? typeof value).slice(0, 60);
}
