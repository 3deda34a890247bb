// Routing, ids, lists and sandboxes, with back ends that speak raw gRPC on real HTTP/2 servers.
import { create, toBinary } from "@bufbuild/protobuf";
import {
  ContainerStatusRequestSchema,
  ContainerStatusResponseSchema,
  ImageStatusRequestSchema,
  ImageStatusResponseSchema,
  ListContainersResponseSchema,
  ListPodSandboxRequestSchema,
  ListPodSandboxResponseSchema,
  PodSandboxState,
  StatusRequestSchema,
  StatusResponseSchema,
  StopPodSandboxRequestSchema,
  StopPodSandboxResponseSchema,
} from "@trine/proto/cri/api";
import { pollUntil } from "@trine/base";
import { afterEach, expect, test, vi } from "vitest";
import type { BackEndAt } from "./routing.ts";
import type { Behaviour } from "./testing.ts";
import { Rig, WAIT_MS, sandboxes } from "./testing.ts";
import { bytesField, itemsAt, stringAt } from "./wire.ts";

vi.setConfig({ testTimeout: 4 * WAIT_MS, hookTimeout: WAIT_MS });

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const LIST = [ListPodSandboxRequestSchema, ListPodSandboxResponseSchema] as const;
const STATUS = [ContainerStatusRequestSchema, ContainerStatusResponseSchema] as const;
const STOP = [StopPodSandboxRequestSchema, StopPodSandboxResponseSchema] as const;

function containers(...ids: string[]): Behaviour {
  const schema = ListContainersResponseSchema;
  return ({ message }) => {
    const wanted = ids.filter((id) => id.startsWith(stringAt(message, 1, 1)));
    const items = wanted.map((id) => ({ id, podSandboxId: `pod-${id}` }));
    return [toBinary(schema, create(schema, { containers: items }))];
  };
}

const echo: Behaviour = ({ message }) => [message];

async function listed(): Promise<string[]> {
  const { value, code } = await rig.client.call("ListPodSandbox", LIST, {});
  expect(code).toBe(0);
  return value.items.map(({ id }) => id).sort();
}

test("defect 1: codes, words, details and metadata of a back end arrive as they were sent", async () => {
  const trailers = { "grpc-status-details-bin": "CAUSAw", "x-more": "yes" };
  const message = "no%20such%20thing%3A %E2%82%AC";
  rig = await Rig.start({
    a: {
      ContainerStatus: () => ({ status: 5, message, trailers }),
      ListContainers: containers("c1"),
    },
  });
  const answer = await rig.client.call(
    "ContainerStatus",
    STATUS,
    { containerId: "c1" },
    { traceparent: "t" },
  );
  expect(answer).toMatchObject({ code: 5, message, trailers });
  expect(rig.backEnd("a").calls("ContainerStatus")[0]?.headers["traceparent"]).toBe("t");
});

test("defect 2: the pods of a dead back end stay in lists, as they last were, behind their filters", async () => {
  rig = await Rig.start({
    a: { ListPodSandbox: sandboxes("a1") },
    b: { ListPodSandbox: sandboxes("b1", "b2") },
  });
  expect(await listed()).toEqual(["a1", "b1", "b2"]);
  await rig.backEnd("b").stop();
  expect(await listed()).toEqual(["a1", "b1", "b2"]);
  const filters = [
    { id: "b2" },
    { labelSelector: { app: "b1" } },
    { state: { state: PodSandboxState.SANDBOX_NOTREADY } },
  ];
  const ids = await Promise.all(
    filters.map(async (filter) => {
      const { value } = await rig.client.call("ListPodSandbox", LIST, { filter });
      return value.items.map(({ id }) => id).filter((id) => id.startsWith("b"));
    }),
  );
  expect(ids).toEqual([["b2"], ["b1"], []]);
});

test("a list fails while nothing is known yet of a back end that is away", async () => {
  rig = await Rig.start({ a: {}, b: { ListPodSandbox: sandboxes("b1") } }, { absent: ["b"] });
  expect((await rig.client.call("ListPodSandbox", LIST, {})).code).toBe(14);
  await rig.backEnd("b").start();
  await pollUntil("b is there", { ms: WAIT_MS }, async () => {
    const { code, value } = await rig.client.call("ListPodSandbox", LIST, {});
    return code === 0 && value.items.length === 1 ? true : undefined;
  });
});

test("defect 3: a back end that is away is a condition of the node's status", async () => {
  const conditions = [
    { type: "RuntimeReady", status: true },
    { type: "NetworkReady", status: true },
  ];
  const status =
    (name: string, features: boolean): Behaviour =>
    () => [
      toBinary(
        StatusResponseSchema,
        create(StatusResponseSchema, {
          status: { conditions },
          runtimeHandlers: [{ name: "" }, { name, features: { userNamespaces: true } }],
          features: { supplementalGroupsPolicy: features },
        }),
      ),
    ];
  rig = await Rig.start({
    a: { Status: status("runc", true) },
    b: { Status: status("kata", false) },
  });
  const ask = async () =>
    (await rig.client.call("Status", [StatusRequestSchema, StatusResponseSchema], {})).value;
  const good = await ask();
  expect(good.runtimeHandlers.map(({ name }) => name)).toEqual(["", "runc", "kata"]);
  expect(good.runtimeHandlers[2]?.features?.userNamespaces).toBe(true);
  expect(good.features?.supplementalGroupsPolicy).toBe(false); // not of every back end
  expect(good.status?.conditions.map((each) => [each.type, each.status])).toEqual([
    ["RuntimeReady", true],
    ["NetworkReady", true],
    ["BackEnd/a", true],
    ["BackEnd/b", true],
  ]);
  await rig.backEnd("b").stop();
  const bad = await ask();
  expect(bad.status?.conditions.slice(0, 2).every((each) => each.status)).toBe(true);
  expect(bad.status?.conditions.at(-1)).toMatchObject({
    type: "BackEnd/b",
    status: false,
    reason: "NoAnswer",
  });
  expect(bad.features?.supplementalGroupsPolicy).toBe(false); // its pods are the node's still
});

test("of a back end never seen no feature is claimed; of one that is away what it last had", async () => {
  const answer = toBinary(
    StatusResponseSchema,
    create(StatusResponseSchema, { features: { supplementalGroupsPolicy: true } }),
  );
  const status: Behaviour = () => [answer];
  rig = await Rig.start({ a: { Status: status }, b: { Status: status } }, { absent: ["b"] });
  const claimed = async (): Promise<boolean | undefined> => {
    const schemas = [StatusRequestSchema, StatusResponseSchema] as const;
    const { value } = await rig.client.call("Status", schemas, {});
    return value.features?.supplementalGroupsPolicy;
  };
  expect(await claimed()).toBe(false);
  await rig.backEnd("b").start();
  await pollUntil("b is seen", { ms: WAIT_MS }, async () =>
    (await claimed()) === true ? true : undefined,
  );
  await rig.backEnd("b").stop();
  expect(await claimed()).toBe(true);
});

test("defect 4: an image is found and removed by its digest wherever it is", async () => {
  const image = { id: "sha256:1", repoTags: ["x:1"], size: 5n };
  const has: Behaviour = () => [
    toBinary(ImageStatusResponseSchema, create(ImageStatusResponseSchema, { image })),
  ];
  rig = await Rig.start({
    a: { ImageStatus: () => [Buffer.alloc(0)], RemoveImage: () => ({ status: 5 }) },
    b: { ImageStatus: has, RemoveImage: () => [Buffer.alloc(0)] },
  });
  const request = { image: { image: "sha256:1" } };
  const { value } = await rig.client.call(
    "ImageStatus",
    [ImageStatusRequestSchema, ImageStatusResponseSchema],
    request,
  );
  expect(value.image).toMatchObject({ id: "sha256:1", repoTags: ["x:1"] });
  const removed = await rig.client.call(
    "RemoveImage",
    [ImageStatusRequestSchema, ImageStatusResponseSchema],
    request,
  );
  expect(removed.code).toBe(0);
  expect(rig.backEnd("b").calls("RemoveImage")).toHaveLength(1);
});

test("defect 8: events and streamed lists of all back ends come in one stream, and survive one of them", async () => {
  const event = (id: string): Buffer => bytesField(1, id);
  const open: Behaviour = ({ stream }) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    return undefined;
  };
  rig = await Rig.start({
    a: {
      GetContainerEvents: open,
      StreamContainers: containers("a1", "a2"),
    },
    b: { GetContainerEvents: open, ListContainers: containers("b1") }, // has no streams: its list stands in
  });
  const streamed = await rig.client.raw("StreamContainers", Buffer.alloc(0));
  expect(streamed.code).toBe(0);
  const ids = streamed.messages.flatMap((each) =>
    itemsAt(each, 1).map((item) => stringAt(item, 1)),
  );
  expect(ids.sort()).toEqual(["a1", "a2", "b1"]);
  const events = rig.client.open("GetContainerEvents");
  events.stream.end(Buffer.from([0, 0, 0, 0, 0]));
  const send = async (name: string, nth: number, id: string): Promise<void> => {
    const call = await pollUntil(
      `${name} is asked`,
      { ms: WAIT_MS },
      () => rig.backEnd(name).calls("GetContainerEvents")[nth],
    );
    call.stream.write(Buffer.concat([Buffer.from([0, 0, 0, 0, event(id).length]), event(id)]));
    await pollUntil(`event ${id}`, { ms: WAIT_MS }, () =>
      events.messages.some((each) => stringAt(each, 1) === id) ? true : undefined,
    );
  };
  await send("a", 0, "a1");
  await send("b", 0, "b1");
  await rig.backEnd("b").stop();
  await send("a", 0, "a2");
  await rig.backEnd("b").start();
  await send("b", 1, "b2");
  expect(events.messages.map((each) => stringAt(each, 1))).toEqual(["a1", "b1", "a2", "b2"]);
  events.stream.close();
});

test("defect 9: ids are those of the back ends, and unique beginnings of them are taken", async () => {
  rig = await Rig.start({
    a: { ListContainers: containers("abc1"), ContainerStatus: echo },
    b: { ListContainers: containers("abd2", "abx3"), ContainerStatus: echo },
  });
  for (const [id, name] of [
    ["abc1", "a"],
    ["abd", "b"],
  ] as const) {
    const answer = await rig.client.raw("ContainerStatus", bytesField(1, id));
    expect([answer.code, answer.messages[0]]).toEqual([0, bytesField(1, id)]);
    expect(rig.backEnd(name).calls("ContainerStatus")).toHaveLength(1);
  }
  expect((await rig.client.call("ContainerStatus", STATUS, { containerId: "ab" })).code).toBe(3);
});

test("an unknown id: the default's own words; a success for calls kubelet repeats; unavailable with a back end away", async () => {
  const gone: Behaviour = () => ({ status: 5, message: "not here" });
  rig = await Rig.start({
    a: { ContainerStatus: gone, StopPodSandbox: gone, RemoveContainer: gone },
    b: {},
  });
  const asked = await rig.client.call("ContainerStatus", STATUS, { containerId: "nope" });
  expect(asked).toMatchObject({ code: 5, message: "not here" });
  expect((await rig.client.call("StopPodSandbox", STOP, { podSandboxId: "nope" })).code).toBe(0);
  await rig.backEnd("b").stop();
  expect((await rig.client.call("StopPodSandbox", STOP, { podSandboxId: "nope" })).code).toBe(14);
  expect((await rig.client.call("ContainerStatus", STATUS, { containerId: "nope" })).code).toBe(14);
});

test("unknown fields go through both ways", async () => {
  rig = await Rig.start({ a: { ListContainers: containers("c1"), ContainerStatus: echo } });
  const message = Buffer.concat([bytesField(1, "c1"), bytesField(4000, "of a newer kubelet")]);
  expect((await rig.client.raw("ContainerStatus", message)).messages).toEqual([message]);
});

test("a streaming URL is the back end's where kubelet reaches it, else one of ours", async () => {
  const urls: Record<string, string> = {
    c1: "http://127.0.0.1:1/exec/a",
    c2: "/exec/a",
    c3: "https://127.0.0.1:1/exec/a",
  };
  const exec: Behaviour = ({ message }) => [bytesField(1, urls[stringAt(message, 1)] ?? "")];
  rig = await Rig.start({ a: { ListContainers: containers("c1", "c2", "c3"), Exec: exec } });
  const socket = rig.backEnd("a").socket;
  const asked = async (id: string, how: Partial<BackEndAt>): Promise<[number, string]> => {
    await rig.stopGateway();
    await rig.startGateway({ routing: { backEnds: [{ name: "a", socket, ...how }] } });
    const { code, messages } = await rig.client.raw("Exec", bytesField(1, id));
    return [code, stringAt(messages[0] ?? Buffer.alloc(0), 1)];
  };
  const ours = expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/stream\/[\w-]{22}$/) as string;
  expect(await asked("c1", {})).toEqual([0, urls["c1"]]);
  expect(await asked("c3", {})).toEqual([0, urls["c3"]]);
  expect(await asked("c2", { streaming: "direct" })).toEqual([0, urls["c2"]]);
  expect(await asked("c1", { streaming: "relay" })).toEqual([0, ours]);
  expect(await asked("c1", { streamVia: "127.0.0.1:2" })).toEqual([0, ours]);
  expect(await asked("c2", { streamVia: "/run/streams.sock" })).toEqual([0, ours]);
  expect(await asked("c2", {})).toEqual([12, ""]);
});
