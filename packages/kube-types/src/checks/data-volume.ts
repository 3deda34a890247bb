import type { DataVolumeSpec, StorageSpec } from "../cdi/data-volume.ts";
import type { ImportSource } from "../cdi/import-source.ts";
import { amountOf, atMostOne, exactlyOne, filled } from "./fields.ts";
import { type Report, shown } from "./report.ts";

const SOURCES = [
  "http",
  "s3",
  "gcs",
  "registry",
  "pvc",
  "upload",
  "blank",
  "imageio",
  "vddk",
  "snapshot",
] as const satisfies readonly (keyof ImportSource)[];

export function checkDataVolumeSpec(spec: DataVolumeSpec, at: string, report: Report): void {
  const { source, sourceRef, storage, pvc, contentType } = spec;
  exactlyOne(spec, ["source", "sourceRef"], at, report);
  exactlyOne(spec, ["pvc", "storage"], at, report);
  if (source !== undefined) {
    exactlyOne(source, SOURCES, `${at}.source`, report);
    checkSource(source, `${at}.source`, report);
  }
  if (sourceRef !== undefined) {
    filled(sourceRef.name, `${at}.sourceRef.name`, report);
    if (sourceRef.kind !== "DataSource") {
      report.unsupported(`${at}.sourceRef.kind`, sourceRef.kind, ["DataSource"]);
    }
  }
  const hasOwnSize = source?.pvc !== undefined || source?.snapshot !== undefined;
  if (storage !== undefined) {
    const sized = hasOwnSize || sourceRef !== undefined;
    checkTarget(storage, !sized, `${at}.storage`, report);
  }
  if (pvc !== undefined) {
    checkTarget(pvc, source?.pvc === undefined, `${at}.pvc`, report);
    if ((pvc.accessModes ?? []).length === 0) report.required(`${at}.pvc.accessModes`);
  }
  checkContent(spec, at, report);
  if (contentType === "archive" && (storage ?? pvc)?.volumeMode === "Block") {
    report.invalid(`${at}.contentType`, "is archive, which needs the volume mode Filesystem");
  }
}

/** What goes with some sources only. */
function checkContent(spec: DataVolumeSpec, at: string, report: Report): void {
  const { source, contentType, checkpoints = [], preallocation } = spec;
  const { http, upload, registry, imageio, vddk } = source ?? {};
  const unpacks = http ?? upload ?? registry;
  if (contentType === "archive" && source !== undefined && unpacks === undefined) {
    report.invalid(`${at}.contentType`, "is archive, which http, upload and registry have only");
  }
  if (contentType === "archive" && preallocation === true) {
    report.invalid(`${at}.preallocation`, "is of no use to an archive");
  }
  if (checkpoints.length > 0 && imageio === undefined && vddk === undefined) {
    report.invalid(`${at}.checkpoints`, "stand with the sources imageio and vddk only");
  }
}

type Target = Pick<StorageSpec, "accessModes" | "resources" | "dataSource" | "dataSourceRef">;

function checkTarget(of: Target, needsSize: boolean, at: string, report: Report): void {
  const field = `${at}.resources.requests.storage`;
  const size = of.resources?.requests?.["storage"];
  if (size === undefined) {
    if (needsSize) report.required(field);
  } else if ((amountOf(size) ?? 0n) <= 0n) {
    report.invalid(field, `is ${shown(size)}, must be more than nothing`);
  }
  if ((of.accessModes ?? []).length > 1) {
    report.invalid(`${at}.accessModes`, "must have one item at most");
  }
  atMostOne(of, ["dataSource", "dataSourceRef"], at, report);
}

/** Schemes of URLs by source. */
const SCHEMES = {
  http: ["http:", "https:"],
  s3: ["s3:", "http:", "https:"],
  gcs: ["gs:", "http:", "https:"],
  imageio: ["http:", "https:"],
  registry: ["docker:", "oci-archive:"],
} as const;

function checkSource(source: ImportSource, at: string, report: Report): void {
  for (const name of ["http", "s3", "gcs", "imageio"] as const) {
    const from = source[name];
    if (from !== undefined) checkUrl(from.url, SCHEMES[name], `${at}.${name}.url`, report);
  }
  if (source.http?.checksum !== undefined) {
    checkChecksum(source.http.checksum, `${at}.http.checksum`, report);
  }
  if (source.registry !== undefined) checkRegistry(source.registry, `${at}.registry`, report);
  if (source.imageio !== undefined) filled(source.imageio.diskId, `${at}.imageio.diskId`, report);
  for (const name of ["pvc", "snapshot"] as const) {
    if (source[name] !== undefined) filled(source[name].name, `${at}.${name}.name`, report);
  }
  for (const name of ["url", "uuid", "backingFile", "thumbprint", "secretRef"] as const) {
    if (source.vddk !== undefined) filled(source.vddk[name], `${at}.vddk.${name}`, report);
  }
}

function checkRegistry(
  of: NonNullable<ImportSource["registry"]>,
  at: string,
  report: Report,
): void {
  exactlyOne(of, ["url", "imageStream"], at, report);
  if (of.url !== undefined) checkUrl(of.url, SCHEMES.registry, `${at}.url`, report);
  if (of.imageStream !== undefined && of.pullMethod !== "node") {
    report.invalid(`${at}.pullMethod`, "must be node with imageStream");
  }
}

function checkUrl(url: string, schemes: readonly string[], at: string, report: Report): void {
  if (url === "") {
    report.required(at);
    return;
  }
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && schemes.includes(parsed.protocol) && /^[^:]+:\/\/[^/]/.test(url))
    return;
  const wanted = schemes.map((scheme) => `${scheme}//`).join(", ");
  report.invalid(at, `is ${shown(url)}, which is no URL with ${wanted}`);
}

/** Hexadecimal digits by algorithm. */
const DIGITS: Readonly<Record<string, number>> = { md5: 32, sha1: 40, sha256: 64, sha512: 128 };

function checkChecksum(checksum: string, at: string, report: Report): void {
  const [algorithm = "", digits = "", ...more] = checksum.split(":");
  const wanted = Object.hasOwn(DIGITS, algorithm) ? DIGITS[algorithm] : undefined;
  if (wanted === undefined) {
    report.unsupported(at, algorithm, Object.keys(DIGITS));
  } else if (more.length > 0 || digits.length !== wanted || !/^[\da-f]+$/i.test(digits)) {
    report.invalid(at, `must be ${algorithm}: and ${wanted} hexadecimal digits`);
  }
}
