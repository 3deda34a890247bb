import { quote } from "@trine/base";
import { refuse } from "../qcow2-header.ts";
import { readWithin } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";
import { readTar } from "./read-tar.ts";
import type { TarMember } from "./read-tar.ts";

// Facts from DMTF DSP0243 (OVF) 1.1 and 2.1.
/** Licences are in it too: appliances have some 20 to 100 KiB. */
const MAX_OVF_BYTES = 256 * 1024;
const MAX_MANIFEST_BYTES = 64 * 1024;
const MAX_DISKS = 16;

export interface OvaDisk {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
  /** What the archive's own manifest says of the disk. */
  readonly digest?: { readonly algorithm: "sha1" | "sha256" | "sha512"; readonly hex: string };
}

/**
 * The disk of an OVA whose file is called `wanted`, or its one disk; kind `invalid` for appliances with none, for several
 * of which none is named, and for lying archives.
 */
export async function readOva(
  archive: ByteRange,
  wanted?: string,
  signal?: AbortSignal,
): Promise<OvaDisk> {
  const { members, xml } = await readParts(archive, signal);
  const href = diskOf(xml, wanted);
  const disk = members.find(({ name }) => name === href);
  if (disk === undefined) return refuse(`lacks the disk ${quote(href)} that its .ovf names`);
  const manifest = members.find(({ name }) => /\.mf$/i.test(name));
  const lines = manifest && (await textOf(archive, manifest, MAX_MANIFEST_BYTES));
  const digest = lines === undefined ? undefined : digestOf(lines, href);
  return { ...disk, ...(digest && { digest }) };
}

/** Names of the files of all its disks, in the order of its .ovf; kind `invalid` as above. */
export async function listOvaDisks(archive: ByteRange, signal?: AbortSignal): Promise<string[]> {
  const { xml } = await readParts(archive, signal);
  return disksOf(xml).map((file) => {
    const href = file?.["href"];
    return href ?? refuse("has an .ovf with a disk that leads to no file");
  });
}

async function readParts(
  archive: ByteRange,
  signal?: AbortSignal,
): Promise<{ readonly members: readonly TarMember[]; readonly xml: string }> {
  const members = await readTar(archive, signal);
  const names = members.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) refuse(`holds ${quote(twice)} twice`);
  const [ovf, ...more] = members.filter(({ name }) => /\.ovf$/i.test(name));
  if (ovf === undefined) return refuse("is a tar archive without an .ovf: an OVA is wanted");
  if (more.length > 0) refuse("holds several .ovf files: an OVA has one");
  return { members, xml: await textOf(archive, ovf, MAX_OVF_BYTES) };
}

async function textOf(archive: ByteRange, member: TarMember, max: number): Promise<string> {
  if (member.sizeBytes > max) refuse(`holds ${quote(member.name)} of ${member.sizeBytes} bytes`);
  const bytes = await readWithin(archive, member.offset, member.sizeBytes, quote(member.name));
  return bytes.toString("utf8");
}

/** Name of the file of the disk that is meant. A full XML reader would do no more with these two elements. */
function diskOf(xml: string, wanted: string | undefined): string {
  const all = disksOf(xml);
  const names = all.map((file) => quote(file?.["href"] ?? "")).join(", ");
  if (wanted === undefined && all.length !== 1) {
    const which =
      all.length === 0 ? "" : ` (${names}): --disk names the one that is meant, --all-disks all`;
    refuse(`is an appliance of ${all.length} disks${which}`);
  }
  const file = wanted === undefined ? all[0] : all.find((each) => each?.["href"] === wanted);
  const href = file?.["href"];
  if (wanted !== undefined && href === undefined) {
    refuse(`has no disk ${quote(wanted)}: there are ${names}`);
  }
  if (file === undefined || href === undefined) {
    return refuse("has an .ovf whose disk leads to no file");
  }
  if (file["compression"] !== undefined && file["compression"] !== "identity") {
    refuse(`packs its disk with ${quote(file["compression"])}: repack it without`);
  }
  if (file["chunkSize"] !== undefined) refuse("splits its disk into chunks: repack it in one");
  return href;
}

/** Of each disk the element of its file, where there is one. */
function disksOf(xml: string): (Readonly<Record<string, string>> | undefined)[] {
  if (/<!(?:DOCTYPE|ENTITY)/i.test(xml)) refuse("has an .ovf with a document type");
  const text = withoutComments(xml);
  const disks = elements(text, "Disk");
  if (disks.length > MAX_DISKS) refuse(`is an appliance of ${disks.length} disks`);
  const files = elements(text, "File");
  return disks.map((disk) => fileOf(disk, files));
}

/** The one element of a file that a disk's leads to. */
function fileOf(
  disk: Readonly<Record<string, string>>,
  files: readonly Readonly<Record<string, string>>[],
): Readonly<Record<string, string>> | undefined {
  const reference = disk["fileRef"];
  const [file, ...more] = files.filter(({ id }) => id === reference);
  return reference === undefined || more.length > 0 ? undefined : file;
}

/** Searched for, not matched: a pattern would begin anew at each of many beginnings that have no end. */
function withoutComments(xml: string): string {
  const kept: string[] = [];
  for (let at = 0; ;) {
    const start = xml.indexOf("<!--", at);
    if (start < 0) return [...kept, xml.slice(at)].join("");
    const end = xml.indexOf("-->", start + 4);
    if (end < 0) refuse("has an .ovf with a comment that does not end");
    kept.push(xml.slice(at, start));
    at = end + 3;
  }
}

function elements(xml: string, name: string): Record<string, string>[] {
  const tags = xml.matchAll(new RegExp(`<(?:[A-Za-z_][\\w.-]*:)?${name}(\\s[^<>]*)?>`, "g"));
  return [...tags].map(([, attributes = ""]) => attributesOf(attributes));
}

/** By their names without prefix. Each is read where the one before it ends, so that no character is read twice. */
function attributesOf(text: string): Record<string, string> {
  const next = /\s+([^\s=/"']+)\s*=\s*(?:"([^"]*)"|'([^']*)')/y;
  const found: [string, string][] = [];
  let end = 0;
  for (let match = next.exec(text); match !== null; match = next.exec(text)) {
    const [, key = "", double, single] = match;
    found.push([key.slice(key.indexOf(":") + 1), unescape(double ?? single ?? "")]);
    end = next.lastIndex;
  }
  if (!/^\s*\/?$/.test(text.slice(end))) refuse("has an .ovf with attributes that cannot be read");
  return Object.fromEntries(found);
}

function unescape(text: string): string {
  return text
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
}

/** `SHA256(name)= HEX` of a manifest. */
function digestOf(manifest: string, file: string): OvaDisk["digest"] {
  for (const line of manifest.split(/\r?\n/)) {
    const match = /^(SHA1|SHA256|SHA512)\s*\((.*)\)\s*=\s*([0-9a-fA-F]{40,128})\s*$/.exec(line);
    const [, algorithm = "", name, hex = ""] = match ?? [];
    if (match === null || name !== file) continue;
    return { algorithm: algorithm.toLowerCase() as "sha1", hex: hex.toLowerCase() };
  }
  return undefined;
}
