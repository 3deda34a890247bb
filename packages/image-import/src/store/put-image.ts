import { kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";

export interface NamedImage {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: {
    readonly mediaType: string;
    readonly digest: string;
    readonly sizeBytes: number;
  };
}

/** Gives an image its name; one that has the name already loses it. */
export async function putImage(store: ImageStore, named: NamedImage): Promise<void> {
  const { mediaType, digest, sizeBytes } = named.target;
  const image = {
    name: named.name,
    labels: { ...named.labels },
    target: { mediaType, digest, size: BigInt(sizeBytes) },
  };
  try {
    await store.images.create({ image });
  } catch (cause) {
    if (kindOf(cause) !== "alreadyExists") throw cause;
    await store.images.update({ image, updateMask: { paths: ["target", "labels"] } });
  }
}
