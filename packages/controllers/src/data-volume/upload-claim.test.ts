import { CLAIMS, type PersistentVolumeClaim } from "@trine/kube-client";
import { expect, test } from "vitest";
import { unfilled } from "../vmi/seen.ts";
import { AT, World } from "./testing/world.ts";

const GIB = 1024 ** 3;
const TARGET = { "cdi.kubevirt.io/storage.upload.target": "" };
const READY = "cdi.kubevirt.io/storage.pod.ready";
const PHASE = "cdi.kubevirt.io/storage.pod.phase";
const OWNER = {
  ...{ apiVersion: "cdi.kubevirt.io/v1beta1", kind: "DataVolume", name: "disk", uid: "dv" },
  controller: true,
};

/** As `virtctl image-upload pvc` makes it. */
function claim(more: PersistentVolumeClaim["metadata"] = {}): PersistentVolumeClaim {
  const resources = { requests: { storage: "1Gi" } };
  return {
    metadata: { ...AT, annotations: TARGET, ...more },
    spec: { accessModes: ["ReadWriteOnce"], resources },
  };
}

async function said(world: World): Promise<Readonly<Record<string, string>>> {
  return (await world.kube.get(CLAIMS, AT)).metadata.annotations ?? {};
}

test("a claim that asks for an upload is filled for itself, and once", async () => {
  const world = new World();
  const { metadata } = await world.kube.create(CLAIMS, claim());
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.metadata).toMatchObject({
    labels: { "trine.dev/fills": metadata.uid },
    ownerReferences: [{ apiVersion: "v1", kind: "PersistentVolumeClaim", name: "disk" }],
  });
  const [order = ""] = (pod?.spec.containers[0]?.["args"] as string[] | undefined) ?? [];
  expect(JSON.parse(order)).toMatchObject({ target: "/volume", source: { kind: "upload" } });
  // What is sent, and what it is unpacked to, on the node's disk.
  const [work] = pod?.spec["volumes"] as unknown as { emptyDir: { sizeLimit: string } }[];
  expect(Number(work?.emptyDir.sizeLimit)).toBeGreaterThan(3 * GIB);
  expect(Number(work?.emptyDir.sizeLimit)).toBeLessThan(3.5 * GIB);
  const { resources } = (pod?.spec.containers[0] ?? {}) as { resources?: unknown };
  expect(resources).toMatchObject({ limits: { memory: "2Gi" } });
  await world.run("Running");
  await world.settle();
  expect(await said(world)).toMatchObject({ [READY]: "false", [PHASE]: "Running" });
  world.report = { state: "waiting", progress: 0 };
  await world.settle();
  expect(await said(world)).toMatchObject({ [READY]: "true" });
  await world.run("Succeeded");
  await world.settle();
  expect(await said(world)).toMatchObject({ [READY]: "false", [PHASE]: "Succeeded" });
  expect(await world.pods()).toEqual([]);
  const made = world.kube.writes.filter(
    ({ verb, resource }) => verb === "create" && resource === "pods",
  );
  expect(made).toHaveLength(1);
});

test("a claim that is deleted while it waits gives up its pod, which keeps it", async () => {
  const world = new World();
  await world.kube.create(CLAIMS, claim({ finalizers: ["kubernetes.io/pvc-protection"] }));
  await world.settle();
  expect(await world.pods()).toHaveLength(1);
  await world.kube.delete(CLAIMS, AT);
  await world.settle();
  expect(await world.pods()).toEqual([]);
});

test("it waits for its first consumer, unless it is asked not to", async () => {
  for (const [annotations, pods] of [
    [{}, 0],
    [{ "cdi.kubevirt.io/storage.bind.immediate.requested": "" }, 1],
  ] as const) {
    const world = new World();
    world.binds = false;
    await world.addClass("WaitForFirstConsumer");
    await world.kube.create(CLAIMS, claim({ annotations: { ...TARGET, ...annotations } }));
    await world.settle();
    expect(await world.pods()).toHaveLength(pods);
  }
});

test.each([
  ["nobody's", { annotations: {} }, []],
  ["an upload's", {}, ["disk"]],
  ["an upload's that is there", { annotations: { ...TARGET, [PHASE]: "Succeeded" } }, []],
])("%s claim of an instance", async (_, more, waitsFor) => {
  const world = new World();
  const made = await world.kube.create(CLAIMS, claim(more));
  const volumes = [{ name: "root", persistentVolumeClaim: { claimName: "disk" } }];
  const of = { claim: () => made, dataVolume: () => undefined };
  expect(unfilled({ spec: { domain: { devices: {} }, volumes }, ...of })).toEqual(waitsFor);
});

test("a claim that belongs to somebody is left to him", async () => {
  const world = new World();
  await world.kube.create(CLAIMS, claim({ ownerReferences: [OWNER] }));
  await world.settle();
  expect(await world.pods()).toEqual([]);
});
