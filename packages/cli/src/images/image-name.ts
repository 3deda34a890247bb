import { basename } from "node:path";
import { TrineError } from "@trine/base";

const PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(
  `^(?<registry>[A-Za-z0-9][A-Za-z0-9.-]*(?::\\d{1,5})?)/(?<path>${PART}(?:/${PART})*)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?$`,
);
const MAX_NAME = 255;

/**
 * REGISTRY/PATH:TAG of what the user wrote; the tag may be left out, the registry not: CRI looks for a
 * name without one at its own default registry and would never find this image. Kind `invalid`.
 */
export function parseImageName(text: string): string {
  const groups = text.length > MAX_NAME ? undefined : NAME.exec(text)?.groups;
  const registry = groups?.["registry"] ?? "";
  if (registry !== "localhost" && !/[.:]/.test(registry)) {
    throw new TrineError(
      "invalid",
      `--name ${text}: not REGISTRY/PATH[:TAG] in lower case, such as localhost/appliance:1.2`,
    );
  }
  return `${registry}/${groups?.["path"] ?? ""}:${groups?.["tag"] ?? "latest"}`;
}

/** localhost/FILE:latest of a disk's file name or URL; of one disk among several localhost/FILE-DISK:latest. */
export function defaultImageName(source: string, disk?: string): string {
  const files = [URL.parse(source)?.pathname ?? source, ...(disk === undefined ? [] : [disk])];
  return `localhost/${files.map(stemOf).join("-")}:latest`;
}

/** Of one disk among several: REGISTRY/PATH-DISK:TAG. */
export function diskImageName(name: string, disk: string): string {
  const at = name.lastIndexOf(":");
  return parseImageName(`${name.slice(0, at)}-${stemOf(disk)}${name.slice(at)}`);
}

function stemOf(file: string): string {
  const stem = basename(file)
    .replace(/\.(gz|xz|zst|bz2|zip)$/i, "")
    .replace(/\.(qcow2|img|raw|vmdk|vhd|vhdx|ova|iso)$/i, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 100);
  if (stem === "") {
    throw new TrineError(
      "invalid",
      `${basename(file)}: no image name can be made of it; give one by --name`,
    );
  }
  return stem;
}
