import { TrineError, kindOf, messageOf } from "@trine/base";
import {
  CLAIMS,
  type Cache,
  type KubeApi,
  NODES,
  type Node,
  type Outcome,
  PODS,
  type Pod,
  type Stored,
  keyOf,
  placeOf,
  resourceOf,
} from "@trine/kube-client";
import { type DomainSpec, KUBEVIRT, type KubeVirt } from "@trine/kube-types";
import type { MachineRef } from "@trine/node-door";
import { Ahead } from "../ahead.ts";
import type { ControlDeps, MakeCache } from "../controller.ts";
import { DEFAULT_OVERHEAD, overheads } from "../data-volume/overhead.ts";
import { chosenKubeVirt } from "../installation/cluster-settings.ts";
import { INSTANCES } from "../kinds.ts";
import { asksOf, madeWith } from "./cpu-memory.ts";
import { claimOf } from "./disks.ts";
import { growthOf, heldDomain } from "./growth.ts";
import { Growths } from "./growths.ts";
import { happeningsOf, notCreated } from "./happenings.ts";
import type { Heard } from "./heard.ts";
import { keptNode, keptPod } from "./kept.ts";
import { knownClaim } from "./known.ts";
import { type Machines, NODE_INDEX } from "./machines.ts";
import { type Step, nextStep, written } from "./next-step.ts";
import { isRefused, resizePod } from "./resize-pod.ts";
import { type Rendering, filledSpec, podName, renderPod } from "./render-pod.ts";
import { type Instance, type Seen, isLeaving, phaseOf, unfilled } from "./seen.ts";
import { launchSettings } from "./settings.ts";
import { stateClaim } from "./state-claim.ts";
import { ToldFailures } from "../told-failures.ts";

/** Said by who knows that a node runs nothing any more. */
const FENCED = "node.kubernetes.io/out-of-service";
/** A cache that was behind is right again soon. */
const SOON: Outcome = { afterMs: 100 };
/** A guest that is to grow takes its time. */
const LOOK: Outcome = { afterMs: 1_000 };

/** What only instances' controller looks at. */
export interface InstanceCaches {
  /** Pods of machines, with the index NODE_INDEX. */
  readonly pods: Cache<Pod>;
  readonly nodes: Cache<Node>;
  readonly kubeVirts: Cache<KubeVirt>;
}

export function instanceCaches(make: MakeCache): InstanceCaches {
  const onNode = ({ spec }: Pod): readonly string[] =>
    spec.nodeName === undefined || spec.nodeName === "" ? [] : [spec.nodeName];
  return {
    pods: make(
      PODS,
      { [NODE_INDEX]: onNode },
      { labelSelector: "kubevirt.io=virt-launcher", keep: keptPod },
    ),
    nodes: make(NODES, {}, { keep: keptNode }),
    kubeVirts: make(resourceOf(KUBEVIRT)),
  };
}

export interface InstanceDeps extends Pick<ControlDeps, "api" | "events" | "now" | "onFailure"> {
  readonly caches: Pick<ControlDeps["caches"], "instances" | "claims" | "dataVolumes"> &
    InstanceCaches;
  readonly machines: Machines;
  /** Image of machines whose root is a volume. */
  readonly emptyImage: string;
}

/** Moves VirtualMachineInstances, a step at a time. `nextStep` decides, and does no I/O. */
export class InstanceReconciler {
  readonly #deps: InstanceDeps;
  readonly #ahead = new Ahead();
  readonly #told = new ToldFailures();
  readonly #growths: Growths;

  constructor(deps: InstanceDeps) {
    this.#deps = deps;
    this.#growths = new Growths(deps.now);
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const vmi = this.#deps.caches.instances.get(key);
    if (vmi === undefined) {
      this.#ahead.forget(key);
      this.#growths.forget(key);
      this.#told.forget(key);
      return "settled"; // its pod has it as owner, and goes with it
    }
    if (this.#ahead.isPast(vmi)) return "settled"; // its change is on the way
    const leftMs = this.#told.leftMs(key, vmi.metadata.resourceVersion, this.#deps.now());
    if (leftMs > 0) return { afterMs: leftMs };
    try {
      const seen = await look(this.#deps, vmi, signal);
      return await this.#move({ ...seen, attempt: this.#attempt(seen) }, signal);
    } catch (cause) {
      // What was looked at is not how it is any more.
      if (kindOf(cause) === "conflict") return SOON;
      throw cause;
    }
  }

  async #move(seen: Seen, signal: AbortSignal): Promise<Outcome> {
    const step = nextStep(seen);
    if (step.do === "createPod" && (await isOld(this.#deps, seen.vmi, signal))) return SOON;
    let pod: Seen["pod"];
    try {
      pod = await this.#act(seen, step, signal);
    } catch (cause) {
      if (step.do === "createPod" && isRefused(cause)) await this.#tell(seen, cause, signal);
      throw cause;
    }
    this.#told.forget(keyOf(seen.vmi));
    const after = written({ ...seen, pod, attempt: this.#attempt(seen) }, step);
    if (after !== undefined) {
      this.#ahead.wrote(await this.#deps.api.update(INSTANCES, after, { signal }));
    }
    for (const happening of happeningsOf(seen, step, after ?? seen.vmi)) {
      this.#deps.events.record(seen.vmi, happening);
    }
    if (step.do === "resizeGuest" || this.#hasFailed(seen, step)) return LOOK;
    return step.do === "wait" ? { afterMs: step.ms } : "settled";
  }

  /** What the API server has against the pod (a quota, a policy of its namespace) is told to the instance's user. */
  async #tell(seen: Seen, cause: unknown, signal: AbortSignal): Promise<void> {
    const { api, events } = this.#deps;
    events.record(seen.vmi, notCreated(cause));
    const after = written({ ...seen, refused: messageOf(cause) }, { do: "nothing" });
    if (after === undefined) return;
    const told = await api.update(INSTANCES, after, { signal });
    this.#ahead.wrote(told);
    this.#told.told(keyOf(told), told.metadata.resourceVersion, seen.now);
  }

  #attempt(seen: Seen): Seen["attempt"] {
    const { vmi } = seen;
    return this.#growths.of(keyOf(vmi), vmi.metadata.uid, growthOf(seen)?.size);
  }

  /** What is refused in the words of the time before changes nothing that would tell of it: the next look says how long to wait. */
  #hasFailed(seen: Seen, step: Step): boolean {
    return step.do === "resizePod" && this.#attempt(seen)?.state === "failed";
  }

  async #act(seen: Seen, step: Step, signal: AbortSignal): Promise<Stored<Pod> | undefined> {
    const { vmi, pod } = seen;
    if (pod === undefined || (step.do !== "resizePod" && step.do !== "resizeGuest")) {
      return act(this.#deps, seen, step, signal);
    }
    const key = keyOf(vmi);
    const { uid } = vmi.metadata;
    if (step.do === "resizeGuest") {
      const { machines } = this.#deps;
      const work = machines.resize(pod.spec.nodeName ?? "", refOf(pod), step.size);
      this.#growths.begin(key, uid, step.size, work);
      return pod;
    }
    try {
      const resized = await resizePod(this.#deps.api, pod, step, signal);
      this.#growths.forget(key); // what was said against it
      return resized;
    } catch (cause) {
      const growth = growthOf(seen);
      // A cluster that cannot do it has no such subresource.
      const isNo = isRefused(cause) || kindOf(cause) === "notFound";
      if (growth === undefined || !isNo) throw cause;
      this.#growths.failed(key, uid, growth.size, cause);
      return pod;
    }
  }
}

/** Does what is to be done beside the status; answers the instance's pod as it is then. */
async function act(
  deps: InstanceDeps,
  { vmi, pod }: Seen,
  step: Step,
  signal: AbortSignal,
): Promise<Stored<Pod> | undefined> {
  switch (step.do) {
    case "createClaim":
      await unlessThere(
        deps.api.create(CLAIMS, stateClaim(vmi, step.name, settingsOf(deps)), { signal }),
      );
      return pod;
    case "createPod":
      return createPod(deps, vmi, step.pod, signal);
    case "deletePod":
      await deletePod(deps.api, step, signal);
      return pod;
    default:
      return pod;
  }
}

async function createPod(
  deps: InstanceDeps,
  vmi: Instance,
  pod: Pod,
  signal: AbortSignal,
): Promise<Stored<Pod> | undefined> {
  return (
    (await unlessThere(deps.api.create(PODS, pod, { signal }))) ?? (await ownPod(deps, vmi, signal))
  );
}

/** Undefined: somebody was faster, another leader for one. */
async function unlessThere<T>(created: Promise<T>): Promise<T | undefined> {
  try {
    return await created;
  } catch (cause) {
    if (kindOf(cause) === "alreadyExists") return undefined;
    throw cause;
  }
}

/** The uid keeps a stale cache from ending the pod's successor. */
async function deletePod(
  api: KubeApi,
  { pod, graceSeconds }: Step & { readonly do: "deletePod" },
  signal: AbortSignal,
): Promise<void> {
  const { uid } = pod.metadata;
  try {
    await api.delete(PODS, placeOf(keyOf(pod)), { uid, gracePeriodSeconds: graceSeconds, signal });
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
  }
}

/** A cache may be behind, and a machine that has ended must not be started again by that. */
async function isOld({ api }: InstanceDeps, vmi: Instance, signal: AbortSignal): Promise<boolean> {
  const { metadata } = await api.get(INSTANCES, placeOf(keyOf(vmi)), signal);
  return (
    metadata.uid !== vmi.metadata.uid || metadata.resourceVersion !== vmi.metadata.resourceVersion
  );
}

/** All that the decision looks at. That a pod is gone is asked of the API server, no cache is believed in that. */
async function look(deps: InstanceDeps, vmi: Instance, signal: AbortSignal): Promise<Seen> {
  const spec = filledSpec(vmi);
  const namespace = vmi.metadata.namespace ?? "";
  const at = (name: string): string => `${namespace}/${name}`;
  const isBegun = phaseOf(vmi) !== "Pending" || isLeaving(vmi);
  const cached = cachedPod(deps, vmi);
  const pod = cached ?? (isBegun ? await ownPod(deps, vmi, signal) : undefined);
  const heard = heardOf(deps, pod);
  const seen = {
    ...{ vmi, spec, pod, heard, now: deps.now() },
    isFenced: isFenced(deps, pod),
    attempt: undefined,
    asks: pod === undefined ? {} : asksOfPod(deps, pod, heldDomain(spec.domain, heard?.report)),
    claim: (name: string) => deps.caches.claims.get(at(name)),
    dataVolume: (name: string) => deps.caches.dataVolumes.get(at(name)),
  };
  const isToRender = pod === undefined && !isBegun && unfilled(seen).length === 0;
  return { ...seen, rendering: isToRender ? await rendered(deps, vmi, signal) : undefined };
}

function asksOfPod(
  deps: InstanceDeps,
  { metadata }: Stored<Pod>,
  domain: DomainSpec,
): Seen["asks"] {
  return asksOf(domain, settingsOf(deps), madeWith(metadata.annotations));
}

async function rendered(
  deps: InstanceDeps,
  vmi: Instance,
  signal: AbortSignal,
): Promise<Rendering> {
  const hasClaim = (vmi.spec.volumes ?? []).some((volume) => claimOf(volume) !== undefined);
  const overheadOf = hasClaim ? await overheads(deps.api, signal) : () => DEFAULT_OVERHEAD;
  const namespace = vmi.metadata.namespace ?? "";
  const known = (name: string): ReturnType<typeof knownClaim> | undefined => {
    const claim = deps.caches.claims.get(`${namespace}/${name}`);
    return claim === undefined ? undefined : knownClaim(claim, overheadOf);
  };
  return renderPod(vmi, known, settingsOf(deps));
}

function settingsOf({ caches, emptyImage }: InstanceDeps): ReturnType<typeof launchSettings> {
  const { spec } = chosenKubeVirt(caches.kubeVirts.list()) ?? {};
  return launchSettings(spec?.configuration, { emptyImage });
}

function isOwn({ metadata }: Stored<Pod>, vmi: Instance): boolean {
  return metadata.ownerReferences?.some(({ uid }) => uid === vmi.metadata.uid) ?? false;
}

function cachedPod({ caches }: InstanceDeps, vmi: Instance): Stored<Pod> | undefined {
  const found = caches.pods.get(podKey(vmi));
  return found !== undefined && isOwn(found, vmi) ? found : undefined;
}

function podKey(vmi: Instance): string {
  return `${vmi.metadata.namespace ?? ""}/${podName(vmi)}`;
}

/** The pod as the API server has it now. Kind `wrongState` when the pod of that name is another's. */
async function ownPod(
  { api }: InstanceDeps,
  vmi: Instance,
  signal: AbortSignal,
): Promise<Stored<Pod> | undefined> {
  let found: Stored<Pod>;
  try {
    found = await api.get(PODS, placeOf(podKey(vmi)), signal);
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
  if (isOwn(found, vmi)) return found;
  throw new TrineError(
    "wrongState",
    `pod ${podKey(vmi)} is not of ${vmi.metadata.name}: delete it, and the machine starts`,
  );
}

function heardOf({ machines }: InstanceDeps, pod: Stored<Pod> | undefined): Heard | undefined {
  const node = pod?.spec.nodeName;
  return pod === undefined || node === undefined || node === ""
    ? undefined
    : machines.heard(node, refOf(pod));
}

function refOf({ metadata: { namespace = "", name, uid } }: Stored<Pod>): MachineRef {
  return { namespace, pod: name, uid };
}

function isFenced({ caches }: InstanceDeps, pod: Stored<Pod> | undefined): boolean {
  const node = caches.nodes.get(pod?.spec.nodeName ?? "");
  return node?.spec?.taints?.some(({ key }) => key === FENCED) ?? false;
}
