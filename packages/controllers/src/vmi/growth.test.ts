import { TrineError } from "@trine/base";
import type { ByPath } from "@trine/kube-types/testing";
import { INSTANCES } from "../kinds.ts";
import { describe, expect, test } from "vitest";
import { AT, Crash, World, life } from "./testing/world.ts";

const GIB = 1024 ** 3;
const FOUR = { sockets: 1, cores: 1, threads: 1, maxSockets: 4 };
const ROOM = { "spec.domain.cpu": FOUR, "spec.domain.memory": { guest: "1Gi", maxGuest: "4Gi" } };
const MORE = { "spec.domain.cpu.sockets": 2, "spec.domain.memory.guest": "2Gi" };
const DEFERRED = {
  type: "PodResizePending",
  reason: "Deferred",
  message: "Node didn't have enough resource: memory",
};

/** A machine that runs, with kubelet's word of what its pod has. */
async function running(): Promise<World> {
  const world = new World();
  await world.create(ROOM);
  await life(world);
  await world.give();
  await world.settle();
  return world;
}

/** The VirtualMachine's controller has patched it, kubelet gives what is asked, and the guest follows. */
async function growth(world: World): Promise<void> {
  await world.wish(MORE);
  await world.settle();
  await world.give();
  await world.settle();
}

test("a machine grows where it is: first its pod's requests, with kubelet's consent, then its guest", async () => {
  const world = await running();
  const before = await world.requests();
  await world.wish(MORE);
  await world.settle();
  expect(await world.requests()).toEqual({ ...before, cpu: "200m", memory: "2Gi" });
  expect(world.grown).toEqual([]);
  expect(await world.condition("HotVCPUChange")).toMatchObject({ status: "True" });
  expect(await world.condition("HotMemoryChange")).toMatchObject({ status: "True" });
  expect((await world.vmi).status).toMatchObject({
    currentCPUTopology: { sockets: 1 },
    memory: { guestAtBoot: "1Gi", guestCurrent: "1Gi", guestRequested: "2Gi" },
  });

  await world.give();
  await world.settle();
  expect(world.grown).toEqual([{ cpus: 2, memoryBytes: 2 * GIB }]);
  expect(await world.condition("HotVCPUChange")).toBeUndefined();
  expect(await world.condition("HotMemoryChange")).toBeUndefined();
  expect((await world.vmi).status).toMatchObject({
    currentCPUTopology: { sockets: 2 },
    memory: { guestAtBoot: "1Gi", guestCurrent: "2Gi", guestRequested: "2Gi" },
  });
  const resized = world.kube.writes.filter(({ subresource }) => subresource === "resize");
  expect(resized).toHaveLength(1);
});

test.each([
  ["Deferred", "True"],
  ["Infeasible", "False"],
])(
  "what kubelet says against it is told (%s), and the guest has what it had until kubelet gives",
  async (reason, status) => {
    const world = await running();
    const before = await world.requests();
    await world.wish(MORE);
    await world.settle();
    await world.give({ ...DEFERRED, reason });
    await world.settle();
    const { message } = DEFERRED;
    expect(await world.condition("HotMemoryChange")).toMatchObject({ status, reason, message });
    expect(world.grown).toEqual([]);

    // Taken back: the pod asks for what its guest has.
    await world.wish({ "spec.domain.cpu.sockets": 1, "spec.domain.memory.guest": "1Gi" });
    await world.settle();
    expect(await world.requests()).toEqual(before);
    expect(await world.condition("HotMemoryChange")).toBeUndefined();
    await world.give();
    await world.settle();
    expect(world.grown).toEqual([]);
  },
);

test("a resize of the pod that has failed is told as kubelet says it", async () => {
  const world = await running();
  await world.wish(MORE);
  await world.settle();
  const message = "cgroup: no space";
  await world.give({ type: "PodResizeInProgress", reason: "Error", message });
  await world.settle();
  expect(await world.condition("HotVCPUChange")).toMatchObject({
    status: "True",
    reason: "Error",
    message,
  });
  expect(world.grown).toEqual([]);
});

test.each([
  ["wrongState", "Refused"],
  ["timeout", "GuestNotFollowing"],
  ["unavailable", "NodeUnavailable"],
] as const)(
  "a node that answers %s is told as %s, and asked again after half a minute",
  async (kind, reason) => {
    const world = await running();
    world.refusesGrowth = new TrineError(kind, "the machine was started with 1 CPU");
    await world.wish(MORE);
    await world.settle();
    await world.give();
    await world.rest(30_000);
    expect(await world.condition("HotVCPUChange")).toMatchObject({
      status: "False",
      reason,
      message: "the machine was started with 1 CPU",
    });
    world.refusesGrowth = undefined;
    await world.rest(25_000);
    expect(world.grown).toEqual([]);
    world.nowMs += 30_000;
    await world.settle();
    expect(world.grown).toHaveLength(1);
    expect(await world.condition("HotVCPUChange")).toBeUndefined();
  },
);

test("a pod that may not ask for more is told, in the API server's words, and the guest does not grow", async () => {
  const world = await running();
  world.kube.hooks.before = ({ subresource }) => {
    if (subresource === "resize") throw new TrineError("forbidden", "exceeded quota");
  };
  await world.wish(MORE);
  await world.rest(30_000);
  expect(await world.condition("HotMemoryChange")).toMatchObject({
    status: "False",
    reason: "Refused",
    message: expect.stringContaining("exceeded quota") as string,
  });
  // In the same words each time: nothing is written that would bring it back.
  for (let time = 0; time < 3; time += 1) {
    world.nowMs += 30_000;
    await world.rest(30_000);
  }
  Reflect.deleteProperty(world.kube.hooks, "before");
  world.nowMs += 30_000;
  await world.settle();
  expect(await world.condition("HotMemoryChange")).toEqual(
    expect.not.objectContaining({ reason: "Refused" }),
  );
  await world.give();
  await world.settle();
  expect(world.grown).toHaveLength(1);
});

test.each<[string, ByPath, object, object]>([
  [
    "its own requests, beyond them",
    { requests: { cpu: "3", memory: "512Mi" } },
    { cpu: "3", memory: "512Mi" },
    { cpu: "3100m", memory: "1536Mi" },
  ],
  [
    "limits, up to them",
    { requests: { cpu: "3", memory: "1Gi" }, limits: { cpu: "3050m", memory: "1536Mi" } },
    { cpu: "3", memory: "1Gi" },
    { cpu: "3050m", memory: "1536Mi" },
  ],
  [
    "a limit of processors alone, which is what they use",
    { limits: { cpu: "3" } },
    { cpu: "3", memory: "1Gi" },
    { cpu: "3", memory: "2Gi" },
  ],
])("what a machine grows by is asked for with %s", async (_, resources, before, after) => {
  const world = new World();
  await world.create({ ...ROOM, "spec.domain.resources": resources });
  await life(world);
  await world.give();
  await world.settle();
  expect(await world.requests()).toEqual(before);
  await growth(world);
  expect(await world.requests()).toEqual(after);
  expect(world.grown).toEqual([{ cpus: 2, memoryBytes: 2 * GIB }]);
  await world.settle();
  expect(await world.requests()).toEqual(after);
});

test("a pod asks for no less than its guest has, though the change was taken back while the guest followed", async () => {
  const world = await running();
  await growth(world);
  await world.wish({ "spec.domain.cpu.sockets": 1, "spec.domain.memory.guest": "1Gi" });
  await world.settle();
  expect((await world.vmi).status).toMatchObject({
    currentCPUTopology: { sockets: 2 },
    memory: { guestCurrent: "2Gi", guestRequested: "1Gi" },
  });
  const held = await world.requests();

  // Another change waits, and is taken back as well.
  await world.wish({ "spec.domain.memory.guest": "4Gi" });
  await world.settle();
  expect(await world.requests()).toMatchObject({ memory: "4Gi" });
  await world.give(DEFERRED);
  await world.wish({ "spec.domain.memory.guest": "1Gi" });
  await world.settle();
  expect(await world.requests()).toEqual(held);
});

describe("a controller that dies while a machine grows", () => {
  test.each(["before", "after"] as const)(
    "%s any of its writes, ends at the same",
    async (when) => {
      const straight = await running();
      const start = straight.kube.writes.length;
      await growth(straight);
      const wanted = await straight.vmi;
      const count = straight.kube.writes.length - start;
      expect(count).toBeGreaterThan(3);
      for (let at = 1; at <= count; at += 1) {
        const world = await running();
        let seen = 0;
        world.kube.hooks[when] = ({ resource, subresource }) => {
          // Kubelet's writes and the machine's controller's do not fail.
          if (world.isOthers || (resource === "pods" && subresource === "status")) return;
          seen += 1;
          if (seen === at) throw new Crash(`write ${seen}`);
        };
        await growth(world);
        expect((await world.vmi).status).toEqual({
          ...wanted.status,
          activePods: (await world.vmi).status?.activePods,
        });
        expect(world.grown.at(-1)).toEqual({ cpus: 2, memoryBytes: 2 * GIB });
      }
    },
  );
});

test("a size that no machine can have is told, and neither the pod nor its guest is touched", async () => {
  const world = await running();
  const before = await world.requests();
  await world.wish({ "spec.domain.cpu.sockets": 300 });
  await world.give(DEFERRED);
  await world.settle();
  expect(await world.requests()).toEqual(before);
  expect(world.grown).toEqual([]);
  expect(await world.condition("HotVCPUChange")).toMatchObject({
    status: "False",
    reason: "Refused",
    message: "no machine can have what the spec says",
  });
});

test("an instance that is gone is not grown", async () => {
  const world = await running();
  await world.wish(MORE);
  await world.kube.delete(INSTANCES, AT);
  await world.settle();
  expect(world.kube.writes.some(({ subresource }) => subresource === "resize")).toBe(false);
});
