import { readFile, rename, writeFile } from "node:fs/promises";
import type { ImageStore } from "@trine/containerd-client";
import { SerialQueue, TrineError, errnoOf, kindOf } from "@trine/base";

/** A container's start waits for the answer: without one its root goes through the share. */
const ANSWER_MS = 5_000;

/** A place an image's layers were seen at. */
export interface Origin {
  /** containerd's socket. */
  readonly containerd: string;
  readonly namespace: string;
  readonly snapshotter: string;
}

/** Answers containerd's services; one connection for all who ask. */
export type OpenStore = (socket: string, namespace: string) => ImageStore;

function isSameOrigin(one: Origin, other: Origin): boolean {
  return (
    one.containerd === other.containerd &&
    one.namespace === other.namespace &&
    one.snapshotter === other.snapshotter
  );
}

/** The list beside an image's file. Empty when there is none, or none that can be read. */
export async function readOrigins(path: string): Promise<Origin[]> {
  try {
    const value = JSON.parse(await readFile(path, "utf8")) as unknown;
    return Array.isArray(value) ? value.filter(isOrigin) : [];
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT" || cause instanceof SyntaxError) return [];
    throw cause;
  }
}

/** The one who writes these lists: of origins that are noted at once each stays. */
export class OriginNotes {
  readonly #queue = new SerialQueue();

  /** Adds it to the list `path`, if it is not there. */
  note(path: string, origin: Origin): Promise<void> {
    return this.#queue.run(async () => {
      const known = await readOrigins(path);
      if (known.some((each) => isSameOrigin(each, origin))) return;
      await writeFile(`${path}.new`, JSON.stringify([...known, origin]), { mode: 0o600 });
      await rename(`${path}.new`, path);
    });
  }
}

/** Whether containerd still has the image's snapshot. One that cannot be asked has it. */
export async function hasSnapshot(open: OpenStore, at: Origin, chain: string): Promise<boolean> {
  const store = open(at.containerd, at.namespace);
  try {
    await store.snapshots.stat({ snapshotter: at.snapshotter, key: chain });
    return true;
  } catch (cause) {
    return kindOf(cause) !== "notFound";
  }
}

/**
 * The image snapshot below a container's own, and where it is. Undefined when containerd has no such container,
 * its root is no snapshot, or stands on something that is no image's. Kind `timeout` after a few seconds.
 */
export async function imageOf(
  open: OpenStore,
  container: { readonly containerd: string; readonly namespace: string; readonly id: string },
): Promise<{ origin: Origin; chain: string } | undefined> {
  const { containerd, namespace, id } = container;
  const store = open(containerd, namespace);
  try {
    const found = await store.containers.get({ id }, { timeoutMs: ANSWER_MS });
    const { snapshotter = "", snapshotKey: key = "" } = found.container ?? {};
    if (key === "") return undefined;
    const { info } = await store.snapshots.stat({ snapshotter, key }, { timeoutMs: ANSWER_MS });
    const chain = info?.parent ?? "";
    if (!CHAIN.test(chain)) return undefined;
    return { origin: { containerd, namespace, snapshotter }, chain };
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw TrineError.during(`ask containerd for the image of container ${id}`, cause);
  }
}

/** A chain id (OCI image specification): it names the contents of all layers. */
const CHAIN = /^sha256:[0-9a-f]{64}$/;

function isOrigin(value: unknown): value is Origin {
  const fields = value as Partial<Record<keyof Origin, unknown>> | null;
  const all = [fields?.containerd, fields?.namespace, fields?.snapshotter];
  return all.every((field) => typeof field === "string");
}
