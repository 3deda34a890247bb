import { TrineError, kindOf, pollUntil } from "@trine/base";
import { PODS, type Pod } from "@trine/kube-client";
import { CONTROL, type ClusterApi, type Tell } from "./cluster-api.ts";
import { type Planned, found, placeOfObject } from "./plan-install.ts";
import { API_SERVICES, CRDS, DEPLOYMENTS } from "./resources.ts";

const EVERY_MS = 500;
const API = "v1.subresources.kubevirt.io";

/** Waits until the API server serves these kinds. */
export async function untilEstablished(
  api: ClusterApi,
  crds: readonly Planned[],
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  for (const { object } of crds) {
    const at = placeOfObject(object);
    await pollUntil(
      `${at.name} is served`,
      { ms: timeoutMs, everyMs: EVERY_MS, signal },
      async () => {
        const { status } = await api.get(CRDS, at, signal);
        const isSo = (type: string): boolean =>
          status?.conditions?.some((each) => each.type === type && each.status === "True") ?? false;
        return isSo("Established") || undefined;
      },
    );
  }
}

/** Waits until the control plane has pods that serve, and the API server reaches them; else says what keeps them. */
export async function untilServing(
  api: ClusterApi,
  of: {
    readonly namespace: string;
    readonly timeoutMs: number;
    readonly tell: Tell;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { namespace, timeoutMs, signal } = of;
  let told: string | undefined;
  let why = "";
  try {
    await pollUntil(
      "the control plane serves",
      { ms: timeoutMs, everyMs: EVERY_MS, signal },
      async () => {
        const now = await whyNot(api, namespace, signal);
        if (now === undefined) return true;
        why = now;
        if (why !== told) of.tell(`wait    ${why}`);
        told = why;
        return undefined;
      },
    );
  } catch (cause) {
    if (signal.aborted || kindOf(cause) !== "timeout") throw cause;
    throw new TrineError("timeout", `the control plane does not serve: ${why}`, { cause });
  }
}

async function whyNot(
  api: ClusterApi,
  namespace: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { metadata, spec, status } = await api.get(
    DEPLOYMENTS,
    { namespace, name: CONTROL },
    signal,
  );
  const { generation } = metadata as { generation?: number };
  if ((status?.observedGeneration ?? 0) < (generation ?? 0)) {
    return "Kubernetes has not seen the Deployment yet";
  }
  const replicas = spec.replicas ?? 1;
  const { updatedReplicas = 0, availableReplicas = 0 } = status ?? {};
  if (updatedReplicas < replicas || availableReplicas < 1) {
    return `${availableReplicas} of ${replicas} pods serve${await podsWords(api, namespace, signal)}`;
  }
  const service = await found(api, API_SERVICES, { name: API }, signal);
  if (service === undefined) return `APIService ${API} is not there yet`;
  const available = service.status?.conditions?.find(({ type }) => type === "Available");
  if (available?.status === "True") return undefined;
  return `APIService ${API}: ${available?.message ?? "not looked at yet"}`;
}

/** What keeps the pods, in kubelet's and the scheduler's words. */
async function podsWords(api: ClusterApi, namespace: string, signal: AbortSignal): Promise<string> {
  const labelSelector = `app.kubernetes.io/name=${CONTROL}`;
  const { items } = await api.list(PODS, { namespace, labelSelector }, signal);
  const words = items.map(wordsOf).filter((text) => text !== "");
  return words.length === 0 ? "" : `: ${[...new Set(words)].join("; ")}`;
}

function wordsOf({ status }: Pod): string {
  const waiting = status?.containerStatuses?.find(({ state }) => state?.waiting !== undefined);
  const { reason, message } = waiting?.state?.waiting ?? {};
  if (reason !== undefined) return message === undefined ? reason : `${reason}, ${message}`;
  const scheduled = status?.conditions?.find(({ type }) => type === "PodScheduled");
  return scheduled?.status === "False" ? (scheduled.message ?? "not scheduled") : "";
}
