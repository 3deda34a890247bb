import { TrineError, kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { isDigestName, listImages } from "@trine/image-import";
import type { ImageView } from "@trine/image-import";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { parseSelector } from "../pods/selector.ts";
import type { StoreFlags } from "./open-store.ts";

const CRI_NAMESPACE = "k8s.io";
const MIN_DIGEST_PART = 6;

/** An image, and the containers made of it: `NAMESPACE/POD/CONTAINER`. */
export type UsedImage = ImageView & { readonly usedBy: readonly string[] };

/** What the store has, and who uses it. Only CRI's namespace has users that anybody lists. */
export async function usedImages(
  io: Pick<Io, "signal" | "onRequest">,
  store: ImageStore,
  flags: StoreFlags,
): Promise<UsedImage[]> {
  const images = await listImages(store, io.signal);
  const users =
    flags.namespace === CRI_NAMESPACE ? await usersOf(io, flags) : new Map<string, string[]>();
  return images.map((image) => {
    const ids = [image.manifest?.config.digest ?? "", image.target.digest, image.name];
    return { ...image, usedBy: [...new Set(ids.flatMap((id) => users.get(id) ?? []))] };
  });
}

async function usersOf(
  io: Pick<Io, "signal" | "onRequest">,
  flags: StoreFlags,
): Promise<Map<string, string[]>> {
  const users = new Map<string, string[]>();
  try {
    await withCri({ ...io, containerd: flags.containerd }, async (cri) => {
      const [{ containers }, { items }] = await Promise.all([
        cri.runtime.listContainers({}, { signal: io.signal }),
        cri.runtime.listPodSandbox({}, { signal: io.signal }),
      ]);
      const pods = new Map(items.map(({ id, metadata }) => [id, metadata]));
      for (const { imageRef, podSandboxId, metadata } of containers) {
        const pod = pods.get(podSandboxId);
        const user = [pod?.namespace ?? "", pod?.name ?? "", metadata?.name ?? ""].join("/");
        users.set(imageRef, [...(users.get(imageRef) ?? []), user]);
      }
    });
  } catch (cause) {
    if (kindOf(cause) !== "unimplemented") throw cause; // a containerd without CRI
  }
  return users;
}

/** Those that have a name somebody gave. */
export function namedImages(images: readonly UsedImage[]): UsedImage[] {
  return images.filter(({ name }) => !isDigestName(name));
}

/** By name, with the tag left out when it is latest, or by the start of a digest; what CRI names so is no name. Kinds notFound, conflict. */
export function pickImage(images: readonly UsedImage[], text: string): UsedImage {
  const names = namedImages(images);
  const exact = names.find(({ name }) => name === text || name === `${text}:latest`);
  if (exact !== undefined) return exact;
  const part = text.replace(/^sha256:/, "");
  const isPart = /^[0-9a-f]+$/.test(part) && part.length >= MIN_DIGEST_PART;
  const found = isPart
    ? names.filter(({ target, manifest }) =>
        [target.digest, manifest?.config.digest].some((each) => each?.startsWith(`sha256:${part}`)),
      )
    : [];
  const [first, second] = found;
  if (first === undefined) {
    // CRI's own name of an image that has no other.
    const unnamed = images.find(({ name }) => name === text);
    if (unnamed !== undefined) return unnamed;
    throw new TrineError(
      "notFound",
      `no image ${text} in the store; \`trine image ls\` lists them`,
    );
  }
  if (second === undefined) return first;
  const each = found.map(({ name }) => name).join(", ");
  throw new TrineError("conflict", `${text} is not one image but ${each}`);
}

/** Names on the command line or -l, one of them; `forEachPod` goes on with the names. */
export function selectImages(
  images: readonly UsedImage[],
  names: readonly string[],
  selector: string | undefined,
): string[] {
  if (names.length > 0 && selector !== undefined) {
    throw new TrineError("invalid", "name images or select them by -l, not both");
  }
  if (selector === undefined) {
    if (names.length > 0) return [...new Set(names)];
    throw new TrineError("invalid", "which images? Name them, or select them by -l");
  }
  const matches = parseSelector(selector);
  const found = namedImages(images).filter(({ labels }) => matches(labels));
  if (found.length > 0) return found.map(({ name }) => name);
  throw new TrineError("notFound", `no image has ${selector}; \`trine image ls\` lists them`);
}

/** What json and yaml show of an image. */
export interface ImageObject {
  readonly apiVersion: "trine.dev/v1alpha1";
  readonly kind: "Image";
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    /** RFC 3339 */
    readonly creationTimestamp: string;
  };
  readonly status: {
    readonly digest: string;
    readonly sizeBytes: number;
    readonly architecture: string;
    /** Whether the store has all of it for this host. */
    readonly isComplete: boolean;
    readonly isPinned: boolean;
    /** NAMESPACE/POD/CONTAINER */
    readonly usedBy: readonly string[];
    /** As CRI calls it. */
    readonly imageId?: string;
    readonly layers?: NonNullable<ImageView["manifest"]>["layers"];
    readonly machine?: NonNullable<ImageView["machine"]>;
  };
}

export function toImageObject(image: UsedImage): ImageObject {
  const { name, labels, createdAt, target, manifest, machine } = image;
  return {
    apiVersion: "trine.dev/v1alpha1",
    kind: "Image",
    metadata: { name, labels, creationTimestamp: new Date(createdAt).toISOString() },
    status: {
      digest: target.digest,
      sizeBytes: image.sizeBytes,
      architecture: image.architecture,
      isComplete: manifest !== undefined,
      isPinned: image.isPinned,
      usedBy: image.usedBy,
      ...(manifest && { imageId: manifest.config.digest, layers: manifest.layers }),
      ...(machine && { machine }),
    },
  };
}
