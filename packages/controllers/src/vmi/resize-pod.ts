import { type ErrorKind, kindOf } from "@trine/base";
import { type KubeApi, PODS, type Pod, type Stored, pointer } from "@trine/kube-client";
import type { GrowthStep } from "./growth.ts";
import { COMPUTE } from "./networks.ts";

/** Kinds by which the API server says no: to try again helps only when its user does something. */
const REFUSED: ReadonlySet<ErrorKind> = new Set([
  "forbidden",
  "invalid",
  "malformed",
  "wrongState",
]);

export function isRefused(cause: unknown): boolean {
  return REFUSED.has(kindOf(cause));
}

/** In place: kubelet gives it, or says why not. Kind `notFound` where the pod has gone, or the cluster cannot do it. */
export function resizePod(
  api: KubeApi,
  { metadata }: Stored<Pod>,
  { index, requests }: GrowthStep & { readonly do: "resizePod" },
  signal: AbortSignal,
): Promise<Stored<Pod>> {
  const at = ["spec", "containers", index] as const;
  const operations = [
    { op: "test", path: pointer("metadata", "uid"), value: metadata.uid },
    { op: "test", path: pointer(...at, "name"), value: COMPUTE },
    { op: "replace", path: pointer(...at, "resources", "requests"), value: requests },
  ] as const;
  const { namespace = "", name } = metadata;
  return api.patch(PODS, { namespace, name }, operations, { subresource: "resize", signal });
}
