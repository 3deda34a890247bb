import { isDeepStrictEqual } from "node:util";
import { TrineError, kindOf } from "@trine/base";
import {
  type KubeObject,
  type Place,
  type Resource,
  StatusError,
  type Stored,
} from "@trine/kube-client";
import type { ClusterApi } from "./cluster-api.ts";
import { adopting, isAdopted, isOurs } from "./ownership.ts";
import { NAMESPACES, resourceOfObject } from "./resources.ts";

export const MANAGER = "trine-install";

/** What becomes of one object. */
export interface Planned {
  readonly object: KubeObject;
  readonly resource: Resource;
  readonly verb: "create" | "change" | "same";
  /** It says it is ours: what others have changed of it is put back. */
  readonly force: boolean;
}

/**
 * What differs from what is wanted, asked of the API server itself by a dry run. Kind `conflict` where an object of that name
 * is somebody else's, and nothing has been done then.
 */
export async function planInstall(
  api: ClusterApi,
  objects: readonly KubeObject[],
  signal: AbortSignal,
): Promise<readonly Planned[]> {
  const planned: Planned[] = [];
  const foreign: string[] = [];
  for (const wanted of objects) {
    const resource = resourceOfObject(wanted);
    const there = await found(api, resource, placeOfObject(wanted), signal);
    if (there === undefined) {
      planned.push({ object: wanted, resource, verb: "create", force: false });
      continue;
    }
    const force = isOurs(there);
    // Our label says "delete it" to an uninstall, so it comes with the word that somebody else has made it.
    const isOthers = resource === NAMESPACES && (!force || isAdopted(there));
    const object = isOthers ? adopting(wanted) : wanted;
    try {
      const after = await api.apply(resource, object, {
        manager: MANAGER,
        force,
        dryRun: true,
        signal,
      });
      const isSame = isDeepStrictEqual(content(after), content(there));
      planned.push({ object, resource, verb: isSame ? "same" : "change", force });
    } catch (cause) {
      if (!(cause instanceof StatusError)) throw cause;
      // A webhook of ours that nobody answers: what is wrong with the control plane is mended before this object's turn.
      if (cause.kind === "unavailable") planned.push({ object, resource, verb: "change", force });
      else if (cause.kind !== "conflict") throw cause;
      else foreign.push(`${nameOf(resource, object)} (${cause.message.slice(0, 300)})`);
    }
  }
  if (foreign.length === 0) return planned;
  const what = `not Trine's, and not changed: ${foreign.slice(0, 10).join("; ")}`;
  throw new TrineError("conflict", what);
}

export function nameOf(resource: Resource, { metadata }: KubeObject): string {
  const { namespace, name = "" } = metadata ?? {};
  const kind = `${resource.plural}${resource.group === "" ? "" : `.${resource.group}`}`;
  return `${kind}/${name}${namespace === undefined ? "" : ` in ${namespace}`}`;
}

export function placeOfObject({ metadata }: KubeObject): Place {
  const { namespace, name = "" } = metadata ?? {};
  return namespace === undefined ? { name } : { namespace, name };
}

/** Undefined also where its kind is not there yet. */
export async function found<T extends KubeObject>(
  api: Pick<ClusterApi, "get">,
  resource: Resource<T>,
  at: Place,
  signal: AbortSignal,
): Promise<Stored<T> | undefined> {
  return api.get(resource, at, signal).catch((cause: unknown) => {
    if (kindOf(cause) !== "notFound") throw cause;
    return undefined;
  });
}

/** Without what every write changes. */
function content(object: KubeObject): unknown {
  const changing = ["managedFields", "resourceVersion", "generation"];
  const fields = Object.entries(object.metadata ?? {});
  const metadata = Object.fromEntries(fields.filter(([name]) => !changing.includes(name)));
  return { ...object, metadata };
}
