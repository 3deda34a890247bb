import { isDeepStrictEqual } from "node:util";
import { kindOf, messageOf } from "@trine/base";
import { type Outcome, keyOf, placeOf, pointer } from "@trine/kube-client";
import type { Choice } from "@trine/instancetypes";
import { INSTANCE_FINALIZER, MACHINE_FINALIZER } from "@trine/kube-types";
import { Ahead } from "../ahead.ts";
import { expandInPlace, isToExpand } from "../instancetype/expand-in-place.ts";
import { give, givenThen } from "../instancetype/give.ts";
import { Givers } from "../instancetype/givers.ts";
import { type Acted, act } from "./act.ts";
import type { Failure } from "./conditions.ts";
import { BY_OWNER } from "../caches.ts";
import type { ControlDeps } from "../controller.ts";
import { type Step, nextStep } from "./next-step.ts";
import { INSTANCES, MACHINES } from "../kinds.ts";
import { sighted } from "./live-change.ts";
import { controllerOf } from "../owner.ts";
import {
  type Instance,
  type Machine,
  type Seen,
  type Started,
  isFinal,
  isLeaving,
} from "./seen.ts";
import { soonReadyMs } from "./soon-ready.ts";
import { specIn, startRevisions } from "./start-revision.ts";
import { statusOf } from "./status.ts";
import { ToldFailures } from "../told-failures.ts";
import { UndoneChanges } from "./undone-changes.ts";

/** What was tried and what stands against it. */
interface Trouble {
  readonly failure: Failure;
  readonly cause: unknown;
}

/** Moves VirtualMachines towards their specs: sees, decides purely, acts once, tells in the status. */
export class MachineReconciler {
  readonly #deps: ControlDeps;
  readonly #givers: Givers;
  readonly #ahead = new Ahead();
  readonly #undone = new UndoneChanges();
  readonly #told = new ToldFailures();

  constructor(deps: ControlDeps) {
    this.#deps = deps;
    this.#givers = new Givers({ api: deps.api, revisions: deps.caches.revisions });
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const cached = this.#deps.caches.machines.get(key);
    if (cached === undefined) {
      this.#ahead.forget(key);
      this.#undone.forget(key);
      this.#told.forget(key);
      await this.#letOrphanGo(key, signal);
      return "settled";
    }
    if (this.#ahead.isPast(cached)) return "settled";
    const found = this.#deps.caches.instances.get(key);
    const leftMs = this.#told.leftMs(key, stateOf(cached, found), this.#deps.now());
    if (leftMs > 0) return { afterMs: leftMs };
    await this.#letStrayGo(cached, signal);
    const { vm, choice, trouble } = await this.#given(cached, signal);
    if (vm !== cached) this.#ahead.wrote(vm);
    const seen = await this.#seen(vm, choice, signal);
    const done = await this.#step(seen, trouble, signal);
    if ("machine" in done) {
      this.#told.forget(key);
      if (done.machine !== undefined) this.#ahead.wrote(done.machine);
      return "settled";
    }
    const readyMs = done.trouble === undefined ? soonReadyMs(done.seen) : 0;
    if (readyMs > 0) return { afterMs: readyMs };
    const told = await this.#tell(done.seen, done.trouble?.failure, signal);
    if (done.trouble === undefined) this.#told.forget(key);
    else if (told !== undefined) this.#told.told(key, stateOf(told, found), this.#deps.now());
    await this.#letGo(done.seen, signal);
    if (done.trouble !== undefined) throw done.trouble.cause;
    return done.waitMs === undefined ? "settled" : { afterMs: done.waitMs };
  }

  /** What is given by name does not matter to a machine that goes. */
  async #given(
    cached: Machine,
    signal: AbortSignal,
  ): Promise<{ vm: Machine; choice: Choice | undefined; trouble?: Trouble }> {
    if (isLeaving(cached)) return { vm: cached, choice: undefined };
    const deps = { api: this.#deps.api, givers: this.#givers };
    const defaults = this.#deps.defaults();
    const vm = isToExpand(cached, defaults.referencePolicy)
      ? await expandInPlace(deps, cached, defaults, signal)
      : cached;
    if ("failure" in vm) return { vm: cached, choice: undefined, trouble: vm };
    const given = await give(deps, vm, signal);
    if ("choice" in given) return given;
    return { vm, choice: undefined, trouble: given };
  }

  async #seen(vm: Machine, choice: Seen["choice"], signal: AbortSignal): Promise<Seen> {
    const { instances, dataVolumes, claims } = this.#deps.caches;
    const { namespace = "default" } = vm.metadata;
    const found = instances.get(keyOf(vm));
    const owner = controllerOf(found ?? {});
    const vmi = owner?.uid === vm.metadata.uid ? found : undefined;
    const started = vmi === undefined ? undefined : await this.#started(vm, signal);
    return sighted({
      vm,
      vmi,
      orphan: owner === undefined && found !== undefined && !isLeaving(found) ? found : undefined,
      isTaken: found !== undefined && vmi === undefined,
      choice,
      started,
      dataVolume: (name) => dataVolumes.get(`${namespace}/${name}`),
      claim: (name) => claims.get(`${namespace}/${name}`),
      defaults: this.#deps.defaults(),
      now: this.#deps.now(),
    });
  }

  async #started(vm: Machine, signal: AbortSignal): Promise<Started | undefined> {
    const { revisions } = this.#deps.caches;
    const [newest] = startRevisions(vm, revisions.byIndex(BY_OWNER, vm.metadata.uid));
    const spec = newest === undefined ? undefined : specIn(newest);
    if (newest === undefined || spec === undefined) return undefined;
    const { namespace = "default" } = vm.metadata;
    const choice = await givenThen(this.#givers, spec, namespace, signal);
    return choice === undefined ? undefined : { generation: newest.revision, spec, choice };
  }

  async #step(
    seen: Seen,
    trouble: Trouble | undefined,
    signal: AbortSignal,
  ): Promise<Acted & { readonly trouble?: Trouble }> {
    let step: Step = { do: "nothing" };
    try {
      step = nextStep(seen);
      // A machine whose instance type is missing can be stopped, but not started or changed.
      if (trouble !== undefined && ["start", "updateLive"].includes(step.do))
        return { seen, trouble };
      const acted = await this.#act(seen, step, signal);
      return trouble === undefined || "machine" in acted ? acted : { ...acted, trouble };
    } catch (cause) {
      if (["canceled", "conflict"].includes(kindOf(cause))) throw cause;
      const reason = step.do === "stop" ? "FailedDelete" : "FailedCreate";
      return { seen, trouble: { failure: { reason, message: messageOf(cause) }, cause } };
    }
  }

  async #act(seen: Seen, step: Step, signal: AbortSignal): Promise<Acted> {
    if (step.do !== "updateLive") return act(this.#deps, seen, step, signal);
    const key = keyOf(seen.vm);
    const leftMs = this.#undone.leftMs(key, seen);
    if (leftMs > 0) return { seen, waitMs: leftMs };
    const acted = await act(this.#deps, seen, step, signal);
    if (!("seen" in acted)) return acted;
    const waitMs = this.#undone.wrote(key, acted.seen);
    return waitMs === undefined ? acted : { ...acted, waitMs };
  }

  /** One write where anything has changed, none otherwise. Answers the machine where it was written. */
  async #tell(
    seen: Seen,
    failure: Failure | undefined,
    signal: AbortSignal,
  ): Promise<Machine | undefined> {
    const { vm } = seen;
    const status = statusOf(seen, failure, this.#deps.random);
    if (isDeepStrictEqual(status, vm.status ?? {})) return undefined;
    const options = { subresource: "status", signal } as const;
    const told = await this.#deps.api.update(MACHINES, { ...vm, status }, options);
    this.#ahead.wrote(told);
    return told;
  }

  /** All that its end says is in the machine's status now. */
  async #letGo({ vmi }: Seen, signal: AbortSignal): Promise<void> {
    if (vmi !== undefined && isDone(vmi)) await this.#unhold(vmi, signal);
  }

  /** An instance whose machine is gone. The server is asked: caches are not of one moment. */
  async #letOrphanGo(key: string, signal: AbortSignal): Promise<void> {
    const vmi = this.#deps.caches.instances.get(key);
    if (vmi?.metadata.finalizers?.includes(MACHINE_FINALIZER) !== true) return;
    try {
      await this.#deps.api.get(MACHINES, placeOf(key), signal);
    } catch (cause) {
      if (kindOf(cause) !== "notFound") throw cause;
      await this.#unhold(vmi, signal);
    }
  }

  /** An instance of a machine of the same name that was there before. */
  async #letStrayGo(vm: Machine, signal: AbortSignal): Promise<void> {
    const vmi = this.#deps.caches.instances.get(keyOf(vm));
    const owner = controllerOf(vmi ?? {});
    const isStray = owner?.kind === MACHINES.kind && owner.uid !== vm.metadata.uid;
    if (vmi !== undefined && isStray) await this.#unhold(vmi, signal);
  }

  async #unhold(vmi: Instance, signal: AbortSignal): Promise<void> {
    const { finalizers = [], name, namespace = "default" } = vmi.metadata;
    const index = finalizers.indexOf(MACHINE_FINALIZER);
    if (index < 0) return;
    const path = pointer("metadata", "finalizers", index);
    try {
      await this.#deps.api.patch(
        INSTANCES,
        { namespace, name },
        [
          { op: "test", path: pointer("metadata", "uid"), value: vmi.metadata.uid },
          { op: "test", path, value: MACHINE_FINALIZER },
          { op: "remove", path },
        ],
        { signal },
      );
    } catch (cause) {
      if (kindOf(cause) !== "notFound") throw cause;
    }
  }
}

/** Over, or let go by the controller that has its pod. */
function isDone(vmi: Instance): boolean {
  const isHeld = vmi.metadata.finalizers?.includes(INSTANCE_FINALIZER) ?? false;
  return isFinal(vmi) || (isLeaving(vmi) && !isHeld);
}

/** Changes with either of them. */
function stateOf(vm: Machine, vmi: Instance | undefined): string {
  return `${vm.metadata.resourceVersion} ${vmi?.metadata.resourceVersion ?? ""}`;
}
