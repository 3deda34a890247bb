// Where sandboxes and images go, and that each is made once, with back ends that speak raw gRPC on real HTTP/2 servers.
import { create, toBinary } from "@bufbuild/protobuf";
import {
  CreateContainerRequestSchema,
  CreateContainerResponseSchema,
  ListContainersRequestSchema,
  ListContainersResponseSchema,
  ListPodSandboxRequestSchema,
  ListPodSandboxResponseSchema,
  PodSandboxSchema,
  PodSandboxState,
  PullImageRequestSchema,
  PullImageResponseSchema,
  RunPodSandboxRequestSchema,
  RunPodSandboxResponseSchema,
} from "@trine/proto/cri/api";
import { pollUntil } from "@trine/base";
import { afterEach, expect, test } from "vitest";
import type { Behaviour, Reply } from "./testing.ts";
import { Rig, WAIT_MS, sandboxes } from "./testing.ts";
import { bytesField, stringAt } from "./wire.ts";

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const LIST = [ListPodSandboxRequestSchema, ListPodSandboxResponseSchema] as const;
const RUN = [RunPodSandboxRequestSchema, RunPodSandboxResponseSchema] as const;
const CREATE = [CreateContainerRequestSchema, CreateContainerResponseSchema] as const;

const idOf = (id: string): Reply => [bytesField(1, id)];

async function listed(): Promise<string[]> {
  const { value } = await rig.client.call("ListPodSandbox", LIST, {});
  return value.items.map(({ id }) => id).sort();
}

const pod = (name: string, annotations: Record<string, string> = {}, privileged = false) => ({
  metadata: { name, uid: name, namespace: "n", attempt: 0 },
  annotations,
  linux: { securityContext: { privileged } },
});

test("a sandbox goes where handler, target runtime, trust and the default say, in this order", async () => {
  const run: Behaviour = ({ message }) => idOf(`id-${stringAt(message, 1, 1, 1)}`);
  rig = await Rig.start(
    { a: { RunPodSandbox: run }, b: { RunPodSandbox: run } },
    {
      routing: {
        rules: [
          { handler: "other", backEnd: "b" },
          { targetRuntime: "virtlet.cloud", backEnd: "b", useHandler: "trine-vm" },
        ],
        untrusted: { handler: "trine-microvm", backEnd: "b", hostAccess: "refuse" },
      },
    },
  );
  const target = { "kubernetes.io/target-runtime": "virtlet.cloud" };
  const distrust = { "io.kubernetes.cri.untrusted-workload": "true" };
  const cases = [
    { name: "p1", annotations: {}, handler: "", to: "a", asked: "" },
    { name: "p2", annotations: target, handler: "other", to: "b", asked: "other" },
    {
      name: "p3",
      annotations: { ...target, ...distrust },
      handler: "",
      to: "b",
      asked: "trine-vm",
    },
    { name: "p4", annotations: distrust, handler: "", to: "b", asked: "trine-microvm" },
    {
      name: "p5",
      annotations: { "io.kubernetes.cri-o.TrustedSandbox": "false" },
      handler: "",
      to: "b",
      asked: "trine-microvm",
    },
    {
      name: "p6",
      annotations: { "io.kubernetes.cri-o.TrustedSandbox": "true" },
      handler: "",
      to: "a",
      asked: "",
    },
    { name: "p7", annotations: {}, handler: "unheard", to: "a", asked: "unheard" },
  ];
  for (const { name, annotations, handler, to, asked } of cases) {
    const { code } = await rig.client.call("RunPodSandbox", RUN, {
      config: pod(name, annotations),
      runtimeHandler: handler,
    });
    expect([name, code]).toEqual([name, 0]);
    const got = rig
      .backEnd(to)
      .calls("RunPodSandbox")
      .find((each) => stringAt(each.message, 1, 1, 1) === name);
    expect([name, got && stringAt(got.message, 2)]).toEqual([name, asked]);
  }
  const refused = [
    { annotations: distrust, privileged: true, code: 7 },
    { annotations: { "kubernetes.io/target-runtime": "who" }, privileged: false, code: 3 },
    { annotations: { "io.kubernetes.cri.untrusted-workload": "yes" }, privileged: false, code: 3 },
  ];
  for (const { annotations, privileged, code } of refused) {
    const answer = await rig.client.call("RunPodSandbox", RUN, {
      config: pod("px", annotations, privileged),
    });
    expect([answer.code, answer.message !== ""]).toEqual([code, true]);
  }
});

test("a sandbox asked for again joins the request under way, whose client may have left", async () => {
  const { promise: made, resolve: make } = Promise.withResolvers<Reply>();
  rig = await Rig.start({ a: { RunPodSandbox: () => made } });
  const first = rig.client.call(
    "RunPodSandbox",
    RUN,
    { config: pod("p") },
    { "grpc-timeout": "300m" },
  );
  expect((await first).code).toBe(4);
  const second = rig.client.call("RunPodSandbox", RUN, { config: pod("p") });
  await pollUntil("the second is there", { ms: WAIT_MS }, () =>
    rig.seen.length > 0 ? true : undefined,
  );
  expect(rig.backEnd("a").calls("RunPodSandbox")[0]?.stream.aborted).toBe(false);
  make(idOf("id-p"));
  expect((await second).value.podSandboxId).toBe("id-p");
  expect(rig.backEnd("a").calls("RunPodSandbox")).toHaveLength(1);
});

test("a sandbox that an earlier gateway made is the answer, also where its name is still taken", async () => {
  const list = sandboxes("p");
  let isMade = false;
  const ready: Behaviour = () => [bytesField(1, bytesField(1, "p"))];
  rig = await Rig.start({
    a: {
      ListPodSandbox: (request) => (isMade ? list(request) : [Buffer.alloc(0)]),
      PodSandboxStatus: ready,
      RunPodSandbox: () => {
        isMade = true; // by the request before, which holds the name meanwhile
        return {
          status: 2,
          message: 'failed to reserve sandbox name "p": name "p" is reserved for "x"',
        };
      },
    },
  });
  const config = { metadata: { name: "p", uid: "p", namespace: "n", attempt: 0 } };
  const answer = await rig.client.call("RunPodSandbox", RUN, { config });
  expect([answer.code, answer.value.podSandboxId]).toEqual([0, "p"]);
  await rig.stopGateway();
  await rig.startGateway();
  const again = await rig.client.call("RunPodSandbox", RUN, { config });
  expect(again.value.podSandboxId).toBe("p");
  expect(rig.backEnd("a").calls("RunPodSandbox")).toHaveLength(1);
});

test("the name of a sandbox that runs no more is no reason to wait", async () => {
  const item = toBinary(
    PodSandboxSchema,
    create(PodSandboxSchema, {
      id: "p",
      metadata: { name: "p", uid: "p", namespace: "n", attempt: 0 },
      state: PodSandboxState.SANDBOX_NOTREADY,
    }),
  );
  const message = 'name "p" is reserved for "p"';
  rig = await Rig.start({
    a: {
      ListPodSandbox: () => [bytesField(1, item)],
      RunPodSandbox: () => ({ status: 2, message }),
    },
  });
  const answer = await rig.client.call("RunPodSandbox", RUN, { config: pod("p") });
  expect(answer).toMatchObject({ code: 2, message });
  expect(rig.backEnd("a").calls("RunPodSandbox")).toHaveLength(1);
});

test("a container's pull outlives the client's deadline, and the next request joins it", async () => {
  const { promise: pulled, resolve: finish } = Promise.withResolvers<Reply>();
  let isThere = false;
  rig = await Rig.start({
    a: {},
    b: {
      ListPodSandbox: sandboxes("b1"),
      ImageStatus: () => (isThere ? [bytesField(1, bytesField(1, "i"))] : [Buffer.alloc(0)]),
      PullImage: () => pulled,
      CreateContainer: () => (isThere ? idOf("c1") : { status: 5, message: "no image" }),
    },
  });
  expect(await listed()).toEqual(["b1"]);
  const request = { podSandboxId: "b1", config: { image: { image: "x:1" } } };
  const late = { "grpc-timeout": "300m" };
  expect((await rig.client.call("CreateContainer", CREATE, request, late)).code).toBe(4);
  const second = rig.client.call("CreateContainer", CREATE, request);
  await pollUntil("it is refused and looks for the image", { ms: WAIT_MS }, () =>
    rig.backEnd("b").calls("ImageStatus").length === 2 ? true : undefined,
  );
  expect(rig.backEnd("b").calls("PullImage")[0]?.stream.closed).toBe(false);
  isThere = true;
  finish(idOf("i"));
  expect((await second).value.containerId).toBe("c1");
  expect(rig.backEnd("b").calls("PullImage")).toHaveLength(1);
});

test("a container's image is pulled by its own back end, with the credentials of the last pull", async () => {
  let pulled = false;
  rig = await Rig.start({
    a: { PullImage: () => idOf("sha256:1") },
    b: {
      ListPodSandbox: sandboxes("b1"),
      ImageStatus: () => (pulled ? [bytesField(1, bytesField(1, "sha256:1"))] : [Buffer.alloc(0)]),
      PullImage: () => {
        pulled = true;
        return idOf("sha256:1");
      },
      CreateContainer: () => (pulled ? idOf("c1") : { status: 5, message: "no image" }),
    },
  });
  const pull = [PullImageRequestSchema, PullImageResponseSchema] as const;
  const auth = { username: "u", password: "p" };
  expect(
    (await rig.client.call("PullImage", pull, { image: { image: "x:1" }, auth })).value.imageRef,
  ).toBe("sha256:1");
  const config = { metadata: { name: "m" }, image: { image: "sha256:1" } };
  const made = await rig.client.call("CreateContainer", CREATE, { podSandboxId: "b1", config });
  expect([made.code, made.value.containerId]).toEqual([0, "c1"]);
  const request = rig.backEnd("b").calls("PullImage")[0]?.message ?? Buffer.alloc(0);
  expect([stringAt(request, 1, 1), stringAt(request, 2, 1), stringAt(request, 2, 2)]).toEqual([
    "x:1",
    "u",
    "p",
  ]);
  // What was made and not listed yet is known all the same.
  await rig.backEnd("b").stop();
  const schema = [ListContainersRequestSchema, ListContainersResponseSchema] as const;
  const { value } = await rig.client.call("ListContainers", schema, {});
  expect(value.containers.map(({ id, podSandboxId }) => [id, podSandboxId])).toEqual([
    ["c1", "b1"],
  ]);
});

test("a pull for a pod goes to the back end of its sandbox", async () => {
  const pull = (): Reply => idOf("sha256:2");
  rig = await Rig.start({
    a: { PullImage: pull },
    b: { ListPodSandbox: sandboxes("b1"), PullImage: pull },
  });
  expect(await listed()).toEqual(["b1"]);
  const sandboxConfig = { metadata: { name: "b1", uid: "b1", namespace: "n", attempt: 0 } };
  const schemas = [PullImageRequestSchema, PullImageResponseSchema] as const;
  await rig.client.call("PullImage", schemas, { image: { image: "x" }, sandboxConfig });
  expect([
    rig.backEnd("a").calls("PullImage").length,
    rig.backEnd("b").calls("PullImage").length,
  ]).toEqual([0, 1]);
});
