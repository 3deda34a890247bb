// A cluster in memory with one instance: the API server, its reconciler, and in place of kubelet and trined what they would say.
import { TrineError } from "@trine/base";
import {
  type Happening,
  PODS,
  type Pod,
  type Resources,
  type Stored,
  keyOf,
  placeOf,
} from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import type { VirtualMachineInstance } from "@trine/kube-types";
import { type ByPath, withFields } from "@trine/kube-types/testing";
import type { MachineRef, MachineReport, MachineSize } from "@trine/node-door";
import { controlCaches } from "../../caches.ts";
import { INSTANCES } from "../../kinds.ts";
import { EMPTY_IMAGE, instance, report } from "../../testing.ts";
import { InstanceReconciler, instanceCaches } from "../reconcile-vmi.ts";

const KEY = "shop/web";
/** Where the instance is. */
export const AT = { namespace: "shop", name: "web" };

/** A cluster in memory: the API server, and in place of kubelet and trined what they would say. */
export class World {
  nowMs = Date.parse("2026-01-02T03:00:00Z");
  readonly kube = new MemoryKube({ now: () => this.nowMs });
  readonly told: Happening[] = [];
  readonly #reports = new Map<string, MachineReport>();
  #reconciler = this.#fresh();

  #fresh(): InstanceReconciler {
    const make = this.kube.cache.bind(this.kube);
    const caches = { ...controlCaches(make), ...instanceCaches(make) };
    const events = { record: (_: Stored, happening: Happening) => void this.told.push(happening) };
    const heard = (_: string, ref: MachineRef) => {
      const said = this.#reports.get(ref.uid);
      return { node: "heard" as const, ...(said === undefined ? {} : { report: said }) };
    };
    const resize = (_: string, { uid }: MachineRef, size: MachineSize) => this.#grow(uid, size);
    return new InstanceReconciler({
      ...{ api: this.kube, caches, events, machines: { heard, resize }, emptyImage: EMPTY_IMAGE },
      now: () => new Date(this.nowMs),
      onFailure: () => undefined,
    });
  }

  /** Until there is nothing to do; a failure is another process that begins anew. */
  async settle(): Promise<void> {
    for (let round = 0; round < 20; round += 1) {
      const before = this.kube.writes.length;
      try {
        const outcome = await this.#reconciler.reconcile(KEY, new AbortController().signal);
        if (outcome === "settled" && this.kube.writes.length === before) return;
      } catch (cause) {
        if (!(cause instanceof Crash)) throw cause;
        this.#reconciler = this.#fresh();
      }
    }
    throw new Error("the instance does not come to rest");
  }

  /** Until it waits for so long at least, as the queue would let it: who neither waits nor writes is not looked at again. */
  async rest(ms: number): Promise<void> {
    for (let round = 0; round < 20; round += 1) {
      const before = this.kube.writes.length;
      const outcome = await this.#reconciler.reconcile(KEY, new AbortController().signal);
      if (outcome !== "settled" && outcome.afterMs >= ms) return;
      if (outcome === "settled" && this.kube.writes.length === before) break;
    }
    throw new Error("the instance does not wait");
  }

  async create(fields: ByPath = {}): Promise<void> {
    const { apiVersion, kind, spec } = instance(fields);
    await this.kube.create(INSTANCES, { apiVersion, kind, metadata: AT, spec });
  }

  get vmi(): Promise<Stored<VirtualMachineInstance>> {
    return this.kube.get(INSTANCES, AT);
  }

  async pods(): Promise<readonly Stored<Pod>[]> {
    return (await this.kube.list(PODS, {})).items;
  }

  async #pod(): Promise<Stored<Pod>> {
    const [pod] = await this.pods();
    if (pod === undefined) throw new Error("there is no pod");
    return pod;
  }

  async bind(): Promise<void> {
    const pod = await this.#pod();
    await this.kube.update(PODS, { ...pod, spec: { ...pod.spec, nodeName: "n1" } });
  }

  async say(fields: Partial<MachineReport>): Promise<void> {
    const { name, uid } = (await this.#pod()).metadata;
    this.#reports.set(uid, report({ pod: name, uid, ...fields }));
  }

  /** How the node answers, where a test says it; else the guest follows. */
  refusesGrowth: TrineError | undefined;
  readonly grown: MachineSize[] = [];

  #grow(uid: string, { cpus, memoryBytes }: MachineSize): Promise<void> {
    const before = this.#reports.get(uid);
    if (this.refusesGrowth !== undefined) return Promise.reject(this.refusesGrowth);
    if (before === undefined) return Promise.reject(new TrineError("notFound", "no machine"));
    this.grown.push({ cpus, memoryBytes });
    const memory = { ...before.memory, guestBytes: memoryBytes };
    this.#reports.set(uid, { ...before, memory, cpus: { ...before.cpus, sockets: cpus } });
    return Promise.resolve();
  }

  /** Kubelet: it gives a pod what it asks for, or says in a condition why not. */
  async give(condition?: { type: string; reason: string; message: string }): Promise<void> {
    const pod = await this.#pod();
    const { resources } = pod.spec.containers[0] as { resources?: Resources };
    const before = pod.status?.containerStatuses?.[0];
    const status = {
      phase: "Running",
      conditions: condition === undefined ? [] : [{ ...condition, status: "True" }],
      containerStatuses: [
        {
          ...{ name: "compute", ready: true, restartCount: 0, image: "i", imageID: "i" },
          ...(condition !== undefined || resources === undefined ? before : { resources }),
        },
      ],
    };
    await this.kube.update(PODS, { ...pod, status }, { subresource: "status" });
  }

  async requests(): Promise<Resources["requests"]> {
    const { resources } = (await this.#pod()).spec.containers[0] as { resources?: Resources };
    return resources?.requests;
  }

  /** A write that is not the reconciler's is under way. */
  isOthers = false;

  /** As the VirtualMachine's controller does. */
  async wish(fields: ByPath): Promise<void> {
    const vmi = await this.vmi;
    this.isOthers = true;
    await this.kube.update(INSTANCES, withFields(vmi, fields) as typeof vmi);
    this.isOthers = false;
  }

  async condition(type: string): Promise<object | undefined> {
    const { status } = await this.vmi;
    return status?.conditions?.find((each) => each.type === type);
  }

  /** Kubelet: a pod that is to go has gone. */
  async endPod(): Promise<void> {
    for (const pod of await this.pods()) {
      if (pod.metadata.deletionTimestamp === undefined) continue;
      await this.kube.delete(PODS, placeOf(keyOf(pod)), { gracePeriodSeconds: 0 });
    }
  }
}

/** The process dies: another begins anew. */
export class Crash extends Error {}

/** From `kubectl create` to `kubectl delete`, with what the node says in between. */
export async function life(world: World): Promise<void> {
  await world.settle();
  await world.bind();
  await world.settle();
  await world.say({ phase: "starting" });
  await world.settle();
  await world.say({ phase: "running" });
  await world.settle();
  await world.say({
    phase: "running",
    agent: { connected: true, frozen: false, os: { id: "debian" } },
  });
  await world.settle();
}
