import { TrineError, quote } from "@trine/base";

/** A file of an ISO image. `name` may hold directories: `openstack/latest/user_data`. */
export interface IsoFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A file or directory of the image, with the three names it goes by. */
export interface IsoNode {
  readonly name: string;
  /** Upper case, 8.3, unique in its directory: the name for readers of neither extension. */
  readonly shortName: string;
  /** As it is, or cut to what Joliet has room for, unique in its directory. */
  readonly jolietName: string;
  readonly data: Uint8Array | undefined;
  /** Sorted by short name; empty for files. */
  readonly children: IsoNode[];
  readonly parent: IsoNode | undefined;
}

const MAX_FILES = 256;
const MAX_DEPTH = 7;
const NAME = /^[A-Za-z0-9._-]+$/;
/** As long as a key of a ConfigMap may be. */
const MAX_NAME = 253;
const MAX_JOLIET_NAME = 64;

/** Builds the directory tree. Kind `invalid` for names that cannot be, or are given twice. */
export function buildIsoTree(files: readonly IsoFile[]): IsoNode {
  if (files.length > MAX_FILES) {
    throw new TrineError("invalid", `ISO image: ${files.length} files; the limit is ${MAX_FILES}`);
  }
  const root: IsoNode = directory({ name: "", shortName: "", jolietName: "" }, undefined);
  const sorted = [...files].sort((a, b) => compareText(a.name, b.name));
  for (const file of sorted) addFile(root, file);
  return root;
}

/** All directories, breadth first: the order of path tables. */
export function directoriesOf(root: IsoNode): IsoNode[] {
  const found = [root];
  for (const dir of found) found.push(...dir.children.filter((child) => child.data === undefined));
  return found;
}

function addFile(root: IsoNode, file: IsoFile): void {
  const parts = file.name.split("/");
  if (parts.length > MAX_DEPTH || !parts.every(isName)) {
    throw new TrineError("invalid", `ISO image: file name ${quote(file.name)} cannot be used`);
  }
  let dir = root;
  for (const part of parts.slice(0, -1)) {
    const found = dir.children.find((child) => child.name === part);
    if (found?.data !== undefined) throw taken(file.name);
    dir = found ?? addChild(dir, part, undefined);
  }
  const name = parts.at(-1) ?? "";
  if (dir.children.some((child) => child.name === name)) throw taken(file.name);
  addChild(dir, name, file.bytes);
}

function isName(part: string): boolean {
  return part.length <= MAX_NAME && NAME.test(part) && !/^\.+$/.test(part);
}

function addChild(parent: IsoNode, name: string, data: Uint8Array | undefined): IsoNode {
  const shortName = uniqueShortName(parent, name, data !== undefined);
  const names = { name, shortName, jolietName: uniqueJolietName(parent, name) };
  const node = { ...directory(names, parent), data };
  parent.children.push(node);
  parent.children.sort((a, b) => compareText(a.shortName, b.shortName));
  return node;
}

function directory(
  names: Pick<IsoNode, "name" | "shortName" | "jolietName">,
  parent: IsoNode | undefined,
): IsoNode {
  return { ...names, data: undefined, children: [], parent };
}

/** No name that fits has a tilde. */
function uniqueJolietName(parent: IsoNode, name: string): string {
  if (name.length <= MAX_JOLIET_NAME) return name;
  for (let n = 1; ; n++) {
    const suffix = `~${n}`;
    const joliet = `${name.slice(0, MAX_JOLIET_NAME - suffix.length)}${suffix}`;
    if (!parent.children.some((child) => child.jolietName === joliet)) return joliet;
  }
}

function uniqueShortName(parent: IsoNode, name: string, isFile: boolean): string {
  const upper = name.toUpperCase().replace(/[^A-Z0-9.]/g, "_");
  const dot = isFile ? upper.lastIndexOf(".") : -1;
  const stem = (dot < 0 ? upper : upper.slice(0, dot)).replaceAll(".", "_");
  const extension = dot < 0 ? "" : upper.slice(dot + 1, dot + 4);
  for (let n = 0; ; n++) {
    const suffix = n === 0 ? "" : String(n);
    const short = `${stem.slice(0, 8 - suffix.length)}${suffix}`;
    const full = isFile ? `${short}.${extension};1` : short;
    if (!parent.children.some((child) => child.shortName === full)) return full;
  }
}

function taken(name: string): TrineError {
  return new TrineError("invalid", `ISO image: ${quote(name)} is given twice`);
}

/** By code unit, whatever the locale: the image is the same everywhere. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
