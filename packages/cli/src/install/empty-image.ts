import { lstat } from "node:fs/promises";
import { createImageStore } from "@trine/containerd-client";
import type { ImageStore } from "@trine/containerd-client";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { EMPTY_IMAGE, putEmptyImage, removeEmptyImage } from "@trine/image-import";
import type { Io } from "../io.ts";
import type { NodeFiles } from "./node-files.ts";
import type { NodeKind } from "./node-kind.ts";
import { tellNotes } from "./tell-plan.ts";

/** Where kubelet's images live. */
const NAMESPACE = "k8s.io";
const ARCHITECTURE = "amd64";

/** Puts the image of machines whose root is a volume into the node's containerd; where none answers, the next run does. */
export async function provideEmptyImage(
  io: Io,
  files: NodeFiles,
  { kind, dryRun }: { readonly kind: NodeKind; readonly dryRun: boolean },
): Promise<void> {
  if (dryRun) return;
  const put = await withStoreOf(io, files, kind, (store) => {
    return putEmptyImage(store, ARCHITECTURE, io.signal);
  });
  if (put === undefined) {
    const what = `${EMPTY_IMAGE}, the image of machines whose root is a volume, is not there`;
    tellNotes(io, [`${what}: containerd does not run. Run trine install again when it does`]);
  } else if (put) {
    io.stdout.write(`image   ${EMPTY_IMAGE}: of machines whose root is a volume\n`);
  }
}

/** What is left of it where no containerd answers is containerd's to forget. */
export async function withdrawEmptyImage(io: Io, files: NodeFiles, kind: NodeKind): Promise<void> {
  await withStoreOf(io, files, kind, (store) => removeEmptyImage(store, ARCHITECTURE));
}

/** Undefined: nobody answers there. */
async function withStoreOf<T>(
  io: Io,
  files: NodeFiles,
  { socket }: NodeKind,
  work: (store: ImageStore) => Promise<T>,
): Promise<T | undefined> {
  const place = await files.place(socket);
  const isThere = await lstat(place).then(
    (found) => found.isSocket(),
    () => false, // it is no socket, whatever else is wrong with it
  );
  if (!isThere) return undefined;
  const store = createImageStore(place, NAMESPACE, io.onRequest);
  try {
    return await work(store);
  } catch (cause) {
    if (kindOf(cause) === "unavailable") return undefined;
    throw new TrineError(kindOf(cause), `containerd at ${place}: ${messageOf(cause)}`, { cause });
  } finally {
    store.close();
  }
}
