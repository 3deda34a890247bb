import { TrineError, kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";

const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
const DIGEST_NAME = /^sha256:[0-9a-f]{64}$/;
const DIGEST = /^sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})$/;
const INDEX = /(image\.index|manifest\.list)/;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** An image as containerd has it, by one of its names. */
export interface ImageView {
  readonly name: string;
  readonly target: Descriptor;
  /** The manifest for this processor; undefined when its content is not all here. */
  readonly manifest?: {
    readonly digest: string;
    readonly config: Descriptor;
    readonly layers: readonly Descriptor[];
  };
  readonly architecture: string;
  /** Of the image itself, and over them those that containerd's name has. */
  readonly labels: Readonly<Record<string, string>>;
  /** CRI keeps it from kubelet's garbage collection, as it does the sandbox image. */
  readonly isPinned: boolean;
  /** ms since 1970 */
  readonly createdAt: number;
  /** Of all content, packed as it is. */
  readonly sizeBytes: number;
  /** What `trine image import` knows of a disk. */
  readonly machine?: { readonly format: string; readonly virtualSizeBytes: number };
}

/** Whether a name says nothing but a digest: CRI makes these for its own use. */
export function isDigestName(name: string): boolean {
  return DIGEST_NAME.test(name);
}

/** All names in the store, in order; documents that are missing or damaged leave gaps, not errors. */
export async function listImages(store: ImageStore, signal: AbortSignal): Promise<ImageView[]> {
  const { images } = await store.images.list({}, { signal });
  const known = new Map<string, Promise<Content | undefined>>();
  const views = images.map(async (image): Promise<ImageView> => {
    const target = {
      mediaType: image.target?.mediaType ?? "",
      digest: image.target?.digest ?? "",
      sizeBytes: Number(image.target?.size ?? 0),
    };
    const reading = known.get(target.digest) ?? readContent(store, target, signal);
    known.set(target.digest, reading);
    const createdAt = Number(image.createdAt?.seconds ?? 0) * 1000;
    return { name: image.name, target, createdAt, ...viewOf(await reading, image.labels) };
  });
  return (await Promise.all(views)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Digests of an image's layers, unpacked; kind `malformed` for a document that does not say. */
export async function layersOf(
  store: ImageStore,
  image: Pick<ImageView, "name" | "manifest">,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (image.manifest === undefined) {
    const advice = "`trine image pull` fetches it";
    throw new TrineError("notFound", `image ${image.name}: its content is not all here: ${advice}`);
  }
  const config = await readDocument(store, image.manifest.config.digest, signal);
  const layers = listOf(field(field(config, "rootfs"), "diff_ids"));
  const isDigest = (each: unknown): each is string => typeof each === "string" && DIGEST.test(each);
  if (layers.length > 0 && layers.every(isDigest)) return layers;
  throw new TrineError("malformed", `image ${image.name}: its configuration names no layers`);
}

interface Content {
  readonly manifest: NonNullable<ImageView["manifest"]>;
  readonly architecture: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
}

function viewOf(
  content: Content | undefined,
  names: Readonly<Record<string, string>>,
): Omit<ImageView, "name" | "target" | "createdAt"> {
  const own = Object.entries(names).filter(([key]) => !key.startsWith("io.cri-containerd."));
  const labels = { ...content?.labels, ...Object.fromEntries(own) };
  const format = content?.labels["trine.dev/image-format"];
  const size = Number(content?.labels["trine.dev/virtual-size"] ?? Number.NaN);
  const isMachine = format !== undefined && Number.isSafeInteger(size);
  return {
    labels,
    isPinned: names["io.cri-containerd.pinned"] === "pinned",
    architecture: content?.architecture ?? "",
    sizeBytes: content?.sizeBytes ?? 0,
    ...(content && { manifest: content.manifest }),
    ...(isMachine && { machine: { format, virtualSizeBytes: size } }),
  };
}

async function readContent(
  store: ImageStore,
  target: Descriptor,
  signal: AbortSignal,
): Promise<Content | undefined> {
  try {
    const digest = await manifestDigest(store, target, signal);
    const manifest = await readDocument(store, digest, signal);
    const config = descriptorOf(field(manifest, "config"));
    const layers = listOf(field(manifest, "layers")).map(descriptorOf);
    const image = await readDocument(store, config.digest, signal);
    const labels = Object.entries(objectOf(field(field(image, "config"), "Labels")));
    const isText = (pair: [string, unknown]): pair is [string, string] =>
      typeof pair[1] === "string";
    return {
      manifest: { digest, config, layers },
      architecture: textOf(field(image, "architecture")),
      labels: Object.fromEntries(labels.filter(isText)),
      sizeBytes: layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, config.sizeBytes),
    };
  } catch (cause) {
    if (["notFound", "malformed"].includes(kindOf(cause))) return undefined;
    throw cause;
  }
}

/** Of an index: the manifest for amd64, or the first that is here. */
async function manifestDigest(
  store: ImageStore,
  target: Descriptor,
  signal: AbortSignal,
): Promise<string> {
  if (!INDEX.test(target.mediaType)) return target.digest;
  const index = await readDocument(store, target.digest, signal);
  const all = listOf(field(index, "manifests"));
  const fits = all.filter((each) => field(field(each, "platform"), "architecture") === "amd64");
  for (const each of [...fits, ...all]) {
    const { digest } = descriptorOf(each);
    const found = await store.content.info({ digest }, { signal }).catch((cause: unknown) => {
      if (kindOf(cause) === "notFound") return undefined;
      throw cause;
    });
    if (found !== undefined) return digest;
  }
  throw new TrineError("notFound", "none of the index's manifests is here");
}

/** A JSON document of the store; kind `malformed` when it is none or too long. */
async function readDocument(
  store: ImageStore,
  digest: string,
  signal: AbortSignal,
): Promise<unknown> {
  const bytes = await readSmall(store, digest, signal);
  try {
    return JSON.parse(bytes.toString("utf8")) as unknown;
  } catch (cause) {
    throw new TrineError("malformed", `document ${digest} is not JSON`, { cause });
  }
}

async function readSmall(store: ImageStore, digest: string, signal: AbortSignal): Promise<Buffer> {
  const { info } = await store.content.info({ digest }, { signal });
  if (Number(info?.size ?? 0) > MAX_DOCUMENT_BYTES) {
    throw new TrineError("malformed", `document ${digest} is too long`);
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.read(digest, signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function descriptorOf(value: unknown): Descriptor {
  const digest = field(value, "digest");
  const size = field(value, "size");
  // containerd refuses to be asked for anything else.
  if (typeof digest !== "string" || !DIGEST.test(digest) || !Number.isSafeInteger(size)) {
    throw new TrineError("malformed", "a descriptor without digest or size");
  }
  return { mediaType: textOf(field(value, "mediaType")), digest, sizeBytes: Number(size) };
}

function field(value: unknown, key: string): unknown {
  return Object.entries(objectOf(value)).find(([name]) => name === key)?.[1];
}

function objectOf(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
