import { TrineError } from "@trine/base";
import {
  CLAIMS,
  NODES,
  PODS,
  type Pod,
  type Stored,
  keyOf,
  placeOf,
  resourceOf,
} from "@trine/kube-client";
import type { WriteCall } from "@trine/kube-client/testing";
import { KUBEVIRT } from "@trine/kube-types";
import { describe, expect, test } from "vitest";
import { CDI_CONFIGS, DATA_VOLUMES, INSTANCES } from "../kinds.ts";
import { EMPTY_IMAGE } from "../testing.ts";
import { AT, Crash, World, life } from "./testing/world.ts";

const isOurs = ({ resource, verb }: WriteCall): boolean =>
  resource === "virtualmachineinstances" && (verb === "update" || verb === "patch");

test("an instance becomes a machine that runs, and goes with its pod", async () => {
  const world = new World();
  await world.create();
  await life(world);
  const { status, metadata } = await world.vmi;
  expect(status?.phase).toBe("Running");
  expect(status?.phaseTransitionTimestamps?.map(({ phase }) => phase)).toEqual([
    "Pending",
    "Scheduling",
    "Scheduled",
    "Running",
  ]);
  expect(metadata.labels).toMatchObject({ "kubevirt.io/nodeName": "n1" });
  expect(world.told.map(({ reason }) => reason)).toEqual(["SuccessfulCreate", "Started"]);

  await world.kube.delete(INSTANCES, AT);
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.metadata.deletionGracePeriodSeconds).toBe(30);
  await world.endPod();
  await world.settle();
  await expect(world.vmi).rejects.toMatchObject({ kind: "notFound" });
});

test("its start costs five writes, one for each phase, one for the agent, and one that holds it where no webhook does", async () => {
  const world = new World();
  await world.create();
  await life(world);
  expect(world.kube.writes.filter(isOurs)).toHaveLength(5);
  const before = world.kube.writes.length;
  const agent = { connected: true, frozen: false, os: { id: "debian" } };
  await world.say({ agent, memory: { guestBytes: 2 ** 30, overheadBytes: 0 }, sandboxId: "t" });
  await world.settle();
  expect(world.kube.writes.length).toBe(before);
});

test("that its node knows it is told with that it runs, or alone when the start takes long", async () => {
  for (const isSoon of [true, false]) {
    const world = new World();
    await world.create();
    await world.settle();
    await world.bind();
    await world.settle();
    const { length } = world.kube.writes;
    await world.say({ phase: "starting", since: new Date(world.nowMs - 200).toISOString() });
    await world.rest(800);
    expect((await world.vmi).status?.phase).toBe("Scheduling");
    if (!isSoon) world.nowMs += 800;
    if (!isSoon) await world.settle();
    expect((await world.vmi).status?.phase).toBe(isSoon ? "Scheduling" : "Scheduled");
    await world.say({ phase: "running", since: new Date(world.nowMs).toISOString() });
    await world.settle();
    const { status } = await world.vmi;
    expect(status?.phaseTransitionTimestamps?.map(({ phase }) => phase)).toEqual([
      "Pending",
      "Scheduling",
      "Scheduled",
      "Running",
    ]);
    expect(world.kube.writes.slice(length).filter(isOurs)).toHaveLength(isSoon ? 1 : 2);
  }
});

describe("a controller that dies at any write", () => {
  test.each(["before", "after"] as const)(
    "%s it is done, ends at the same",
    async (when) => {
      const straight = new World();
      await straight.create();
      await life(straight);
      const wanted = await straight.vmi;
      const count = straight.kube.writes.length;

      for (let first = 1; first <= count; first += 1) {
        for (let second = first; second <= count + 1; second += 1) {
          const world = new World();
          await world.create();
          let seen = 0;
          const created: string[] = [];
          world.kube.hooks[when] = ({ verb, resource, key }) => {
            // The kubelet's and scheduler's writes do not fail.
            if (resource === "pods" && verb === "update") return;
            seen += 1;
            if (verb === "create" && resource === "pods") created.push(key);
            if (seen === first || seen === second) throw new Crash(`write ${seen}`);
          };
          await life(world);
          const { status } = await world.vmi;
          expect({ ...status, activePods: {} }).toEqual({ ...wanted.status, activePods: {} });
          expect(await world.pods()).toHaveLength(1);
          expect(new Set(created).size).toBe(1);
        }
      }
    },
    60_000,
  );
});

test("a cache that is behind starts no second machine", async () => {
  const world = new World();
  await world.create();
  await world.settle();
  world.kube.hold();
  await world.bind();
  await world.say({ phase: "running" });
  const [pod] = await world.pods();
  await world.kube.delete(PODS, placeOf(keyOf(pod as Stored<Pod>)), { gracePeriodSeconds: 0 });
  await world.settle();
  world.kube.release();
  await world.settle();
  expect((await world.vmi).status).toMatchObject({ phase: "Failed", reason: "PodNotExists" });
  expect(await world.pods()).toHaveLength(0);
});

test("a pod of that name that is another's is left alone, and told of", async () => {
  const world = new World();
  await world.create();
  await world.settle();
  const [pod] = await world.pods();
  const { name = "" } = pod?.metadata ?? {};
  await world.kube.delete(PODS, { namespace: "shop", name }, { gracePeriodSeconds: 0 });
  await world.kube.create(PODS, {
    metadata: { name, namespace: "shop" },
    spec: { containers: [] },
  });
  await expect(world.settle()).rejects.toMatchObject({ kind: "wrongState" });
  expect(await world.pods()).toHaveLength(1);
});

test("a claim that comes later is waited for, and told of once", async () => {
  const world = new World();
  await world.create({
    "spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "data" } },
  });
  await world.settle();
  await world.settle();
  expect(world.told).toEqual([
    expect.objectContaining({ type: "Warning", reason: "FailedPvcNotFound" }),
  ]);
  expect(await world.pods()).toHaveLength(0);
  const spec = { volumeMode: "Block", resources: { requests: { storage: "1Gi" } } };
  await world.kube.create(CLAIMS, { metadata: { name: "data", namespace: "shop" }, spec });
  await world.settle();
  expect((await world.pods())[0]?.spec.containers[0]).toMatchObject({ image: EMPTY_IMAGE });
  const conditions = (await world.vmi).status?.conditions ?? [];
  expect(conditions.some(({ type }) => type === "Synchronized")).toBe(false);
});

test("what is to outlive the machine has a claim first", async () => {
  const world = new World();
  await world.create({ "spec.domain.devices.tpm": { persistent: true } });
  await world.settle();
  const { items } = await world.kube.list(CLAIMS, {});
  expect(items[0]).toMatchObject({ metadata: { name: "persistent-state-for-web" } });
  expect(await world.pods()).toHaveLength(1);
});

test("one that starts paused runs, and is told as paused", async () => {
  const world = new World();
  await world.create({ "spec.startStrategy": "Paused" });
  await world.settle();
  await world.bind();
  const [pod] = await world.pods();
  expect(pod?.metadata.annotations?.["trine.dev/start"]).toBe("paused");
  await world.say({ phase: "paused" });
  await world.settle();
  const { status } = await world.vmi;
  expect(status?.phase).toBe("Running");
  expect(status?.conditions?.find(({ type }) => type === "Paused")?.status).toBe("True");
});

test("a fenced node's machine is given up, and its instance may go", async () => {
  const world = new World();
  await world.create();
  await life(world);
  const taints = [{ key: "node.kubernetes.io/out-of-service", effect: "NoExecute" }];
  await world.kube.create(NODES, { metadata: { name: "n1" }, spec: { taints } });
  await world.settle();
  expect((await world.vmi).status).toMatchObject({ phase: "Failed", reason: "NodeFenced" });
  expect(world.told.at(-1)?.message).toMatch(/out of service/);
  await world.kube.delete(INSTANCES, AT);
  await world.settle();
  await expect(world.vmi).rejects.toMatchObject({ kind: "notFound" });
});

test("the configuration of the KubeVirt object that was first is followed", async () => {
  const world = new World();
  for (const [name, cpuAllocationRatio, made] of [
    ["second", 2, "2026-02-02T00:00:00Z"],
    ["first", 1, "2026-01-02T00:00:00Z"],
  ] as const) {
    world.nowMs = Date.parse(made);
    await world.kube.create(resourceOf(KUBEVIRT), {
      metadata: { name, namespace: "kubevirt" },
      spec: { configuration: { developerConfiguration: { cpuAllocationRatio } } },
    });
  }
  await world.create();
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.spec.containers[0]).toMatchObject({ resources: { requests: { cpu: "1000m" } } });
});

test("a disk has what CDI's configuration leaves of its volume, as its DataVolume has", async () => {
  for (const [filesystemOverhead, size] of [
    [undefined, "9625Mi"],
    [{ global: "0.1", storageClass: { fast: "0.2" } }, "8Gi"],
  ] as const) {
    const world = new World();
    await world.kube.create(CDI_CONFIGS, {
      metadata: { name: "config" },
      spec: { ...(filesystemOverhead && { filesystemOverhead }) },
    });
    await world.kube.create(CLAIMS, {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim" },
      metadata: { namespace: "shop", name: "data" },
      spec: { storageClassName: "fast", resources: { requests: { storage: "10Gi" } } },
    });
    const volume = { name: "root", persistentVolumeClaim: { claimName: "data" } };
    await world.create({ "spec.volumes[0]": volume });
    await world.settle();
    const [pod] = await world.pods();
    const [disk] = JSON.parse(pod?.metadata.annotations?.["trine.dev/disks"] ?? "[]") as unknown[];
    expect(disk).toMatchObject({ size });
  }
});

test("what the API server refuses is tried again", async () => {
  const world = new World();
  await world.create();
  world.kube.hooks.before = ({ resource, verb }) => {
    if (resource === "pods" && verb === "create")
      throw new TrineError("forbidden", "exceeded quota");
  };
  await expect(world.settle()).rejects.toMatchObject({ kind: "forbidden" });
  expect(world.told).toEqual([
    {
      type: "Warning",
      reason: "FailedCreate",
      message: expect.stringContaining("exceeded quota") as string,
    },
  ]);
  expect(await world.condition("Synchronized")).toMatchObject({
    status: "False",
    reason: "FailedCreate",
    message: expect.stringContaining("exceeded quota") as string,
  });
  const { length } = world.kube.writes;
  await world.rest(100);
  world.nowMs += 100;
  await expect(world.settle()).rejects.toMatchObject({ kind: "forbidden" });
  expect(world.kube.writes.slice(length).filter(({ resource }) => resource !== "pods")).toEqual([]);
  Reflect.deleteProperty(world.kube.hooks, "before");
  await world.settle();
  expect(await world.pods()).toHaveLength(1);
  expect(await world.condition("Synchronized")).toBeUndefined();
});

test("a refusal that says something else each time is told less and less often", async () => {
  const world = new World();
  await world.create();
  let tries = 0;
  world.kube.hooks.before = ({ resource, verb }) => {
    if (resource !== "pods" || verb !== "create") return;
    tries += 1;
    throw new TrineError("forbidden", `exceeded quota: used: pods=${tries}`);
  };
  for (const waitMs of [0, 100, 200, 400]) {
    world.nowMs += waitMs - 1;
    if (waitMs > 0) await world.rest(1);
    world.nowMs += 1;
    await expect(world.settle()).rejects.toMatchObject({ kind: "forbidden" });
  }
  expect(tries).toBe(4);
  expect(await world.condition("Synchronized")).toMatchObject({
    message: expect.stringContaining("pods=4") as string,
  });
});

test("a machine whose pod is refused says of its volumes that they are filled", async () => {
  const world = new World();
  world.kube.hooks.before = ({ resource, verb }) => {
    if (resource === "pods" && verb === "create") throw new TrineError("forbidden", "quota");
  };
  const at = { namespace: "shop", name: "disk" };
  await world.kube.create(DATA_VOLUMES, { metadata: at, spec: {} });
  const spec = { resources: { requests: { storage: "1Gi" } } };
  await world.kube.create(CLAIMS, { metadata: at, spec });
  await world.create({ "spec.volumes[0]": { name: "root", dataVolume: { name: "disk" } } });
  await world.settle();
  expect(await world.condition("DataVolumesReady")).toMatchObject({ status: "False" });
  const volume = await world.kube.get(DATA_VOLUMES, at);
  const status = { phase: "Succeeded" };
  await world.kube.update(DATA_VOLUMES, { ...volume, status }, { subresource: "status" });
  await expect(world.settle()).rejects.toMatchObject({ kind: "forbidden" });
  expect(await world.condition("DataVolumesReady")).toMatchObject({ status: "True" });
  expect(await world.condition("Provisioning")).toBeUndefined();
  expect(await world.condition("Synchronized")).toMatchObject({ reason: "FailedCreate" });
});
