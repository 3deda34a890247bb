import { isDeepStrictEqual } from "node:util";
import { kindOf } from "@trine/base";
import {
  CLAIMS,
  type Outcome,
  PODS,
  type PersistentVolumeClaim,
  type Pod,
  type Stored,
  keyOf,
  placeOf,
} from "@trine/kube-client";
import { Ahead } from "../ahead.ts";
import { chosenKubeVirt } from "../installation/cluster-settings.ts";
import { DATA_VOLUMES } from "../kinds.ts";
import { asksOf } from "../vmi/cpu-memory.ts";
import { launchSettings } from "../vmi/settings.ts";
import { diskBytes } from "./claim-of.ts";
import { fillerPod } from "./filler-pod.ts";
import { BY_TAKER, giverPod } from "./giver-pod.ts";
import { type VolumeDeps, claimAt, copiedClaim, look } from "./look.ts";
import { type Step, nextStep } from "./next-step.ts";
import type { ClaimAt } from "./plan-filling.ts";
import { type Seen, type Volume, failureOf, isBound, isFilled, isLeaving } from "./seen.ts";
import { isUploadTarget, volumeOf } from "./upload-claim.ts";
import { isForeign, refusalOf, statusOf } from "./status.ts";

/** A cache that was behind is right again soon. */
const SOON: Outcome = { afterMs: 100 };

/** Moves DataVolumes, and claims that wait for an upload, a step at a time. `nextStep` decides, and does no I/O. */
export class VolumeReconciler {
  readonly #deps: VolumeDeps;
  readonly #ahead = new Ahead();

  constructor(deps: VolumeDeps) {
    this.#deps = deps;
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const volume = this.#deps.caches.dataVolumes.get(key);
    if (volume === undefined) {
      this.#ahead.forget(key);
      await dropGivers(this.#deps, key, signal);
      return this.#reconcileClaim(key, signal); // of a volume that is gone claim and pod go with it
    }
    if (this.#ahead.isPast(volume)) return "settled"; // its change is on the way
    try {
      const seen = await look(this.#deps, volume, signal);
      const step = nextStep(seen);
      await act(this.#deps, seen, step, signal);
      await this.#tell(seen, signal);
      return "ms" in step ? { afterMs: step.ms } : "settled";
    } catch (cause) {
      // What was looked at is not how it is any more.
      if (kindOf(cause) === "conflict") return SOON;
      throw cause;
    }
  }

  async #reconcileClaim(key: string, signal: AbortSignal): Promise<Outcome> {
    const claim = this.#deps.caches.claims.get(key);
    if (claim === undefined || !isUploadTarget(claim)) return "settled";
    try {
      const seen = await look(this.#deps, volumeOf(claim), signal);
      const step = nextStep(seen);
      await act(this.#deps, seen, step, signal);
      return "ms" in step ? { afterMs: step.ms } : "settled";
    } catch (cause) {
      if (kindOf(cause) === "conflict") return SOON;
      throw cause;
    }
  }

  async #tell(seen: Seen, signal: AbortSignal): Promise<void> {
    const { volume } = seen;
    const status = statusOf(seen);
    if (isDeepStrictEqual(status, volume.status ?? {})) return;
    const { api, events } = this.#deps;
    this.#ahead.wrote(
      await api.update(DATA_VOLUMES, { ...volume, status }, { subresource: "status", signal }),
    );
    for (const each of happenings(seen, status)) events.record(volume, each);
  }
}

async function act(deps: VolumeDeps, seen: Seen, step: Step, signal: AbortSignal): Promise<void> {
  const { api } = deps;
  switch (step.do) {
    case "createClaim":
      await unless("alreadyExists", api.create(CLAIMS, step.claim, { signal }));
      return;
    case "createPod":
      await createPod(deps, seen, step.claim, signal);
      return;
    case "tellClaim":
      await tellClaim(deps, seen, step.annotations, signal);
      return;
    case "createGiver":
      await createGiver(deps, seen, step.far, signal);
      return;
    case "join":
      deps.join(step.giver, step.taker);
      return;
    case "deletePod":
      await deletePod(deps, step.pod, signal);
      return;
    default:
      return;
  }
}

async function deletePod(
  { api }: VolumeDeps,
  pod: Stored<Pod>,
  signal: AbortSignal,
): Promise<void> {
  const { uid } = pod.metadata;
  await unless("notFound", api.delete(PODS, placeOf(keyOf(pod)), { uid, signal }));
}

/** Of a volume that is gone: they have no owner that takes them along. */
async function dropGivers(deps: VolumeDeps, key: string, signal: AbortSignal): Promise<void> {
  for (const pod of deps.caches.fillers.byIndex(BY_TAKER, key)) {
    if (!isLeaving(pod)) await deletePod(deps, pod, signal);
  }
}

async function createGiver(
  deps: VolumeDeps,
  { volume }: Seen,
  far: ClaimAt,
  signal: AbortSignal,
): Promise<void> {
  const isBlock = claimAt(deps, far)?.spec.volumeMode === "Block";
  const pod = giverPod(volume, { far, isBlock, settings: settingsOf(deps) });
  await unless("alreadyExists", deps.api.create(PODS, pod, { signal }));
}

function settingsOf(deps: VolumeDeps): ReturnType<typeof launchSettings> {
  const { configuration } = chosenKubeVirt(deps.caches.kubeVirts.list())?.spec ?? {};
  return launchSettings(configuration, deps);
}

/** Of the API server it is asked whether the volume is filled: a cache that is behind would have it written over. */
async function createPod(
  deps: VolumeDeps,
  { volume, plan, facts, consumer, sisters, waitsForConsumer }: Seen,
  cached: Stored<PersistentVolumeClaim>,
  signal: AbortSignal,
): Promise<void> {
  const claim = await deps.api.get(CLAIMS, placeOf(keyOf(cached)), signal);
  if ("refused" in plan || isFilled(claim) || claim.metadata.uid !== cached.metadata.uid) return;
  if (isLeaving(claim)) return;
  const { namespace = "default" } = volume.metadata;
  const from = copiedClaim(plan, namespace);
  const source = from && claimAt(deps, from);
  const settings = settingsOf(deps);
  // It chooses the node for both: one that has no room for the machine would keep its disks.
  const isToBind = waitsForConsumer && !isBound(claim);
  const asksForAll = isToBind && sisters?.isRoomHeld !== true;
  const pod = fillerPod(volume, {
    filling: plan,
    claim,
    isSourceBlock: source?.spec.volumeMode === "Block",
    sizeBytes: diskBytes(volume, claim, facts),
    placement: consumer,
    ...(isToBind && sisters && { beside: sisters.claims }),
    ...(asksForAll && consumer && { asks: asksOf(consumer.domain, settings) }),
    settings,
  });
  await unless("alreadyExists", deps.api.create(PODS, pod, { signal }));
}

async function tellClaim(
  { api }: VolumeDeps,
  { claim }: Seen,
  said: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  if (claim === undefined) return;
  const annotations = { ...claim.metadata.annotations, ...said };
  await api.update(CLAIMS, { ...claim, metadata: { ...claim.metadata, annotations } }, { signal });
}

async function unless(kind: "alreadyExists" | "notFound", done: Promise<unknown>): Promise<void> {
  try {
    await done;
  } catch (cause) {
    if (kindOf(cause) !== kind) throw cause;
  }
}

interface Happening {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** What its user is told of once. */
function happenings(seen: Seen, status: NonNullable<Volume["status"]>): readonly Happening[] {
  const { volume, plan, pod } = seen;
  const verb = "refused" in plan ? "Import" : plan.verb;
  const { name } = volume.metadata;
  const cameTo = (phase: string): boolean =>
    volume.status?.phase !== phase && status.phase === phase;
  const conditionOf = (of: Volume["status"], type: string): string | undefined =>
    of?.conditions?.find((each) => each.type === type)?.message;
  const isNew = (type: string): boolean =>
    conditionOf(status, type) !== conditionOf(volume.status, type);
  if (cameTo("Succeeded")) {
    const message = `${verb} into PVC ${name} succeeded`;
    return [{ type: "Normal", reason: `${verb}Succeeded`, message }];
  }
  const failure = refusalOf(seen) ?? failureOf(pod);
  if (failure !== undefined && isNew("Running")) {
    return [{ type: "Warning", reason: `${verb}Failed`, message: failure }];
  }
  if (isForeign(seen) && isNew("Bound")) {
    const message = conditionOf(status, "Bound") ?? "";
    return [{ type: "Warning", reason: "ErrResourceExists", message }];
  }
  return [];
}
