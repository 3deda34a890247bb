import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "./run-command.ts";

export interface OciImage {
  /** Full name, e.g. `trine.test/busybox:1`. */
  name: string;
  /** Directory that is the root file system; owned by root in the image. */
  root: string;
  /** Directories of further layers; with them owners, times and attributes stay as they are. */
  over?: readonly string[];
  config?: {
    Entrypoint?: string[];
    Cmd?: string[];
    Env?: string[];
    Labels?: Record<string, string>;
    WorkingDir?: string;
    User?: string;
  };
}

/** Reproducible: sorted, no times, no names of users. */
const TAR = [
  "--format=gnu",
  "--sort=name",
  "--mtime=@0",
  "--owner=0",
  "--group=0",
  "--numeric-owner",
];

const TAR_AS_IT_IS = [
  "--format=pax",
  "--sort=name",
  "--numeric-owner",
  "--xattrs",
  "--xattrs-include=*",
];

/** Writes an OCI archive of uncompressed layers, which `ctr images import` takes by its name. */
export async function writeOciArchive(image: OciImage, target: string): Promise<void> {
  const work = `${target}.layout`;
  const blobs = join(work, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const layers: Blob[] = [];
  for (const root of [image.root, ...(image.over ?? [])]) {
    const layerFile = join(work, "layer");
    const how = image.over === undefined ? TAR : TAR_AS_IT_IS;
    await runCommand("tar", [...how, "-cf", layerFile, "-C", root, "."]);
    layers.push(await addFile(blobs, layerFile));
  }
  const config = await addJson(blobs, {
    architecture: "amd64",
    os: "linux",
    config: image.config ?? {},
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    history: [{ created_by: "trine testkit" }],
  });
  const manifest = await addJson(blobs, {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: layers.map((layer) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      ...layer,
    })),
  });
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        ...manifest,
        platform: { architecture: "amd64", os: "linux" },
        annotations: { "io.containerd.image.name": image.name },
      },
    ],
  };
  await writeFile(join(work, "index.json"), JSON.stringify(index));
  await writeFile(join(work, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await runCommand("tar", [
    ...TAR,
    "-cf",
    `${target}.making`,
    "-C",
    work,
    "oci-layout",
    "index.json",
    "blobs",
  ]);
  await rm(work, { recursive: true });
  await rename(`${target}.making`, target);
}

interface Blob {
  digest: string;
  size: number;
}

async function addFile(blobs: string, file: string): Promise<Blob> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) hash.update(chunk);
  const hex = hash.digest("hex");
  const { size } = await stat(file);
  await rename(file, join(blobs, hex));
  return { digest: `sha256:${hex}`, size };
}

async function addJson(blobs: string, document: object): Promise<Blob> {
  const text = JSON.stringify(document);
  const hex = createHash("sha256").update(text).digest("hex");
  await writeFile(join(blobs, hex), text);
  return { digest: `sha256:${hex}`, size: Buffer.byteLength(text) };
}
