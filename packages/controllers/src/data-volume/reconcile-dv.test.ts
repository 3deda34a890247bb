import { CLAIMS, PODS } from "@trine/kube-client";
import { expect, test } from "vitest";
import { DATA_VOLUMES, INSTANCES } from "../kinds.ts";
import { instance } from "../testing.ts";
import { dieAt, momentsOf, podsMade } from "./testing/deaths.ts";
import { AT, HTTP, World, conditions } from "./testing/world.ts";

const DONE = [
  {
    name: "import",
    ready: false,
    restartCount: 2,
    image: "",
    imageID: "",
    state: { terminated: { exitCode: 0 } },
  },
];

test("a volume from a URL: claim, pod, progress, success, and the pod goes", async () => {
  const world = new World();
  await world.add(HTTP);
  await world.settle();
  const claim = await world.kube.get(CLAIMS, AT);
  expect(claim.spec).toMatchObject({
    accessModes: ["ReadWriteOnce"],
    volumeMode: "Filesystem",
    resources: { requests: { storage: "11423186944" } },
  });
  const [pod] = await world.pods();
  expect(JSON.parse((pod?.spec.containers[0]?.["args"] as string[])[0] ?? "")).toMatchObject({
    target: "/volume",
    sizeBytes: 10 * 1024 ** 3,
    source: { kind: "http", url: HTTP.source.http.url },
  });
  expect(await world.phase()).toBe("ImportScheduled");
  await world.run("Running");
  world.report = { state: "running", progress: 41.5 };
  await world.settle();
  expect((await world.volume()).status).toMatchObject({
    phase: "ImportInProgress",
    progress: "41.50%",
  });
  expect(await conditions(world)).toEqual({
    Bound: "True Bound",
    Running: "True Pod is running",
    Ready: "False",
  });
  await world.run("Succeeded", DONE);
  await world.settle();
  const { status } = await world.volume();
  expect(status).toMatchObject({ phase: "Succeeded", progress: "100.0%", restartCount: 2 });
  expect(await conditions(world)).toEqual({
    Bound: "True Bound",
    Running: "False Completed",
    Ready: "True",
  });
  const { metadata } = await world.kube.get(CLAIMS, AT);
  expect(metadata.annotations).toMatchObject({ "cdi.kubevirt.io/storage.pod.phase": "Succeeded" });
  expect(await world.pods()).toEqual([]);
  expect(world.events).toEqual(["ImportSucceeded"]);
});

test("what failed is said, in the container's words, and tried again by kubelet", async () => {
  const world = new World();
  await world.add(HTTP);
  await world.settle();
  const message = JSON.stringify({ kind: "invalid", message: "checksum is sha256:1" });
  const [done] = DONE;
  if (done === undefined) throw new Error("nothing is done");
  const state = { waiting: { reason: "CrashLoopBackOff" } };
  const lastState = { terminated: { exitCode: 1, message } };
  await world.run("Running", [{ ...done, state, lastState }]);
  await world.settle();
  const { status } = await world.volume();
  expect(status).toMatchObject({ phase: "ImportInProgress", restartCount: 2 });
  expect(status?.conditions?.find(({ type }) => type === "Running")).toMatchObject({
    status: "False",
    reason: "Error",
    message: "checksum is sha256:1",
  });
  expect(world.events).toEqual(["ImportFailed"]);
});

test("a pod that kubelet has ended is told of, and made anew", async () => {
  const world = new World();
  await world.add(HTTP);
  await world.settle();
  const [before] = await world.pods();
  await world.run("Failed", [], { reason: "Evicted", message: "The node was low on resource" });
  await world.settle();
  const [after] = await world.pods();
  expect(after?.metadata.name).toBe(before?.metadata.name);
  expect(after?.metadata.uid).not.toBe(before?.metadata.uid);
  expect(world.events).toEqual(["ImportFailed"]);
});

test.each([
  { dataVolume: { name: "disk" } },
  { persistentVolumeClaim: { claimName: "disk" } },
  { ephemeral: { persistentVolumeClaim: { claimName: "disk" } } },
])("a volume waits for its first consumer, and is filled where that may run: %o", async (by) => {
  const world = new World();
  world.binds = false;
  await world.addClass("WaitForFirstConsumer");
  await world.add(HTTP);
  await world.settle();
  expect(await world.phase()).toBe("WaitForFirstConsumer");
  expect(await world.pods()).toEqual([]);
  const vmi = instance({
    "spec.volumes": [{ name: "root", ...by }],
    "spec.nodeSelector": { disk: "fast" },
  });
  const { apiVersion, kind, spec } = vmi;
  await world.kube.create(INSTANCES, {
    ...{ apiVersion, kind, spec },
    metadata: { name: "web", namespace: "shop" },
  });
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.spec["nodeSelector"]).toEqual({ "kubernetes.io/arch": "amd64", disk: "fast" });
});

test.each([
  ["more than an import needs", { guest: "3Gi" }, 4, "2", "3Gi", "3Gi"],
  ["less", { guest: "64Mi" }, 1, "100m", "128Mi", "2Gi"],
])("what binds a volume asks for what its machine will: %s", async (...row) => {
  const [, memory, cores, cpu, asked, limit] = row;
  const world = new World();
  world.binds = false;
  await world.addClass("WaitForFirstConsumer");
  await world.add(HTTP);
  const { apiVersion, kind, spec } = instance({
    "spec.volumes": [{ name: "root", dataVolume: { name: "disk" } }],
    "spec.domain.memory": memory,
    "spec.domain.cpu": { cores },
    "spec.domain.resources": { requests: { cpu: cores === 4 ? "2" : "10m" } },
  });
  const metadata = { name: "web", namespace: "shop" };
  await world.kube.create(INSTANCES, { apiVersion, kind, spec, metadata });
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.spec.containers[0]?.["resources"]).toEqual({
    requests: { cpu, memory: asked },
    limits: { memory: limit },
  });
});

test("asked to, it does not wait", async () => {
  const world = new World();
  world.binds = false;
  await world.addClass("WaitForFirstConsumer");
  await world.add(HTTP, { "cdi.kubevirt.io/storage.bind.immediate.requested": "" });
  await world.settle();
  expect(await world.pods()).toHaveLength(1);
});

test("a claim that is there is not written over, unless it is to be taken", async () => {
  for (const [annotations, phase] of [
    [{}, "Pending"],
    [{ "cdi.kubevirt.io/allowClaimAdoption": "true" }, "Succeeded"],
  ] as const) {
    const world = new World();
    await world.kube.create(CLAIMS, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: AT,
      spec: { accessModes: ["ReadWriteOnce"] },
    });
    await world.add(HTTP, annotations);
    await world.settle();
    expect(await world.phase()).toBe(phase);
    expect(await world.pods()).toEqual([]);
    expect(world.events).toEqual([phase === "Pending" ? "ErrResourceExists" : "ImportSucceeded"]);
  }
});

test("an upload is ready when its pod waits for it, and the claim says so", async () => {
  const world = new World();
  await world.add({ ...HTTP, source: { upload: {} } });
  await world.settle();
  expect(await world.phase()).toBe("UploadScheduled");
  await world.run("Running");
  world.report = { state: "waiting", progress: 0 };
  await world.settle();
  expect(await world.phase()).toBe("UploadReady");
  const { metadata } = await world.kube.get(CLAIMS, AT);
  expect(metadata.annotations).toMatchObject({ "cdi.kubevirt.io/storage.pod.ready": "true" });
});

test("a claim is not copied while a pod may write it", async () => {
  const world = new World();
  await world.kube.create(CLAIMS, {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { namespace: "shop", name: "gold" },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "5Gi" } } },
  });
  const user = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name: "user" },
    spec: {
      containers: [],
      volumes: [{ name: "v", persistentVolumeClaim: { claimName: "gold" } }],
    },
  };
  await world.kube.create(PODS, user);
  await world.add({ source: { pvc: { namespace: "shop", name: "gold" } }, storage: {} });
  await world.settle();
  expect(await world.pods()).toEqual([]);
  expect(await conditions(world)).toMatchObject({ Running: "False SourceInUse" });
  await world.kube.delete(PODS, { namespace: "shop", name: "user" });
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.spec.containers[0]?.["volumeMounts"]).toContainEqual({
    name: "source",
    mountPath: "/source",
    readOnly: true,
  });
  expect(await world.phase()).toBe("CloneScheduled");
});

test.each([
  ["s3", { s3: { url: "s3://b/o" } }, /s3: is not supported/],
  ["no image", { registry: { url: "quay.test/disk" } }, /docker:\/\/IMAGE is wanted/],
  ["no grant", { pvc: { namespace: "golden", name: "gold" } }, /make the DataVolume anew/],
  ["steps", HTTP.source, /spec.checkpoints: copies in steps/, [{ previous: "", current: "1" }]],
])(
  "what cannot be is said, and nothing is made: %s",
  async (_, source, message, checkpoints = []) => {
    const world = new World();
    await world.add({ ...HTTP, source, checkpoints });
    await world.settle();
    const { status } = await world.volume();
    expect(status?.phase).toBe("Failed");
    expect(status?.conditions?.find(({ type }) => type === "Running")?.message).toMatch(message);
    await expect(world.kube.get(CLAIMS, AT)).rejects.toMatchObject({ kind: "notFound" });
  },
);

test.each([
  ["Filesystem", true, "true"],
  ["Block", undefined, undefined],
] as const)("its pod has its priority and account, a %s all of its space", async (...row) => {
  const [volumeMode, preallocate, told] = row;
  const world = new World();
  const storage = { ...HTTP.storage, volumeMode };
  const of = { preallocation: true, priorityClassName: "urgent", serviceAccountName: "filler" };
  await world.add({ ...HTTP, ...of, storage });
  await world.settle();
  const [pod] = await world.pods();
  expect(pod?.spec).toMatchObject({ priorityClassName: "urgent", serviceAccountName: "filler" });
  const order = JSON.parse((pod?.spec.containers[0]?.["args"] as string[])[0] ?? "") as object;
  expect(order).toHaveProperty("id");
  expect((order as { preallocate?: boolean }).preallocate).toBe(preallocate);
  const said = async (): Promise<string | undefined> =>
    (await world.kube.get(CLAIMS, AT)).metadata.annotations?.[
      "cdi.kubevirt.io/storage.preallocation"
    ];
  await world.run("Running");
  await world.settle();
  expect(await said()).toBeUndefined();
  await world.run("Succeeded", DONE);
  await world.settle();
  expect(await said()).toBe(told);
});

/** All that a volume goes through. */
async function wholeLife(world: World): Promise<void> {
  await world.add(HTTP);
  await world.settle();
  await world.run("Running");
  world.report = { state: "running", progress: 50 };
  await world.settle();
  await world.run("Succeeded", DONE);
  await world.settle();
  expect(await world.phase()).toBe("Succeeded");
  expect(await world.pods()).toEqual([]);
  await world.kube.delete(DATA_VOLUMES, AT);
  await world.settle();
}

/** Of the controller, in a whole life that nothing disturbs. */
const OWN_WRITES = 11;

test("how many writes a whole life has", async () => {
  const world = new World();
  let count = 0;
  world.onWrite("after", () => {
    count += 1;
  });
  await wholeLife(world);
  expect(count).toBe(OWN_WRITES);
});

test.each(momentsOf(OWN_WRITES))(
  "a process that dies %s its write %i fills it once",
  async (when, at) => {
    const world = new World();
    const count = dieAt(world, when, at);
    await wholeLife(world);
    expect(count()).toBeGreaterThan(at);
    expect(podsMade(world)).toBe(1);
  },
);
