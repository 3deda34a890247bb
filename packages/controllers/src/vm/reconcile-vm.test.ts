import { TrineError } from "@trine/base";
import { CONTROLLER_REVISIONS } from "@trine/kube-client";
import { INSTANCE_FINALIZER, MACHINE_FINALIZER } from "@trine/kube-types";
import { expect, test } from "vitest";
import { DATA_VOLUMES, INSTANCES, MACHINES } from "../kinds.ts";
import { AT, World } from "./testing/world.ts";

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

test("that a machine runs is told with that it is ready, or alone when that takes long", async () => {
  for (const isSoon of [true, false]) {
    const world = new World();
    await world.add({ runStrategy: "Always" });
    await world.settle();
    const { length } = world.kube.writes;
    await world.set("Running", { type: "Ready", status: "False", reason: "PodConditionMissing" });
    world.nowMs += 1_999;
    await world.settle();
    expect(await world.status()).toMatchObject({ printableStatus: "Starting", ready: false });
    if (isSoon) await world.set("Running", { type: "Ready", status: "True" });
    else world.nowMs += 1;
    await world.settle();
    expect(await world.status()).toMatchObject({ printableStatus: "Running", ready: isSoon });
    const writes = world.kube.writes.slice(length);
    expect(writes.filter(({ resource }) => resource === "virtualmachines")).toHaveLength(1);
  }
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
  expect(second).toEqual(first);
  const other = new World();
  await other.add({ runStrategy: "Always" });
  await other.settle();
  const { firmware } = (await other.vmi()).spec.domain;
  expect(firmware?.uuid).not.toBe(first.firmware?.uuid);
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

test("a machine that runs has more sockets without a restart, and its generation follows", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.grow(2);
  await world.settle();
  // Not before it runs: its pod is made of what the instance said first.
  expect((await world.vmi()).spec.domain.cpu?.sockets).toBe(1);
  await world.set("Running");
  await world.settle();
  const { spec, metadata } = await world.vmi();
  expect(spec.domain.cpu?.sockets).toBe(2);
  expect(metadata.annotations?.["kubevirt.io/vm-generation"]).toBe("2");
  expect(await world.status()).toMatchObject({ observedGeneration: 2, desiredGeneration: 2 });

  world.configured = { rolloutStrategy: "Stage" };
  await world.grow(3);
  await world.settle();
  expect((await world.vmi()).spec.domain.cpu?.sockets).toBe(2);
  const restart = (await world.status()).conditions?.find(({ type }) => type === "RestartRequired");
  expect(restart?.message).toContain("Stage");
  world.configured = {};
  await world.settle();
  expect((await world.vmi()).spec.domain.cpu?.sockets).toBe(3);
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

test("a failure that says something else each time is told less and less often, another change is looked at at once", async () => {
  const world = new World();
  let tries = 0;
  world.kube.hooks.before = ({ resource, verb }) => {
    if (resource !== "virtualmachineinstances" || verb !== "create") return;
    tries += 1;
    throw new TrineError("forbidden", `webhook: certificate has expired: try ${tries}`);
  };
  await world.add({ runStrategy: "Always" });
  expect(await world.settle()).toMatchObject({ kind: "forbidden" });
  expect(tries).toBe(1);
  for (const [waitMs, wanted] of [
    [99, 1],
    [1, 2],
    [199, 2],
    [1, 3],
    [400, 4],
  ] as const) {
    world.nowMs += waitMs;
    await world.settle();
    expect(tries).toBe(wanted);
  }
  const said = (await world.status()).conditions?.find(({ type }) => type === "Failure");
  expect(said?.message).toContain("try 4");
  const { template } = (await world.vm()).spec;
  await world.change({ template: { ...template, metadata: { labels: { a: "b" } } } });
  Reflect.deleteProperty(world.kube.hooks, "before");
  expect(await world.settle()).toBeUndefined();
  expect(await world.hasInstance()).toBe(true);
  expect((await world.status()).conditions?.some(({ type }) => type === "Failure")).toBe(false);
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
