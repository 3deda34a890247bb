import { KUBEVIRTS } from "../installation/controller.ts";
import { CLAIMS, PODS } from "@trine/kube-client";
import { expect, test } from "vitest";
import { AT, HTTP, World, conditions } from "./testing/world.ts";

test("a claim is not filled while a pod that runs may write it", async () => {
  const world = new World();
  const spec = {
    nodeName: "n1",
    containers: [],
    volumes: [{ name: "v", persistentVolumeClaim: { claimName: "disk" } }],
  };
  const metadata = { namespace: "shop", name: "user" };
  await world.kube.create(PODS, { apiVersion: "v1", kind: "Pod", metadata, spec });
  await world.add(HTTP);
  await world.settle();
  expect(await world.pods()).toEqual([]);
  expect(await conditions(world)).toMatchObject({ Running: "False TargetInUse" });
  await world.kube.delete(PODS, metadata, { gracePeriodSeconds: 0 });
  await world.settle();
  expect(await world.pods()).toHaveLength(1);
});

test("the claim of an import that runs can be deleted: its pod goes, and both come anew", async () => {
  const world = new World();
  await world.add(HTTP);
  await world.settle();
  await world.run("Running");
  const claim = await world.kube.get(CLAIMS, AT);
  const finalizers = ["kubernetes.io/pvc-protection"];
  await world.kube.update(CLAIMS, { ...claim, metadata: { ...claim.metadata, finalizers } });
  const [before] = await world.pods();
  await world.kube.delete(CLAIMS, AT);
  await world.settle();
  expect(await world.pods()).toEqual([]);
  const held = await world.kube.get(CLAIMS, AT);
  await world.kube.update(CLAIMS, { ...held, metadata: { ...held.metadata, finalizers: [] } });
  await world.settle();
  const [after] = await world.pods();
  expect(after?.metadata.uid).toBeDefined();
  expect(after?.metadata.uid).not.toBe(before?.metadata.uid);
});

test("a claim that is taken needs no source that is supported", async () => {
  const world = new World();
  await world.kube.create(CLAIMS, {
    ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", spec: {} },
    metadata: { ...AT, annotations: { "cdi.kubevirt.io/storage.populatedFor": "disk" } },
  });
  await world.add({ ...HTTP, source: { s3: { url: "s3://b/o" } } });
  await world.settle();
  expect(await world.phase()).toBe("Succeeded");
  expect(await conditions(world)).toMatchObject({ Running: "False Completed" });
});

test("the claim of a disk names the class that is for disks, and one of spec.pvc is as it is", async () => {
  const key = "storageclass.kubevirt.io/is-default-virt-class";
  const { resources } = HTTP.storage;
  const pvc = { accessModes: ["ReadWriteOnce"], resources };
  for (const [spec, name, phase] of [
    [HTTP, "disks", "WaitForFirstConsumer"],
    [{ ...HTTP, storage: { resources, storageClassName: "local" } }, "local", "ImportScheduled"],
    [{ source: HTTP.source, pvc }, undefined, "ImportScheduled"],
  ] as const) {
    const world = new World();
    world.binds = false;
    await world.addClass("Immediate");
    await world.addClass("WaitForFirstConsumer", { name: "disks", annotations: { [key]: "true" } });
    await world.add(spec);
    await world.settle();
    expect((await world.kube.get(CLAIMS, AT)).spec.storageClassName).toBe(name);
    expect(await world.phase()).toBe(phase);
  }
});

test("what fills a volume is where machines may be", async () => {
  const world = new World();
  await world.kube.create(KUBEVIRTS, {
    metadata: { namespace: "trine-system", name: "kubevirt" },
    spec: {
      configuration: {
        defaultRuntimeClass: "vm-large",
        developerConfiguration: { nodeSelectors: { pool: "machines" } },
      },
    },
  });
  await world.add(HTTP);
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.spec).toMatchObject({
    runtimeClassName: "vm-large",
    nodeSelector: { "kubernetes.io/arch": "amd64", pool: "machines" },
  });
});
