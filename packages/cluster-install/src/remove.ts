import { kindOf, pollUntil } from "@trine/base";
import type { KubeObject, Place, Resource, Selection, Stored } from "@trine/kube-client";
import type { ClusterApi } from "./cluster-api.ts";
import { nameOf, placeOfObject } from "./plan-install.ts";
import type { Uninstall } from "./uninstall.ts";

/** Empty also where the kind is not there. */
export async function listed<T extends KubeObject>(
  api: Pick<ClusterApi, "list">,
  resource: Resource<T>,
  within: Selection,
  signal: AbortSignal,
): Promise<readonly Stored<T>[]> {
  try {
    return (await api.list(resource, within, signal)).items;
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
    return [];
  }
}

/** Deletes an object, tells of it, and takes one that is gone for done. Kind `conflict` where another has its name by now. */
export async function remove(
  { api, dryRun, tell, signal }: Pick<Uninstall, "api" | "dryRun" | "tell" | "signal">,
  resource: Resource,
  object: KubeObject,
): Promise<void> {
  const { deletionTimestamp, uid } = (object.metadata ?? {}) as {
    readonly deletionTimestamp?: unknown;
    readonly uid?: string;
  };
  if (deletionTimestamp !== undefined && deletionTimestamp !== null) return;
  tell(`remove  ${nameOf(resource, object)}`);
  if (!dryRun) await deleted(api, resource, { ...placeOfObject(object), uid }, signal);
}

async function deleted(
  api: Pick<ClusterApi, "delete">,
  resource: Resource,
  { uid, ...at }: Place & { readonly uid: string | undefined },
  signal: AbortSignal,
): Promise<void> {
  const which = uid === undefined ? {} : { uid };
  await api
    .delete(resource, at, { ...which, propagationPolicy: "Background", signal })
    .catch((cause: unknown) => {
      if (kindOf(cause) !== "notFound") throw cause;
    });
}

/** Waits until `left` answers none; answers what was left when the time was over. */
export async function untilNone<T>(
  { timeoutMs, signal }: Pick<Uninstall, "timeoutMs" | "signal">,
  what: string,
  left: () => Promise<readonly T[]>,
): Promise<readonly T[]> {
  let last: readonly T[] = [];
  try {
    await pollUntil(what, { ms: timeoutMs, everyMs: 250, signal }, async () => {
      last = await left();
      return last.length === 0 || undefined;
    });
  } catch (cause) {
    if (signal.aborted || kindOf(cause) !== "timeout") throw cause;
  }
  return last;
}
