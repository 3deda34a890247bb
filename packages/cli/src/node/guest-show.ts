import { readGuestImage } from "@trine/guest-image";
import type { GuestFile, GuestImage, GuestManifest } from "@trine/guest-image";
import type { Io } from "../io.ts";
import { printList } from "../output/print-list.ts";
import type { ListFlags } from "../output/print-list.ts";

/** What `guest show` shows as JSON. */
interface GuestDocument extends GuestManifest {
  readonly dir: string;
}

/** `trine guest show`: what a guest image is; its files are compared with their digests. */
export async function guestShow(io: Io, dir: string, flags: ListFlags): Promise<void> {
  const image = await readGuestImage(dir, { verify: true, signal: io.signal });
  await printList(io, flags, {
    value: { dir: image.dir, ...image.manifest } satisfies GuestDocument,
    header: ["FIELD", "VALUE"],
    narrow: 2,
    rows: rowsOf(image),
    names: [image.dir],
  });
}

function rowsOf({ dir, manifest }: GuestImage): string[][] {
  const file = ({ name, bytes, sha256 }: GuestFile): string =>
    `${name} ${bytes} bytes sha256:${sha256}`;
  return [
    ["directory", dir],
    ["release", manifest.kernel.release],
    ["source", manifest.kernel.source],
    ["kernel", file(manifest.kernel.file)],
    ["initrd", file(manifest.initrd)],
    ["agent", `${manifest.agent.version} sha256:${manifest.agent.sha256}`],
    ["features", manifest.features.join(" ")],
    ["modules", manifest.modules.join(" ") || "none"],
    ["cmdline", manifest.cmdline],
  ];
}
