// What the gateway tells of containers in NRI's place, and does to their creation; with the real lxcfs: tests/lxcfs-daemon.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { pollUntil } from "@trine/base";
import {
  ContainerState,
  ContainerStatusResponseSchema,
  CreateContainerRequestSchema,
  CreateContainerResponseSchema,
  ListContainersResponseSchema,
  NamespaceMode,
  PodSandboxStatusResponseSchema,
} from "@trine/proto/cri/api";
import type { Container, PodSandbox } from "@trine/proto/nri";
import { afterEach, expect, test } from "vitest";
import type { ViewsGiver } from "./container-views.ts";
import { Rig, WAIT_MS, sandboxes } from "./testing.ts";
import type { Behaviour } from "./testing.ts";
import { bytesField } from "./wire.ts";

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const SPEC = {
  mounts: [{ destination: "/proc/stat", source: "/l/proc/stat", type: "bind", options: ["ro"] }],
  linux: {
    namespaces: [{ type: "pid" }, { type: "network", path: "/n" }],
    resources: { cpu: { quota: 50_000, cpus: "0" }, memory: { limit: 4096 } },
  },
};
const created: Behaviour = () => [bytesField(1, "c1")];
const done: Behaviour = () => [Buffer.alloc(0)];

/** A verbose ContainerStatus with this under `info`. */
function status(info: string): Behaviour {
  const value = { status: { id: "c1", metadata: { name: "main" } }, info: { info } };
  return () => [
    toBinary(ContainerStatusResponseSchema, create(ContainerStatusResponseSchema, value)),
  ];
}

type Offered = [pod: PodSandbox, container: Container];
type Seen = [...Offered, isChanged: boolean];

/** Offers one mount for whatever it is asked about, and notes what it is told. */
function giver(): ViewsGiver & {
  offered: Offered[];
  kept: string[];
  seenAs: Seen[];
  gone: string[];
} {
  const [offered, kept, seenAs, gone]: [Offered[], string[], Seen[], string[]] = [[], [], [], []];
  return {
    ...{ offered, kept, seenAs, gone, backEnds: ["a"] },
    offer: (...asked) => {
      offered.push(asked);
      const mounts = [{ destination: "/proc/stat", source: "/l/proc/stat" }];
      return { mounts, keep: (id) => kept.push(id) };
    },
    seen: (...told) => seenAs.push(told),
    removed: (id) => gone.push(id),
  };
}

const CREATE = [CreateContainerRequestSchema, CreateContainerResponseSchema] as const;
const request = (podSandboxId: string): Parameters<Rig["client"]["call"]>[2] => ({
  podSandboxId,
  config: {
    metadata: { name: "main" },
    mounts: [{ containerPath: "/x", hostPath: "/y" }],
    linux: {
      resources: { cpuQuota: 50_000n },
      securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
    },
  },
  sandboxConfig: { linux: { resources: { memoryLimitInBytes: 77n } } },
});

async function startRig(info: string): Promise<ReturnType<typeof giver>> {
  const views = giver();
  const own = {
    CreateContainer: created,
    ContainerStatus: status(info),
    ...Object.fromEntries(
      ["StartContainer", "UpdateContainerResources", "StopPodSandbox"].map((name) => [name, done]),
    ),
  };
  rig = await Rig.start(
    {
      a: { ...own, ListPodSandbox: sandboxes("s1") },
      b: { CreateContainer: created, ListPodSandbox: sandboxes("s2") },
    },
    { views },
  );
  return views;
}

function createdWith(
  backEnd: string,
): { containerPath: string; hostPath: string; readonly: boolean }[] {
  const [asked] = rig.backEnd(backEnd).calls("CreateContainer");
  const message = fromBinary(CreateContainerRequestSchema, asked?.message ?? Buffer.alloc(0));
  return (message.config?.mounts ?? []).map(({ containerPath, hostPath, readonly }) => ({
    ...{ containerPath, hostPath, readonly },
  }));
}

test("a container is made with its views, read-only, and told of as it starts, changes and goes", async () => {
  const views = await startRig(JSON.stringify({ pid: 42, runtimeSpec: SPEC }));
  expect((await rig.client.call("CreateContainer", CREATE, request("s1"))).code).toBe(0);
  expect(createdWith("a")).toEqual([
    { containerPath: "/x", hostPath: "/y", readonly: false },
    { containerPath: "/proc/stat", hostPath: "/l/proc/stat", readonly: true },
  ]);
  expect(views.kept).toEqual(["c1"]);
  const [[pod, planned] = []] = views.offered;
  expect(pod).toMatchObject({
    ...{ id: "s1", name: "s1", namespace: "n" },
    linux: { podResources: { memory: { limit: { value: 77n } } } },
  });
  expect(planned).toMatchObject({
    name: "main",
    linux: {
      namespaces: [{ type: "pid", path: "" }],
      resources: { cpu: { quota: { value: 50_000n } } },
    },
  });

  for (const method of ["StartContainer", "UpdateContainerResources"]) {
    views.seenAs.length = 0;
    expect((await rig.client.raw(method, bytesField(1, "c1"))).code).toBe(0);
    await pollUntil(method, { ms: WAIT_MS }, () => views.seenAs[0]);
  }
  expect(views.seenAs[0]?.[2]).toBe(true); // it has changed
  expect(views.seenAs[0]?.[1]).toMatchObject({
    ...{ id: "c1", name: "main", pid: 42 },
    mounts: [{ destination: "/proc/stat", source: "/l/proc/stat", type: "bind" }],
    linux: {
      namespaces: [
        { type: "pid", path: "" },
        { type: "network", path: "/n" },
      ],
      resources: {
        cpu: { cpus: "0", quota: { value: 50_000n } },
        memory: { limit: { value: 4096n } },
      },
    },
  });
  await rig.client.raw("StopPodSandbox", bytesField(1, "s1"));
  expect(views.gone).toEqual(["c1"]);
});

test("containers of other back ends, and what cannot be read, are made as they were asked for", async () => {
  const views = await startRig("{}");
  await rig.client.call("CreateContainer", CREATE, request("s2"));
  expect(createdWith("b")).toHaveLength(1);
  expect(views.offered).toEqual([]);
  // A ContainerConfig that no decoder takes: the back end answers, not we.
  const garbage = Buffer.concat([
    bytesField(1, "s1"),
    bytesField(2, bytesField(15, Buffer.of(0x7f))),
  ]);
  expect((await rig.client.raw("CreateContainer", garbage)).code).toBe(0);
  expect(rig.backEnd("a").calls("CreateContainer")[0]?.message).toEqual(garbage);
});

test("a container whose configuration its back end can read and we cannot is made all the same", async () => {
  await startRig("{}");
  const image = bytesField(2, Buffer.of(0x0a, 0x7f));
  const request = Buffer.concat([bytesField(1, "s2"), bytesField(2, image)]);
  const { code, messages } = await rig.client.raw("CreateContainer", request);
  expect([code, messages]).toEqual([0, [bytesField(1, "c1")]]);
});

test.each(["{}", "no JSON", '{"pid": 1}', '{"pid": -1, "runtimeSpec": {"mounts": 7}}'])(
  "a runtime that tells %s of a container leaves it without views, and its start well",
  async (info) => {
    const views = await startRig(info);
    await rig.client.call("CreateContainer", CREATE, request("s1"));
    expect((await rig.client.raw("StartContainer", bytesField(1, "c1"))).code).toBe(0);
    await pollUntil("it was asked", { ms: WAIT_MS }, () =>
      rig.backEnd("a").calls("ContainerStatus").at(0),
    );
    expect((await rig.client.raw("StartContainer", bytesField(1, "c1"))).code).toBe(0);
    expect(views.seenAs).toEqual([]);
  },
);

test("what runs already is found at the start, by its pod's limits where it has none itself", async () => {
  const views = giver();
  const runtimeSpec = { ...SPEC, linux: { ...SPEC.linux, resources: {} } };
  const pod = create(PodSandboxStatusResponseSchema, {
    status: { id: "s1" },
    info: {
      info: JSON.stringify({ config: { linux: { resources: { memory_limit_in_bytes: 77 } } } }),
    },
  });
  const containers = [{ id: "c1", podSandboxId: "s1", state: ContainerState.CONTAINER_RUNNING }];
  const list = create(ListContainersResponseSchema, { containers });
  rig = await Rig.start(
    {
      a: {
        ListPodSandbox: sandboxes("s1"),
        ListContainers: () => [toBinary(ListContainersResponseSchema, list)],
        ContainerStatus: status(JSON.stringify({ pid: 42, runtimeSpec })),
        PodSandboxStatus: () => [toBinary(PodSandboxStatusResponseSchema, pod)],
      },
    },
    { views },
  );
  const [seenPod, container, isChanged] = await pollUntil("it was found", { ms: WAIT_MS }, () =>
    views.seenAs.at(0),
  );
  expect(container).toMatchObject({ id: "c1", pid: 42 });
  expect(isChanged).toBe(false);
  expect(seenPod.linux?.podResources).toMatchObject({
    cpu: { cpus: "", quota: { value: 0n } },
    memory: { limit: { value: 77n } },
  });
});
