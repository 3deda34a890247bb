// When the gateway tells of containers whose CPUs follow their limits; the choice itself: packages/lxcfs.
import { create, toBinary } from "@bufbuild/protobuf";
import { pollUntil } from "@trine/base";
import {
  ContainerState,
  ContainerStatusResponseSchema,
  CreateContainerRequestSchema,
  ListContainersResponseSchema,
} from "@trine/proto/cri/api";
import { afterEach, expect, test, vi } from "vitest";
import type { ViewsGiver } from "./container-views.ts";
import { frameOf } from "./grpc-frame.ts";
import { Rig, WAIT_MS, sandboxes } from "./testing.ts";
import type { Behaviour } from "./testing.ts";
import { bytesField, stringAt } from "./wire.ts";

let rig: Rig;
afterEach(async () => {
  vi.useRealTimers();
  await rig.stop();
});

const done: Behaviour = () => [Buffer.alloc(0)];
const hangs: Behaviour = () => undefined;

/** Puts everything on CPU 3, and notes in words what it is told. */
function giver(): ViewsGiver & { readonly told: string[] } {
  const told: string[] = [];
  const note = (words: string): void => {
    told.push(words);
  };
  return {
    ...{ told, backEnds: ["a"], offer: () => undefined, seen: () => undefined },
    removed: () => undefined,
    cpuSets: {
      offer: () => "3",
      made: (id, pod, { name }) => {
        note(`made ${id} ${pod.id}/${name}`);
      },
      refused: (pod, { name }) => {
        note(`refused ${pod.id}/${name}`);
      },
      seen: (pod, { id }) => {
        note(`seen ${pod.id}/${id}`);
      },
      resized: (_source, pod, { id }) => {
        note(`resized ${pod.id}/${id}`);
        return "3";
      },
      synchronizing: (source) => {
        note(`asks ${source}`);
        return (all, known) => {
          const looked = all.map(({ container }) => container.id);
          const there = known.map(({ pod, container }) => `${pod.id}/${container.name}`);
          note(`found ${looked.join(" ")}; there ${there.join(" ")}`);
        };
      },
      removed: (id) => {
        note(`removed ${id}`);
      },
      podRemoved: (id) => {
        note(`pod removed ${id}`);
      },
    },
  };
}

/** Containers of sandbox s1, by the id that is asked for, each named as its id is. */
function containers(states: Readonly<Record<string, ContainerState>>): Behaviour {
  return ({ message }) => {
    const items = Object.entries(states)
      .filter(([id]) => id.startsWith(stringAt(message, 1, 1)))
      .map(([id, state]) => ({ id, podSandboxId: "s1", state, metadata: { name: `n-${id}` } }));
    const list = create(ListContainersResponseSchema, { containers: items });
    return [toBinary(ListContainersResponseSchema, list)];
  };
}

const status: Behaviour = ({ message }) => {
  const info = JSON.stringify({ pid: 7, runtimeSpec: {} });
  const value = { status: { id: stringAt(message, 1) }, info: { info } };
  return [toBinary(ContainerStatusResponseSchema, create(ContainerStatusResponseSchema, value))];
};

/** What there is without a word of the pod's limits. */
const LOOKS = { ContainerStatus: status, PodSandboxStatus: done, ListPodSandbox: sandboxes("s1") };

const told = (views: { readonly told: string[] }, words: string): Promise<string> =>
  pollUntil(words, { ms: WAIT_MS }, () => views.told.find((each) => each.startsWith(words)));

const CREATE = toBinary(
  CreateContainerRequestSchema,
  create(CreateContainerRequestSchema, {
    podSandboxId: "s1",
    config: { metadata: { name: "main" } },
    sandboxConfig: {},
  }),
);

test.each<[string, Behaviour, string[]]>([
  ["is made", () => [bytesField(1, "c1")], ["made c1 s1/main"]],
  ["is refused", () => ({ status: 2, message: "no" }), ["refused s1/main"]],
  ["may be made yet: its back end is away", () => ({ status: 14, message: "away" }), []],
  ["may be made yet: it took too long", () => ({ status: 4, message: "late" }), []],
])("a container that %s", async (_, CreateContainer, words) => {
  const views = giver();
  rig = await Rig.start({ a: { ...LOOKS, CreateContainer } }, { views });
  await told(views, "found");
  views.told.length = 0;
  await rig.client.raw("CreateContainer", CREATE);
  expect(views.told).toEqual(words);
});

test("of containers that are there all are told, also those that could not be asked or do not run yet", async () => {
  const views = giver();
  const { CONTAINER_CREATED, CONTAINER_EXITED, CONTAINER_RUNNING } = ContainerState;
  const states = {
    ...{ c1: CONTAINER_RUNNING, c2: CONTAINER_RUNNING, c3: CONTAINER_CREATED },
    c4: CONTAINER_EXITED,
  };
  const ContainerStatus: Behaviour = (request) =>
    stringAt(request.message, 1) === "c2" ? { status: 2, message: "broken" } : status(request);
  const ListContainers = containers(states);
  rig = await Rig.start({ a: { ...LOOKS, ListContainers, ContainerStatus } }, { views });
  expect(await told(views, "found")).toBe("found c1; there s1/n-c1 s1/n-c2 s1/n-c3");
  expect(views.told[0]).toBe("asks a"); // before anything is
  expect(await told(views, "seen")).toBe("seen s1/c1");

  const methods = { StartContainer: done, StopPodSandbox: done, RemovePodSandbox: done };
  Object.assign(rig.backEnd("a").methods, methods);
  await rig.client.raw("StartContainer", bytesField(1, "c3"));
  await told(views, "seen s1/c3");
  await rig.client.raw("RemovePodSandbox", bytesField(1, "s1"));
  expect(views.told.slice(-3).sort()).toEqual(["pod removed s1", "removed c1", "removed c3"]);
});

test("a giver that fails is the end of nothing: neither when lists are read, nor when ends are noticed", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const views = giver();
  const { cpuSets } = views;
  if (cpuSets === undefined) throw new Error("no CPU sets");
  const fails = (words: string): never => {
    views.told.push(words);
    throw new Error("the disk is full");
  };
  const failing: ViewsGiver = {
    ...views,
    cpuSets: {
      ...cpuSets,
      synchronizing: () => () => fails("fails to synchronize"),
      removed: (id) => fails(`fails to remove ${id}`),
    },
  };
  const { CONTAINER_RUNNING } = ContainerState;
  const running = containers({ c1: CONTAINER_RUNNING, c2: CONTAINER_RUNNING });
  rig = await Rig.start({ a: { ...LOOKS, ListContainers: running } }, { views: failing });
  await told(views, "fails to synchronize");
  rig.backEnd("a").methods["ListContainers"] = done;
  expect((await rig.client.raw("ListContainers", Buffer.alloc(0))).code).toBe(0);
  vi.advanceTimersByTime(60_000);
  const removals = views.told.filter((each) => each.startsWith("fails to remove"));
  expect(removals).toEqual(["fails to remove c1", "fails to remove c2"]); // each once
});

test("a limit that changes is looked up as its call waits for it, and a call that is gone changes nothing", async () => {
  const views = giver();
  const { CONTAINER_RUNNING } = ContainerState;
  rig = await Rig.start({ a: { ...LOOKS, UpdateContainerResources: done }, b: {} }, { views });
  await told(views, "found");
  const { methods } = rig.backEnd("a");
  // Made by another than we: it is in no list that we have seen.
  methods["ListContainers"] = containers({ c1: CONTAINER_RUNNING });
  methods["ContainerStatus"] = hangs;
  const C1 = bytesField(1, "c1");
  const call = rig.client.open("UpdateContainerResources", { "x-told": "yes" });
  call.stream.end(frameOf(C1));
  const asked = await pollUntil(
    "it is looked up",
    { ms: WAIT_MS },
    () => rig.backEnd("a").calls("ContainerStatus")[0],
  );
  expect(asked.headers["x-told"]).toBe("yes");
  call.stream.close(8);
  await pollUntil("that ends too", { ms: WAIT_MS }, () => asked.stream.closed || undefined);
  await pollUntil("the call is told of", { ms: WAIT_MS }, () =>
    rig.seen.find(({ method }) => method === "UpdateContainerResources"),
  );
  expect(rig.backEnd("a").calls("UpdateContainerResources")).toEqual([]);
  expect(views.told.filter((each) => each.startsWith("resized"))).toEqual([]);

  methods["ContainerStatus"] = status;
  expect((await rig.client.raw("UpdateContainerResources", C1)).code).toBe(0);
  expect(await told(views, "resized")).toBe("resized s1/c1");
  const [sent] = rig.backEnd("a").calls("UpdateContainerResources");
  expect(sent?.message.subarray(C1.length)).toEqual(bytesField(2, bytesField(6, "3")));
});
