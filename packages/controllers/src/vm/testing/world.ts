// The API server's twin in memory with one machine, its reconciler, and one beside it that does what the instances'
// controller does.
import { kindOf } from "@trine/base";
import type { Stored } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import {
  CLUSTER_DEFAULTS,
  type ClusterDefaults,
  INSTANCE_FINALIZER,
  type VirtualMachine,
  type VirtualMachineInstance,
  type VirtualMachineStatus,
} from "@trine/kube-types";
import { controlCaches } from "../../caches.ts";
import type { ControlDeps } from "../../controller.ts";
import { INSTANCES, MACHINES } from "../../kinds.ts";
import { timestamp } from "../../timestamp.ts";
import { MachineReconciler } from "../reconcile-vm.ts";
import { machine } from "./samples.ts";

/** Where the machine is. */
export const AT = { namespace: "shop", name: "web" };
const KEY = "shop/web";
const signal = new AbortController().signal;

export class World {
  readonly kube: MemoryKube;
  readonly events: string[] = [];
  readonly #deps: ControlDeps;
  #reconciler: MachineReconciler;
  /** What the KubeVirt object says. */
  configured: Partial<ClusterDefaults> = {};
  nowMs = Date.parse("2026-01-02T04:00:00Z");

  constructor() {
    this.kube = new MemoryKube({ now: () => this.nowMs });
    this.#deps = {
      api: this.kube,
      caches: controlCaches((resource, indices) => this.kube.cache(resource, indices)),
      events: { record: (_, { reason }) => this.events.push(reason) },
      defaults: () => ({ ...CLUSTER_DEFAULTS, ...this.configured }),
      now: () => new Date(this.nowMs),
      random: () => 0,
      onFailure: () => undefined,
    };
    this.#reconciler = new MachineReconciler(this.#deps);
  }

  /** What a new leader is: it remembers nothing. */
  restart(): void {
    this.#reconciler = new MachineReconciler(this.#deps);
  }

  async add(spec: Partial<VirtualMachine["spec"]>): Promise<void> {
    const { apiVersion, kind, spec: usual } = machine();
    await this.kube.create(MACHINES, {
      apiVersion,
      kind,
      metadata: AT,
      spec: { ...usual, ...spec },
    });
  }

  async change(spec: Partial<VirtualMachine["spec"]>): Promise<void> {
    const vm = await this.vm();
    await this.kube.update(MACHINES, { ...vm, spec: { ...vm.spec, ...spec } });
  }

  /** Its user gives the template more sockets. */
  async grow(sockets: number): Promise<void> {
    const { template } = (await this.vm()).spec;
    const { spec = { domain: { devices: {} } } } = template;
    const domain = { ...spec.domain, cpu: { ...spec.domain.cpu, sockets } };
    await this.change({ template: { ...template, spec: { ...spec, domain } } });
  }

  async request(...stateChangeRequests: { action: string; uid?: string }[]): Promise<void> {
    const vm = await this.vm();
    const status = { ...vm.status, stateChangeRequests };
    await this.kube.update(MACHINES, { ...vm, status }, { subresource: "status" });
  }

  vm(): Promise<Stored<VirtualMachine>> {
    return this.kube.get(MACHINES, AT);
  }

  async status(): Promise<VirtualMachineStatus> {
    return (await this.vm()).status ?? {};
  }

  vmi(): Promise<Stored<VirtualMachineInstance>> {
    return this.kube.get(INSTANCES, AT);
  }

  async hasInstance(): Promise<boolean> {
    return this.vmi().then(
      () => true,
      (cause: unknown) => {
        if (kindOf(cause) !== "notFound") throw cause;
        return false;
      },
    );
  }

  async set(
    phase: string,
    ...conditions: { type: string; status: string; reason?: string }[]
  ): Promise<void> {
    const vmi = await this.vmi();
    const before = vmi.status?.phaseTransitionTimestamps ?? [];
    const phaseTransitionTimestamp = timestamp(new Date(this.nowMs));
    const stamps = [...before, { phase, phaseTransitionTimestamp }];
    const status = { ...vmi.status, phase, conditions, phaseTransitionTimestamps: stamps };
    await this.kube.update(INSTANCES, { ...vmi, status });
  }

  /** The instances' controller: an instance that goes ends, and is let go. */
  async #keepInstance(): Promise<void> {
    if (!(await this.hasInstance())) return;
    const { metadata, status } = await this.vmi();
    if (metadata.deletionTimestamp === undefined) return;
    if (status?.phase !== "Failed" && status?.phase !== "Succeeded") {
      this.nowMs += 1000;
      await this.set("Succeeded");
    }
    const vmi = await this.vmi();
    const finalizers = (vmi.metadata.finalizers ?? []).filter(
      (each) => each !== INSTANCE_FINALIZER,
    );
    if (finalizers.length === vmi.metadata.finalizers?.length) return;
    await this.kube.update(INSTANCES, { ...vmi, metadata: { ...vmi.metadata, finalizers } });
  }

  /** A question about rights is none. */
  #writes(): number {
    const { writes } = this.kube;
    return writes.filter(({ resource }) => resource !== "subjectaccessreviews").length;
  }

  /**
   * Until nothing is written any more. Whatever fails is tried again, as the queue does. Answers what failed, unless it has gone
   * well since.
   */
  async settle(): Promise<unknown> {
    let failed: unknown;
    for (let round = 0; round < 40; round += 1) {
      const length = this.#writes();
      try {
        const outcome = await this.#reconciler.reconcile(KEY, signal);
        if (outcome === "settled") failed = undefined;
      } catch (cause) {
        failed = cause;
      }
      await this.#keepInstance();
      if (this.#writes() === length) return failed;
    }
    throw new Error("does not settle");
  }
}
