import { TrineError, kindOf, messageOf } from "@trine/base";
import { createImageStore } from "@trine/containerd-client";
import type { ImageStore } from "@trine/containerd-client";
import type { Io } from "../io.ts";

export interface StoreFlags {
  readonly containerd: string;
  readonly namespace: string;
}

/** Runs `work` with containerd's own services of images; says which socket when nobody is there. */
export async function withStore<T>(
  io: Pick<Io, "signal" | "onRequest">,
  flags: StoreFlags,
  work: (store: ImageStore) => Promise<T>,
): Promise<T> {
  const store = createImageStore(flags.containerd, flags.namespace, io.onRequest);
  try {
    // A cheap question first: later it would not be clear who does not answer.
    await store.images.list({ filters: ["name==none"] }, { signal: io.signal });
  } catch (cause) {
    store.close();
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    if (kindOf(cause) !== "unavailable") throw cause;
    const advice = "is containerd running? `trine doctor` tells more";
    const what = `containerd does not answer at ${flags.containerd} (${messageOf(cause)}): ${advice}`;
    throw new TrineError("unavailable", what, { cause });
  }
  try {
    return await work(store);
  } finally {
    store.close();
  }
}
