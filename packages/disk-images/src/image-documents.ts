import { createHash } from "node:crypto";
import type { ImageInfo } from "./image-info.ts";

// Documents of the OCI image specification 1.0.
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

interface Blob {
  readonly digest: string;
  readonly bytes: Buffer;
}

export interface ImageDocuments {
  readonly config: Blob;
  readonly manifest: Blob;
  readonly index: Buffer;
}

/** Config, manifest and index of a machine image of one uncompressed layer. */
export function imageDocuments(image: {
  readonly reference: string;
  readonly architecture: string;
  readonly info: ImageInfo;
  readonly layer: { readonly digest: string; readonly sizeBytes: number };
}): ImageDocuments {
  const { info, layer } = image;
  const config = blob({
    architecture: image.architecture,
    os: "linux",
    config: {
      // Container managers refuse a container without a command; a machine has no use for one.
      Entrypoint: ["machine"],
      Labels: {
        "trine.dev/machine": "true",
        "trine.dev/image-format": info.format,
        "trine.dev/virtual-size": String(info.virtualSizeBytes),
      },
    },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  });
  const manifest = blob({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: config.digest, size: config.bytes.length },
    layers: [{ mediaType: LAYER, digest: layer.digest, size: layer.sizeBytes }],
  });
  const entry = {
    mediaType: MANIFEST,
    digest: manifest.digest,
    size: manifest.bytes.length,
    platform: { architecture: image.architecture, os: "linux" },
    annotations: {
      "io.containerd.image.name": image.reference,
      "org.opencontainers.image.ref.name": image.reference,
    },
  };
  const index = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [entry],
  });
  return { config, manifest, index };
}

function blob(document: object): Blob {
  const bytes = json(document);
  return { bytes, digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}` };
}

function json(document: object): Buffer {
  return Buffer.from(JSON.stringify(document), "utf8");
}
