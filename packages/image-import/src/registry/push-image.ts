import { TrineError } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { parseUrl } from "../fetch/http-client.ts";
import type { HttpSettings } from "../fetch/http-client.ts";
import type { Descriptor, ImageView } from "../store/list-images.ts";
import { RegistryClient, parseReference } from "./registry-client.ts";

/** On these a registry without TLS is reached too, as containerd does. */
const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/;

export interface PushRequest {
  readonly image: ImageView;
  /** REGISTRY/PATH:TAG */
  readonly reference: string;
  readonly http: HttpSettings;
  /** Without TLS, where it is not local. */
  readonly plain: boolean;
}

export type OnPush = (progress: { blob: string; done: number; total: number }) => void;

/** Sends an image to its registry: what is not there yet, then the manifest, which makes it visible. */
export async function pushImage(
  store: ImageStore,
  request: PushRequest,
  onProgress: OnPush,
  signal: AbortSignal,
): Promise<void> {
  const { image } = request;
  const { host, repository, tag } = parseReference(request.reference);
  if (image.manifest === undefined) {
    throw new TrineError("wrongState", `image ${image.name}: its content is not all here`);
  }
  const scheme =
    request.plain || (LOCAL.test(host) && request.http.caFile === undefined) ? "http" : "https";
  const base = parseUrl(`${scheme}://${host}/v2/${repository}/`);
  const registry = await RegistryClient.create(request.http, base);
  const { config, layers, digest } = image.manifest;
  for (const blob of [...layers, config]) {
    if (!(await registry.hasBlob(blob.digest, signal))) {
      await registry.putBlob(blobOf(store, blob, onProgress, signal), signal);
    }
  }
  const bytes: Uint8Array[] = [];
  for await (const chunk of store.read(digest, signal)) bytes.push(chunk);
  const manifest = Buffer.concat(bytes);
  await registry.putManifest(
    tag,
    { mediaType: mediaTypeOf(manifest, image.target), bytes: manifest },
    signal,
  );
}

function blobOf(
  store: ImageStore,
  { digest, sizeBytes: total }: Descriptor,
  onProgress: OnPush,
  signal: AbortSignal,
): { digest: string; sizeBytes: number; chunks: () => AsyncIterable<Uint8Array> } {
  async function* chunks(): AsyncGenerator<Uint8Array, void> {
    let done = 0;
    for await (const chunk of store.read(digest, signal)) {
      yield chunk;
      done += chunk.length;
      onProgress({ blob: digest, done, total });
    }
  }
  return { digest, sizeBytes: total, chunks };
}

/** A manifest may say its type itself; else it is what its name in the store says. */
function mediaTypeOf(manifest: Buffer, target: Descriptor): string {
  const { mediaType } = JSON.parse(manifest.toString("utf8")) as { mediaType?: unknown };
  return typeof mediaType === "string" ? mediaType : target.mediaType;
}
