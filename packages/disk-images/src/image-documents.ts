import { createHash } from "node:crypto";
import type { ImageInfo } from "./image-info.ts";
import { TAR_END } from "./tar-header.ts";

// Documents of the OCI image specification 1.0.
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

export interface ImageDocument {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

/** Config and manifest of a machine image of one uncompressed layer. */
export function imageDocuments(image: {
  /** OCI's name of the guest's processor. */
  readonly architecture: string;
  readonly info: ImageInfo;
  readonly layer: { readonly digest: string; readonly sizeBytes: number };
}): { readonly config: ImageDocument; readonly manifest: ImageDocument } {
  const { info, layer } = image;
  const config = documentOf(CONFIG, {
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
  return { config, manifest: manifestOf(config, layer) };
}

/** An image with nothing in it, for machines whose root is a volume: containers have to have one. */
export function emptyImageDocuments(architecture: string): {
  readonly layer: ImageDocument;
  readonly config: ImageDocument;
  readonly manifest: ImageDocument;
} {
  const layer = { mediaType: LAYER, digest: digestOf(TAR_END), bytes: TAR_END };
  const config = documentOf(CONFIG, {
    architecture,
    os: "linux",
    config: { Entrypoint: ["machine"], Labels: { "trine.dev/empty": "true" } },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  });
  const sizeBytes = layer.bytes.length;
  return { layer, config, manifest: manifestOf(config, { digest: layer.digest, sizeBytes }) };
}

function manifestOf(
  config: ImageDocument,
  layer: { readonly digest: string; readonly sizeBytes: number },
): ImageDocument {
  return documentOf(MANIFEST, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: config.digest, size: config.bytes.length },
    layers: [{ mediaType: LAYER, digest: layer.digest, size: layer.sizeBytes }],
  });
}

function documentOf(mediaType: string, value: object): ImageDocument {
  const bytes = Buffer.from(JSON.stringify(value), "utf8");
  return { mediaType, bytes, digest: digestOf(bytes) };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
