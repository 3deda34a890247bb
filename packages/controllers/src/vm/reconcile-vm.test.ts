// The reconciler on the API server's twin in memory, with one beside it that does what the instances' controller does.
import { TrineError, kindOf } from "@trine/base";
import { CONTROLLER_REVISIONS, type Stored } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import {
  CLUSTER_DEFAULTS,
  INSTANCE_FINALIZER,
  type VirtualMachine,
  type VirtualMachineInstance,
  type VirtualMachineStatus,
} from "@trine/kube-types";
import { clusterInstancetypes } from "@trine/instancetypes";
import { expect, test } from "vitest";
import { controlCaches } from "../caches.ts";
import { timestamp } from "../timestamp.ts";
import type { ControlDeps } from "../controller.ts";
import { DATA_VOLUMES, INSTANCES, MACHINES } from "../kinds.ts";
import { MachineReconciler } from "./reconcile-vm.ts";
import { MACHINE_FINALIZER } from "./seen.ts";
import { machine } from "./testing.ts";

const AT = { namespace: "shop", name: "web" };
const KEY = "shop/web";
const signal = new AbortController().signal;
const INSTANCETYPES = {
  group: "instancetype.kubevirt.io",
  version: "v1beta1",
  plural: "virtualmachineclusterinstancetypes",
  kind: "VirtualMachineClusterInstancetype",
  namespaced: false,
};

class World {
  readonly kube: MemoryKube;
  readonly events: string[] = [];
  readonly #deps: ControlDeps;
  #reconciler: MachineReconciler;
  nowMs = Date.parse("2026-01-02T04:00:00Z");

  constructor() {
    this.kube = new MemoryKube({ now: () => this.nowMs });
    this.#deps = {
      api: this.kube,
      caches: controlCaches((resource, indices) => this.kube.cache(resource, indices)),
      events: { record: (_, { reason }) => this.events.push(reason) },
      defaults: () => CLUSTER_DEFAULTS,
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

  async set(phase: string, ...conditions: { type: string; status: string }[]): Promise<void> {
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

  /** Until nothing is written any more. Whatever fails is tried again, as the queue does. */
  async settle(): Promise<unknown> {
    let failed: unknown;
    for (let round = 0; round < 40; round += 1) {
      const length = this.#writes();
      failed = undefined;
      await this.#reconciler.reconcile(KEY, signal).catch((cause: unknown) => {
        failed = cause;
      });
      await this.#keepInstance();
      if (this.#writes() === length) return failed;
    }
    throw new Error("does not settle");
  }
}

test("a machine that runs always has an instance of its own, and stops with it", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  const vmi = await world.vmi();
  expect(vmi.metadata).toMatchObject({
    finalizers: [MACHINE_FINALIZER, INSTANCE_FINALIZER],
    annotations: { "kubevirt.io/vm-generation": "1" },
    ownerReferences: [{ kind: "VirtualMachine", name: "web", controller: true }],
  });
  expect(vmi.status).toMatchObject({ phase: "Pending" });
  expect(await world.status()).toMatchObject({
    created: true,
    ready: false,
    printableStatus: "Starting",
    runStrategy: "Always",
    observedGeneration: 1,
    desiredGeneration: 1,
  });
  await world.set("Running", { type: "Ready", status: "True" });
  await world.settle();
  expect(await world.status()).toMatchObject({ ready: true, printableStatus: "Running" });

  await world.change({ runStrategy: "Halted" });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
  expect(await world.status()).toMatchObject({ created: false, printableStatus: "Stopped" });
  expect(world.events).toEqual(["SuccessfulCreate", "SuccessfulDelete"]);
});

test("a start costs the machine three writes", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.set("Scheduling");
  await world.settle();
  await world.set("Running", { type: "Ready", status: "True" });
  await world.settle();
  const own = world.kube.writes.filter(
    ({ verb, resource }) => ["update", "patch"].includes(verb) && resource === "virtualmachines",
  );
  // One of its finalizer, one that it starts, one that it runs.
  expect(own.length).toBe(3);
});

test("an instance that fails early is tried again after a wait that grows", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  const { uid } = (await world.vmi()).metadata;
  await world.set("Failed");
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
  expect(await world.status()).toMatchObject({
    printableStatus: "CrashLoopBackOff",
    startFailure: { consecutiveFailCount: 1, lastFailedVMIUID: uid },
  });
  world.nowMs += 10_000;
  await world.settle();
  expect((await world.vmi()).metadata.uid).not.toBe(uid);
  await world.set("Failed");
  await world.settle();
  expect((await world.status()).startFailure?.consecutiveFailCount).toBe(2);
  world.nowMs += 40_000;
  await world.settle();
  await world.set("Running");
  await world.settle();
  expect((await world.status()).startFailure).toBeUndefined();
});

test("RerunOnFailure runs again what failed, and not what ended well or was stopped", async () => {
  const world = new World();
  await world.add({ runStrategy: "RerunOnFailure" });
  await world.settle();
  await world.set("Running");
  await world.settle();
  const { uid } = (await world.vmi()).metadata;
  await world.set("Failed");
  await world.settle();
  const next = await world.vmi();
  expect(next.metadata.uid).not.toBe(uid);
  expect((await world.status()).stateChangeRequests).toBeUndefined();
  await world.request({ action: "Stop", uid: next.metadata.uid });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
  await world.request({ action: "Start" });
  await world.settle();
  await world.set("Running");
  await world.set("Succeeded");
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
  expect((await world.status()).printableStatus).toBe("Stopped");
});

test("Manual does what is asked, once", async () => {
  const world = new World();
  await world.add({ runStrategy: "Manual" });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
  await world.request({ action: "Start" });
  await world.settle();
  const { uid } = (await world.vmi()).metadata;
  expect((await world.status()).stateChangeRequests).toBeUndefined();
  await world.request({ action: "Stop", uid }, { action: "Start" });
  await world.settle();
  expect((await world.vmi()).metadata.uid).not.toBe(uid);
});

test("a machine knows itself again at every start", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  const first = (await world.vmi()).spec.domain;
  await world.set("Running");
  await world.set("Failed");
  await world.settle();
  const second = (await world.vmi()).spec.domain;
  expect(first.firmware?.uuid).toMatch(/^[0-9a-f-]{36}$/);
  expect(first.devices.interfaces?.[0]?.macAddress).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  expect(second).toEqual(first);
  const other = new World();
  await other.add({ runStrategy: "Always" });
  await other.settle();
  const { firmware, devices } = (await other.vmi()).spec.domain;
  expect(firmware?.uuid).not.toBe(first.firmware?.uuid);
  expect(devices.interfaces?.[0]?.macAddress).not.toBe(first.devices.interfaces?.[0]?.macAddress);
});

test("the machine as it was started is kept, and nothing older", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  const { uid } = (await world.vm()).metadata;
  expect((await world.vmi()).status?.virtualMachineRevisionName).toBe(`revision-start-vm-${uid}-1`);
  const { template } = (await world.vm()).spec;
  const metadata = { labels: { new: "label" } };
  await world.change({ template: { ...template, metadata } });
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  await world.change({ runStrategy: "Always" });
  await world.settle();
  const revisions = await world.kube.list(CONTROLLER_REVISIONS, AT);
  expect(revisions.items.map((each) => [each.metadata.name, each.revision])).toEqual([
    [`revision-start-vm-${uid}-4`, 4],
  ]);
});

test("a change of the running machine needs a restart, until it is taken back or done", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.set("Running");
  const has = async (): Promise<boolean> => {
    await world.settle();
    const { conditions = [] } = await world.status();
    return conditions.some(({ type }) => type === "RestartRequired");
  };
  expect(await has()).toBe(false);
  const { template } = (await world.vm()).spec;
  const spec = { ...(template.spec ?? { domain: { devices: {} } }), hostname: "other" };
  await world.change({ template: { spec } });
  expect(await has()).toBe(true);
  await world.change({ template });
  expect(await has()).toBe(false);
  expect((await world.vmi()).metadata.annotations?.["kubevirt.io/vm-generation"]).toBe("3");
  await world.change({ template: { spec } });
  expect(await has()).toBe(true);
  const { uid } = (await world.vmi()).metadata;
  await world.request({ action: "Stop", uid });
  expect(await has()).toBe(false);
  expect((await world.vmi()).spec.hostname).toBe("other");
});

test("a machine that is deleted takes its instance along; one left behind goes to the next of its name", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.kube.delete(MACHINES, AT);
  await world.settle();
  await expect(world.vm()).rejects.toMatchObject({ kind: "notFound" });
  expect(await world.hasInstance()).toBe(false);

  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.set("Running");
  const vmi = await world.vmi();
  // What the garbage collector of Kubernetes does for `--cascade=orphan`.
  await world.kube.update(INSTANCES, {
    ...vmi,
    metadata: { ...vmi.metadata, ownerReferences: [] },
  });
  const vm = await world.vm();
  await world.kube.update(MACHINES, { ...vm, metadata: { ...vm.metadata, finalizers: [] } });
  await world.kube.delete(MACHINES, AT);
  await world.settle();
  expect((await world.vmi()).metadata.finalizers).toEqual([INSTANCE_FINALIZER]);

  await world.add({ runStrategy: "Always" });
  await world.settle();
  expect((await world.vmi()).metadata).toMatchObject({
    uid: vmi.metadata.uid,
    ownerReferences: [{ uid: (await world.vm()).metadata.uid }],
  });
  expect((await world.status()).printableStatus).toBe("Running");
});

test("an instance of another owner is left alone, and told of", async () => {
  const world = new World();
  const owner = { apiVersion: "v1", kind: "Other", name: "o", uid: "u", controller: true };
  await world.kube.create(INSTANCES, {
    metadata: { ...AT, ownerReferences: [owner] },
    spec: { domain: { devices: {} } },
  });
  await world.add({ runStrategy: "Always" });
  expect(await world.settle()).toBeInstanceOf(TrineError);
  const { conditions, created } = await world.status();
  expect(created).toBe(false);
  expect(conditions?.find(({ type }) => type === "Failure")).toMatchObject({
    reason: "FailedCreate",
    message: expect.stringContaining("another owner") as string,
  });
});

test("volumes of templates are made first, and belong to the machine", async () => {
  const world = new World();
  const template = {
    metadata: { name: "disk", labels: { a: "b" } },
    spec: { source: { blank: {} } },
  };
  await world.add({ runStrategy: "Always", dataVolumeTemplates: [template] });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
  const at = { namespace: "shop", name: "disk" };
  const volume = await world.kube.get(DATA_VOLUMES, at);
  const { uid } = (await world.vm()).metadata;
  expect(volume.metadata).toMatchObject({
    labels: { a: "b", "kubevirt.io/created-by": uid },
    ownerReferences: [{ uid }],
  });
  const status = { phase: "Succeeded" };
  await world.kube.update(DATA_VOLUMES, { ...volume, status }, { subresource: "status" });
  await world.settle();
  expect(await world.hasInstance()).toBe(true);
});

test("a copy out of another namespace needs a right of the machine's own", async () => {
  const world = new World();
  const spec = { source: { pvc: { namespace: "vault", name: "secrets" } } };
  await world.add({
    runStrategy: "Always",
    dataVolumeTemplates: [{ metadata: { name: "d" }, spec }],
  });
  expect(await world.settle()).toMatchObject({ kind: "forbidden" });
  expect(world.events).toContain("UnauthorizedDataVolumeCreate");
  const volumes = await world.kube.list(DATA_VOLUMES, AT);
  expect(volumes.items).toEqual([]);
});

test("an instance type is kept at first use: what changes later does not reach the machine", async () => {
  const world = new World();
  const small = clusterInstancetypes().find(({ metadata }) => metadata?.name === "u1.small");
  if (small === undefined) throw new Error("no u1.small");
  const given = await world.kube.create(INSTANCETYPES, small);
  const bare = { template: { spec: { domain: { devices: {} } } } };
  await world.add({ runStrategy: "Always", instancetype: { name: "u1.small" }, ...bare });
  await world.settle();
  const ran = (await world.vmi()).spec.domain;
  expect(ran).toMatchObject({ cpu: { sockets: 1 }, memory: { guest: "2Gi" } });
  const { uid, generation } = given.metadata;
  const name = `web-u1.small-v1beta1-${uid}-${String(generation)}`;
  expect((await world.status()).instancetypeRef).toEqual({
    name: "u1.small",
    controllerRevisionRef: { name },
  });
  expect((await world.vmi()).metadata.annotations).toMatchObject({
    "kubevirt.io/cluster-instancetype-name": "u1.small",
  });
  const larger = { ...small.spec, cpu: { guest: 4 } };
  await world.kube.update(INSTANCETYPES, { ...given, spec: larger });
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  await world.change({ runStrategy: "Always" });
  await world.settle();
  expect((await world.vmi()).spec.domain.cpu).toEqual(ran.cpu);
});

test("a machine whose instance type is missing says so, and can still be stopped", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.set("Running");
  await world.change({ instancetype: { name: "gone" } });
  expect(await world.settle()).toMatchObject({ kind: "notFound" });
  expect((await world.status()).conditions).toContainEqual(
    expect.objectContaining({ type: "Failure", reason: "FailedFindInstancetype" }),
  );
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
});

/** All that a machine goes through, in one life. */
async function wholeLife(world: World): Promise<void> {
  await world.add({
    runStrategy: "RerunOnFailure",
    dataVolumeTemplates: [{ metadata: { name: "disk" }, spec: { source: { blank: {} } } }],
  });
  await world.settle();
  const volume = await world.kube.get(DATA_VOLUMES, { namespace: "shop", name: "disk" });
  const status = { phase: "Succeeded" };
  await world.kube.update(DATA_VOLUMES, { ...volume, status }, { subresource: "status" });
  await world.settle();
  await world.set("Running");
  await world.settle();
  await world.set("Failed");
  await world.settle();
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  await world.kube.delete(MACHINES, AT);
  await world.settle();
}

const WRITES = 24;

test.each(
  Array.from({ length: WRITES }, (_, at) => at).flatMap((at) => [
    ["before", at] as const,
    ["after", at] as const,
  ]),
)("a process that dies %s its write %i leaves nothing half done", async (when, at) => {
  const world = new World();
  let count = 0;
  world.kube.hooks[when] = () => {
    count += 1;
    if (count !== at + 1) return;
    world.restart();
    throw new TrineError("unavailable", "died here");
  };
  // Writes of the test itself may be hit too: such a one is done again as a user would.
  const life = await wholeLife(world).catch((cause: unknown) => cause);
  if (life !== undefined) {
    expect(life).toMatchObject({ message: "died here" });
    return;
  }
  await expect(world.vm()).rejects.toMatchObject({ kind: "notFound" });
  expect(await world.hasInstance()).toBe(false);
  const created = world.events.filter((reason) => reason === "SuccessfulDataVolumeCreate");
  expect(created.length).toBeLessThanOrEqual(1);
});
