import {
  COPY_GRANT,
  type Cache,
  PODS,
  type PersistentVolumeClaim,
  type Pod,
  type Stored,
  readGrant,
  resolveSource,
} from "@trine/kube-client";
import type { DataVolumeSpec, KubeVirt } from "@trine/kube-types";
import { FILLER_LABEL } from "@trine/node-door";
import type { ImportReport } from "@trine/node-door";
import type { ControlDeps, MakeCache } from "../controller.ts";
import { requested } from "./claim-of.ts";
import { fillerName } from "./filler-pod.ts";
import { BY_TAKER, byTaker, giverName } from "./giver-pod.ts";
import { type ClaimAt, planFilling } from "./plan-filling.ts";
import {
  type ClaimFacts,
  type Placement,
  type Seen,
  type Volume,
  isBound,
  isFilled,
  isOwn,
} from "./seen.ts";
import { sisterClaims } from "./sister-claims.ts";
import { storageOf } from "./storage.ts";
import { claimOf } from "../vmi/disks.ts";
import { bytesOf } from "../vmi/settings.ts";

/** Caches that only volumes' controller has. */
export interface VolumeCaches {
  readonly kubeVirts: Cache<KubeVirt>;
  /** Pods that fill volumes, and those that give to them. */
  readonly fillers: Cache<Pod>;
}

export function volumeCaches(make: MakeCache): Omit<VolumeCaches, "kubeVirts"> {
  return { fillers: make(PODS, { [BY_TAKER]: byTaker }, { labelSelector: FILLER_LABEL }) };
}

export interface VolumeDeps extends Pick<ControlDeps, "api" | "events" | "now" | "onFailure"> {
  readonly caches: Pick<ControlDeps["caches"], "dataVolumes" | "claims" | "instances"> &
    VolumeCaches;
  /** Image of containers that need none. */
  readonly emptyImage: string;
  /** What a pod's node says of its import; undefined: it is not heard, or knows of none. */
  readonly reportOf: (pod: Stored<Pod>, signal: AbortSignal) => Promise<ImportReport | undefined>;
  /** Signs what may be copied out of other namespaces. */
  readonly copyKey: () => Buffer;
  /** Begins what a giver's pod gives to a taker's, unless it goes on already. */
  readonly join: (giver: Stored<Pod>, taker: Stored<Pod>) => void;
}

/** All that the decision on a volume looks at. */
export async function look(deps: VolumeDeps, volume: Volume, signal: AbortSignal): Promise<Seen> {
  const { api, caches } = deps;
  const { namespace = "default", name } = volume.metadata;
  const claim = caches.claims.get(`${namespace}/${name}`);
  const pod = caches.fillers.get(`${namespace}/${fillerName(volume)}`);
  const isDone = volume.status?.phase === "Succeeded";
  const { source, trouble } = await sourceOf(deps, volume, signal);
  const plan = planOf(deps, volume, source, namespace);
  const isOpen = !isDone && pod === undefined && (claim === undefined || !isFilled(claim));
  const storage = isOpen ? await storageOf(api, classOf(volume, claim), signal) : undefined;
  const far = "refused" in plan ? undefined : plan.far;
  const givers = caches.fillers.byIndex(BY_TAKER, `${namespace}/${name}`);
  const giver = far && caches.fillers.get(`${far.namespace}/${giverName(volume)}`);
  const lacksGiver = far !== undefined && giver === undefined;
  const from = copiedClaim(plan, namespace);
  const copied = from && claimAt(deps, from);
  const inUse =
    from !== undefined && !isDone && (isOpen || lacksGiver)
      ? await troubleWith(deps, from, copied, signal)
      : undefined;
  const isToFill = isOpen && claim !== undefined && isOwn(claim, volume);
  const writer = isToFill ? await userOf(api, { namespace, name }, hasNode, signal) : undefined;
  const facts: ClaimFacts = {
    className: storage?.className,
    profile: storage?.profile,
    overhead: storage?.overhead ?? 0,
    sourceBytes: copied && bytesIn(copied),
  };
  const waitsForConsumer = storage?.waitsForConsumer ?? false;
  const consumer = consumerOf(deps, namespace, name);
  const isToBind = waitsForConsumer && claim !== undefined && !isBound(claim);
  const sisters =
    consumer && isToBind ? await sisterClaims(deps, volume, consumer, signal) : undefined;
  return {
    ...{ volume, source, plan, facts, claim, pod, giver, givers },
    waitsForConsumer,
    consumer,
    sisters,
    sourceTrouble: isDone ? undefined : (trouble ?? inUse),
    targetTrouble: writer,
    report:
      pod?.status?.phase === "Running" && !isDone ? await deps.reportOf(pod, signal) : undefined,
    now: deps.now(),
  };
}

function planOf(
  deps: VolumeDeps,
  volume: Volume,
  source: DataVolumeSpec["source"],
  namespace: string,
): Seen["plan"] {
  const { contentType, checkpoints } = volume.spec;
  const granted = grantOf(deps, volume);
  return planFilling(
    {
      ...(source && { source }),
      ...(contentType && { contentType }),
      ...(checkpoints && { checkpoints }),
    },
    namespace,
    {
      isBlock: (of) => claimAt(deps, of)?.spec.volumeMode === "Block",
      isGranted: ({ namespace: of, name }) => granted?.namespace === of && granted.name === name,
    },
  );
}

function grantOf(
  { copyKey }: VolumeDeps,
  { metadata: { namespace = "default", annotations } }: Volume,
): ClaimAt | undefined {
  const grant = annotations?.[COPY_GRANT];
  return grant === undefined ? undefined : readGrant(grant, namespace, copyKey());
}

/** As the cache has it. */
export function claimAt(
  { caches }: VolumeDeps,
  { namespace, name }: ClaimAt,
): Stored<PersistentVolumeClaim> | undefined {
  return caches.claims.get(`${namespace}/${name}`);
}

/** Of whichever namespace. */
export function copiedClaim(plan: Seen["plan"], namespace: string): ClaimAt | undefined {
  if ("refused" in plan) return undefined;
  return plan.far ?? (plan.from === undefined ? undefined : { namespace, name: plan.from });
}

/** A claim that is there says it itself. */
function classOf(
  { spec }: Volume,
  claim: PersistentVolumeClaim | undefined,
): Parameters<typeof storageOf>[1] {
  const name = claim?.spec.storageClassName ?? (spec.pvc ?? spec.storage)?.storageClassName;
  return { name, isForDisk: claim === undefined && spec.pvc === undefined };
}

/** What a volume is made of; a DataSource stands for a claim. */
async function sourceOf(
  deps: VolumeDeps,
  volume: Volume,
  signal: AbortSignal,
): Promise<{ readonly source: DataVolumeSpec["source"]; readonly trouble?: string }> {
  const { spec, metadata } = volume;
  const { namespace: own = "default" } = metadata;
  const granted = grantOf(deps, volume);
  // What its maker was allowed to copy stays that, whatever the DataSource says by now.
  if (spec.source === undefined && granted !== undefined) return { source: { pvc: granted } };
  const { source, trouble } = await resolveSource(deps.api, spec, own, signal);
  if (trouble === undefined) return { source };
  // Its claim may be of any name: nothing is refused for that.
  return { source: { pvc: { namespace: own, name: "" } }, trouble: trouble.message };
}

/** Why a claim cannot be copied now: what is written to meanwhile would be copied half. */
async function troubleWith(
  { api, caches }: VolumeDeps,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  claim: Stored<PersistentVolumeClaim> | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (name === "") return undefined;
  if (claim === undefined) return `PVC ${namespace}/${name} is not there`;
  const volume = caches.dataVolumes.get(`${namespace}/${name}`);
  if (volume !== undefined && isOwn(claim, volume) && volume.status?.phase !== "Succeeded") {
    return `DataVolume ${namespace}/${name} is not filled yet`;
  }
  return userOf(api, { namespace, name }, () => true, signal);
}

/** Which pod uses a claim, in words. */
async function userOf(
  api: VolumeDeps["api"],
  { namespace, name }: { readonly namespace: string; readonly name: string },
  counts: (pod: Pod) => boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { items } = await api.list(PODS, { namespace }, signal);
  const user = items.find((pod) => counts(pod) && isUsing(pod, name));
  if (user === undefined) return undefined;
  return `pod ${namespace}/${user.metadata.name} is using PVC ${name}`;
}

function hasNode({ spec }: Pod): boolean {
  return spec.nodeName !== undefined && spec.nodeName !== "";
}

function isUsing({ spec, status, metadata }: Pod, claim: string): boolean {
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return false;
  if (metadata?.labels?.[FILLER_LABEL] !== undefined) return false; // reads it too
  return (spec.volumes ?? []).some((volume) => {
    const used = volume["persistentVolumeClaim"] as
      { readonly claimName?: string; readonly readOnly?: boolean } | undefined;
    return used?.claimName === claim && used.readOnly !== true;
  });
}

function bytesIn(claim: PersistentVolumeClaim): number | undefined {
  return bytesOf(claim.status?.capacity?.["storage"]) ?? requested(claim.spec);
}

/** The first instance that is to have the volume: where it may run, the volume is to be. */
function consumerOf(
  { caches }: VolumeDeps,
  namespace: string,
  name: string,
): Placement | undefined {
  const found = caches.instances
    .list(namespace)
    .find(
      ({ spec, status, metadata }) =>
        metadata.deletionTimestamp === undefined &&
        !["Succeeded", "Failed"].includes(status?.phase ?? "") &&
        (spec.volumes ?? []).some((volume) => claimOf(volume)?.claimName === name),
    );
  if (found === undefined) return undefined;
  const { nodeSelector, affinity, tolerations, domain, volumes } = found.spec;
  return {
    domain,
    ...(volumes && { volumes }),
    ...(nodeSelector && { nodeSelector }),
    ...(affinity && { affinity }),
    ...(tolerations && { tolerations }),
  };
}
