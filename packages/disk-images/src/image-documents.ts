import { createHash } from "node:crypto";
import type { ImageInfo } from "./image-info.ts";

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
  const manifest = documentOf(MANIFEST, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: config.digest, size: config.bytes.length },
    layers: [{ mediaType: LAYER, digest: layer.digest, size: layer.sizeBytes }],
  });
  return { config, manifest };
}

function documentOf(mediaType: string, value: object): ImageDocument {
  const bytes = Buffer.from(JSON.stringify(value), "utf8");
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  return { mediaType, bytes, digest };
}
