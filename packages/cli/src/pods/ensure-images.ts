import { TrineError, messageOf } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { defaultPullPolicy } from "@trine/pod-spec";
import type { ImageFacts, Pod, PullPolicy } from "@trine/pod-spec";

const PULL_MS = 3_600_000;

interface Puller {
  readonly cri: CriClient;
  readonly signal: AbortSignal;
  step(text: string): void;
}

/** Has every image of a pod in the store, by each one's pull policy; answers what CRI says of it. */
export async function ensureImages(
  puller: Puller,
  { spec }: Pod,
): Promise<ReadonlyMap<string, ImageFacts>> {
  const wanted = new Map<string, PullPolicy>();
  for (const { image, imagePullPolicy } of [...spec.initContainers, ...spec.containers]) {
    const policy = imagePullPolicy ?? defaultPullPolicy(image);
    if (wanted.get(image) !== "Always") wanted.set(image, policy);
  }
  const volumes = spec.volumes.flatMap(({ image }) => image ?? []);
  if (volumes.length > 0) await requireImageVolumes(puller);
  for (const { reference, pullPolicy } of volumes) {
    wanted.set(reference, pullPolicy ?? defaultPullPolicy(reference));
  }
  const found = new Map<string, ImageFacts>();
  for (const [image, policy] of wanted) found.set(image, await ensureImage(puller, image, policy));
  return found;
}

/** Kind `notFound` when the image is not there and must not or cannot be pulled. */
async function ensureImage(puller: Puller, image: string, policy: PullPolicy): Promise<ImageFacts> {
  const present = await statusOf(puller, image);
  if (present !== undefined && policy !== "Always") return present;
  if (policy === "Never") {
    throw new TrineError("notFound", `image ${image} is not in the store, and its policy is Never`);
  }
  // A name without a registry's, or one made here, is nobody's to pull.
  if (present !== undefined && /^localhost\//.test(image)) return present;
  puller.step(`pulling image ${image}`);
  const { cri, signal } = puller;
  try {
    await cri.images.pullImage({ image: { image } }, { signal, timeoutMs: PULL_MS });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new TrineError("notFound", `image ${image}: ${messageOf(cause)}`, { cause });
  }
  const pulled = await statusOf(puller, image);
  if (pulled !== undefined) return pulled;
  throw new TrineError("internal", `image ${image}: pulled, and not in the store`);
}

async function statusOf({ cri, signal }: Puller, image: string): Promise<ImageFacts | undefined> {
  const { image: found } = await cri.images.imageStatus({ image: { image } }, { signal });
  if (found === undefined) return undefined;
  return {
    ref: found.id,
    ...(found.uid === undefined ? {} : { uid: found.uid.value }),
    ...(found.username === "" ? {} : { username: found.username }),
  };
}

/** An older containerd would mount nothing, and say so with the wrong words. */
async function requireImageVolumes({ cri, signal }: Puller): Promise<void> {
  const { runtimeName, runtimeVersion } = await cri.runtime.version({}, { signal });
  const [major = 0, minor = 0] = runtimeVersion.replace(/^v/, "").split(".").map(Number);
  if (runtimeName !== "containerd" || major > 2 || (major === 2 && minor >= 1)) return;
  const what = `volumes of kind image need containerd 2.1; this is ${runtimeVersion}`;
  throw new TrineError("unimplemented", what);
}
