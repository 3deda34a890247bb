import { TrineError, kindOf, messageOf } from "@trine/base";
import { pushImage } from "@trine/image-import";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { Progress } from "../output/progress.ts";
import type { ProgressForm } from "../output/progress.ts";
import { forEachPod } from "../pods/select-pods.ts";
import { credentialsOf, httpSettings } from "./http-settings.ts";
import type { AuthFlags, HttpFlags } from "./http-settings.ts";
import { parseImageName } from "./image-name.ts";
import { pickImage, selectImages, usedImages } from "./image-view.ts";
import { withStore } from "./open-store.ts";
import type { StoreFlags } from "./open-store.ts";

const PULL_MS = 6 * 3_600_000;
const SHORT_DIGEST = 19;

export interface PullFlags extends AuthFlags {
  readonly progress: ProgressForm;
  readonly timeout?: number;
  readonly containerd: string;
}

export interface PushFlags extends HttpFlags, StoreFlags {
  readonly selector?: string;
  readonly to?: string;
  readonly plainHttp: boolean;
  readonly progress: ProgressForm;
}

/** `trine image pull`: containerd fetches; the password goes over its socket and nowhere else. */
export async function pullImages(
  io: Io,
  names: readonly string[],
  flags: PullFlags,
): Promise<number> {
  const credentials = await credentialsOf(io, flags);
  const progress = new Progress(io, flags.progress);
  const { signal, onRequest } = io;
  return withCri({ containerd: flags.containerd, signal, onRequest }, (cri) =>
    forEachPod(io, [...new Set(names)], async (name) => {
      const known = credentials(name.split("/")[0] ?? "");
      const auth =
        known === undefined
          ? undefined
          : known.kind === "basic"
            ? { username: known.username, password: known.password }
            : { registryToken: known.token };
      progress.step(name, "pulling");
      try {
        const options = { signal: io.signal, timeoutMs: flags.timeout ?? PULL_MS };
        const request = { image: { image: name }, ...(auth && { auth }) };
        const { imageRef } = await cri.images.pullImage(request, options);
        progress.end();
        return `${name} ${imageRef.slice(0, SHORT_DIGEST)}`;
      } catch (cause) {
        progress.end();
        if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
        throw new TrineError(kindOf(cause), `image ${name}: ${messageOf(cause)}`, { cause });
      }
    }),
  );
}

/** `trine image push` */
export async function pushImages(
  io: Io,
  names: readonly string[],
  flags: PushFlags,
): Promise<number> {
  if (flags.to !== undefined && names.length !== 1) {
    throw new TrineError("invalid", "--to: exactly one image is wanted with it");
  }
  const to = flags.to === undefined ? undefined : parseImageName(flags.to);
  const http = await httpSettings(io, flags);
  const progress = new Progress(io, flags.progress);
  return withStore(io, flags, async (store) => {
    const images = await usedImages(io, store, flags);
    return forEachPod(io, selectImages(images, names, flags.selector), async (text) => {
      const image = pickImage(images, text);
      const reference = to ?? image.name;
      try {
        await pushImage(
          store,
          { image, reference, http, plain: flags.plainHttp },
          ({ blob, done, total }) => {
            progress.amount(reference, `pushing ${blob.slice(0, SHORT_DIGEST)}`, done, total);
          },
          io.signal,
        );
      } finally {
        progress.end();
      }
      return `${reference} pushed`;
    });
  });
}
