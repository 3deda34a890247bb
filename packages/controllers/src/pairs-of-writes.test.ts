// A machine's life with both of its controllers, which die at any two of their writes: started, grown, stopped, started, restarted, deleted.
import { kindOf } from "@trine/base";
import { PODS, type Pod, type Resources, type Stored, keyOf, placeOf } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { CLUSTER_DEFAULTS, type VirtualMachine } from "@trine/kube-types";
import type { MachineRef, MachineReport, MachineSize } from "@trine/node-door";
import { describe, expect, test } from "vitest";
import { controlCaches } from "./caches.ts";
import { INSTANCES, MACHINES } from "./kinds.ts";
import { EMPTY_IMAGE, report } from "./testing.ts";
import { MachineReconciler } from "./vm/reconcile-vm.ts";
import { machine } from "./vm/testing/samples.ts";
import { InstanceReconciler, instanceCaches } from "./vmi/reconcile-vmi.ts";

/** `make soak` takes every pair; a run takes each write alone, with the one that follows it. */
const SOAK = process.env["TRINE_SOAK"] !== undefined;
const KEY = "shop/web";
const AT = { namespace: "shop", name: "web" };
const signal = new AbortController().signal;

class Death extends Error {}

/** The API server, both controllers in one process, a scheduler, a kubelet and its node. */
class Cluster {
  nowMs = Date.parse("2026-01-02T04:00:00Z");
  readonly kube = new MemoryKube({ now: () => this.nowMs });
  /** Writes of the controllers, in this life of the machine. */
  written = 0;
  readonly #deaths: { readonly when: "before" | "after"; readonly at: ReadonlySet<number> };
  readonly #reports = new Map<string, MachineReport>();
  #isOurs = false;
  #isDead = false;
  #process = this.#fresh();

  constructor(when: "before" | "after", ...at: readonly number[]) {
    this.#deaths = { when, at: new Set(at) };
    this.kube.hooks.before = () => {
      if (this.#isOurs && !this.#isDead) this.written += 1;
      this.#mayDie("before");
    };
    this.kube.hooks.after = () => {
      this.#mayDie("after");
    };
  }

  #mayDie(when: "before" | "after"): void {
    if (!this.#isOurs) return;
    const { when: wanted, at } = this.#deaths;
    this.#isDead ||= when === wanted && at.has(this.written);
    // Who is dead writes nothing more, whatever becomes of the error.
    if (this.#isDead) throw new Death();
  }

  /** A process that remembers nothing. */
  #fresh(): readonly ((key: string) => Promise<unknown>)[] {
    const make = this.kube.cache.bind(this.kube);
    const caches = { ...controlCaches(make), ...instanceCaches(make) };
    const shared = {
      ...{ api: this.kube, caches, events: { record: () => undefined } },
      ...{ now: () => new Date(this.nowMs), onFailure: () => undefined },
    };
    const heard = (_: string, { uid }: MachineRef) => {
      const said = this.#reports.get(uid);
      return { node: "heard" as const, ...(said === undefined ? {} : { report: said }) };
    };
    const resize = (_: string, { uid }: MachineRef, size: MachineSize) => this.#grow(uid, size);
    const machines = new MachineReconciler({
      ...{ ...shared, defaults: () => CLUSTER_DEFAULTS, random: () => 0 },
    });
    const instances = new InstanceReconciler({
      ...{ ...shared, machines: { heard, resize }, emptyImage: EMPTY_IMAGE },
    });
    return [(key) => machines.reconcile(key, signal), (key) => instances.reconcile(key, signal)];
  }

  /** Until nobody writes any more, however often the process dies. */
  async settle(): Promise<void> {
    for (let round = 0; round < 60; round += 1) {
      const { length } = this.kube.writes;
      const done = [await this.#reconcile(0), await this.#reconcile(1)];
      await this.#runPods();
      this.nowMs += 1_000;
      if (this.kube.writes.length === length && done.every((each) => each)) return;
    }
    throw new Error("does not come to rest");
  }

  /** Whether nothing came between, and nothing is waited for. */
  async #reconcile(index: number): Promise<boolean> {
    this.#isOurs = true;
    let isDone = false;
    try {
      // What it waits for comes, and it looks again.
      isDone = (await this.#process[index]?.(KEY)) === "settled";
    } catch (cause) {
      // The queue tries these again.
      const isUsual = ["conflict", "alreadyExists", "notFound"].includes(kindOf(cause));
      if (!isUsual && !this.#isDead) throw cause;
    } finally {
      this.#isOurs = false;
    }
    if (this.#isDead) this.#process = this.#fresh();
    this.#isDead = false;
    return isDone;
  }

  /** There is never more than one: two of a machine would write to its disks. */
  async #runPods(): Promise<void> {
    const pods = await this.pods();
    expect(pods.length).toBeLessThanOrEqual(1);
    for (const pod of pods) await this.#runPod(pod);
  }

  async #runPod(pod: Stored<Pod>): Promise<void> {
    const { uid, name, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined) {
      this.#reports.delete(uid);
      await this.kube.delete(PODS, placeOf(keyOf(pod)), { gracePeriodSeconds: 0 });
    } else if (pod.spec.nodeName === undefined) {
      await this.kube.update(PODS, { ...pod, spec: { ...pod.spec, nodeName: "n1" } });
    } else {
      const { cpus = 1, memoryBytes = 2 ** 30 } = this.#sizes.get(uid) ?? {};
      const memory = { guestBytes: memoryBytes, overheadBytes: 0 };
      const topology = { sockets: cpus, cores: 1, threads: 1 };
      this.#reports.set(uid, report({ pod: name, uid, phase: "running", cpus: topology, memory }));
      await this.#give(pod);
    }
  }

  #grow(uid: string, { cpus, memoryBytes }: MachineSize): Promise<void> {
    this.#sizes.set(uid, { cpus, memoryBytes });
    return Promise.resolve();
  }

  readonly #sizes = new Map<string, MachineSize>();
  readonly #known = new Map<string, string>();

  /** Kubelet gives what a pod asks for; and a change that a cache hears of, so that nothing is quiet too early. */
  async #give(pod: Stored<Pod>): Promise<void> {
    const { uid } = pod.metadata;
    const [{ resources } = {}] = pod.spec.containers as readonly { resources?: Resources }[];
    const size = JSON.stringify([resources, this.#sizes.get(uid)]);
    if (this.#known.get(uid) === size) return;
    this.#known.set(uid, size);
    const container = { name: "compute", ready: true, restartCount: 0, image: "i", imageID: "i" };
    const containerStatuses = [{ ...container, ...(resources && { resources }) }];
    const status = { phase: "Running", containerStatuses };
    await this.kube.update(PODS, { ...pod, status }, { subresource: "status" });
  }

  async pods(): Promise<readonly Stored<Pod>[]> {
    return (await this.kube.list(PODS, {})).items;
  }

  async change(spec: Partial<VirtualMachine["spec"]>): Promise<void> {
    const vm = await this.kube.get(MACHINES, AT);
    await this.kube.update(MACHINES, { ...vm, spec: { ...vm.spec, ...spec } });
    await this.settle();
  }

  /** The uid of the instance, which runs in the one pod. */
  async running(): Promise<string> {
    const vmi = await this.kube.get(INSTANCES, AT);
    const { status } = await this.kube.get(MACHINES, AT);
    expect([vmi.status?.phase, status?.printableStatus]).toEqual(["Running", "Running"]);
    const [pod, ...more] = await this.pods();
    expect(more).toEqual([]);
    expect(pod?.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([vmi.metadata.uid]);
    return vmi.metadata.uid;
  }

  /** What the guest has, as its instance says; what its pod asks for is accounted for. */
  async sockets(): Promise<number | undefined> {
    const { status } = await this.kube.get(INSTANCES, AT);
    const [pod] = await this.pods();
    const { resources } = pod?.spec.containers[0] as { resources?: Resources };
    expect(resources?.requests?.["cpu"]).toBe("200m");
    return status?.currentCPUTopology?.sockets;
  }

  async gone(): Promise<void> {
    expect((await this.kube.list(INSTANCES, {})).items).toEqual([]);
    expect(await this.pods()).toEqual([]);
  }
}

async function wholeLife(cluster: Cluster): Promise<void> {
  const { kube } = cluster;
  const { apiVersion, kind, spec } = machine();
  await kube.create(MACHINES, { apiVersion, kind, metadata: AT, spec });
  await cluster.settle();
  const first = await cluster.running();
  const { template } = (await kube.get(MACHINES, AT)).spec;
  const { domain = { devices: {} }, ...others } = template.spec ?? {};
  const larger = { ...others, domain: { ...domain, cpu: { ...domain.cpu, sockets: 2 } } };
  await cluster.change({ template: { ...template, spec: larger } });
  expect([await cluster.running(), await cluster.sockets()]).toEqual([first, 2]);
  await cluster.change({ runStrategy: "Halted" });
  await cluster.gone();
  await cluster.change({ runStrategy: "Always" });
  const second = await cluster.running();
  const vm = await kube.get(MACHINES, AT);
  const stateChangeRequests = [{ action: "Stop", uid: second }, { action: "Start" }];
  const status = { ...vm.status, stateChangeRequests };
  await kube.update(MACHINES, { ...vm, status }, { subresource: "status" });
  await cluster.settle();
  const third = await cluster.running();
  expect(new Set([first, second, third]).size).toBe(3);
  await kube.delete(MACHINES, AT);
  await cluster.settle();
  await cluster.gone();
  expect((await kube.list(MACHINES, {})).items).toEqual([]);
}

describe.each(["before", "after"] as const)(
  "a control plane that dies %s two of its writes",
  (when) => {
    test("starts, grows, stops and restarts the machine all the same", async () => {
      const straight = new Cluster(when);
      await wholeLife(straight);
      const count = straight.written;
      expect(count).toBeGreaterThan(15);
      for (let first = 1; first <= count; first += 1) {
        // The second death is counted after the first, which may cost writes of its own.
        const last = SOAK ? count + 5 : first + 1;
        for (let second = first + 1; second <= last; second += 1) {
          await wholeLife(new Cluster(when, first, second)).catch((cause: unknown) => {
            throw new Error(`dies ${when} its writes ${first} and ${second}`, { cause });
          });
        }
      }
    }, 600_000);
  },
);
