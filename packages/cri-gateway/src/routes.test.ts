// By which rule each pod is where it is, also after a restart, with back ends that speak raw gRPC on real HTTP/2 servers.
import { create, toBinary } from "@bufbuild/protobuf";
import { pollUntil } from "@trine/base";
import {
  ListPodSandboxResponseSchema,
  RunPodSandboxRequestSchema,
  RunPodSandboxResponseSchema,
} from "@trine/proto/cri/api";
import { afterEach, expect, test } from "vitest";
import type { RoutingConfig } from "./routing.ts";
import type { Behaviour, Reply } from "./testing.ts";
import { Rig, WAIT_MS } from "./testing.ts";
import { bytesField, stringAt } from "./wire.ts";

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const RUN = [RunPodSandboxRequestSchema, RunPodSandboxResponseSchema] as const;
const TARGET = { "kubernetes.io/target-runtime": "virtlet.cloud" };
const RULES: Partial<RoutingConfig> = {
  rules: [
    { targetRuntime: "virtlet.cloud", backEnd: "b", useHandler: "trine-vm" },
    { handler: "old", backEnd: "b", useHandler: "runc" },
  ],
};

const run: Behaviour = ({ message }) => [bytesField(1, `id-${stringAt(message, 1, 1, 1)}`)];

async function ask(name: string, annotations = {}, runtimeHandler = ""): Promise<number> {
  const metadata = { name, uid: `uid-${name}`, namespace: "n", attempt: 0 };
  const config = { metadata, annotations };
  return (await rig.client.call("RunPodSandbox", RUN, { config, runtimeHandler })).code;
}

/** What a back end lists that made these. */
function made(
  ...pods: { name: string; runtimeHandler: string; annotations?: Record<string, string> }[]
): Behaviour {
  const items = pods.map(({ name, ...more }) => ({
    id: `id-${name}`,
    metadata: { name, uid: `uid-${name}`, namespace: "n", attempt: 0 },
    ...more,
  }));
  const message = create(ListPodSandboxResponseSchema, { items });
  return (): Reply => [toBinary(ListPodSandboxResponseSchema, message)];
}

test("each pod's rule is told as it was when the pod was made, and why one was refused", async () => {
  rig = await Rig.start(
    { a: { RunPodSandbox: run }, b: { RunPodSandbox: run } },
    { routing: RULES },
  );
  expect([await ask("plain"), await ask("vm", TARGET), await ask("who", {}, "unheard")]).toEqual([
    0, 0, 0,
  ]);
  expect(await ask("bad", { "kubernetes.io/target-runtime": "rkt" })).toBe(3);
  const told = rig.gateway.routes();
  expect(told.map(({ name, backEnd, handler, from }) => [name, backEnd, handler, from])).toEqual([
    ["plain", "a", "", "made"],
    ["who", "a", "unheard", "made"],
    ["vm", "b", "trine-vm", "made"],
    ["bad", "", "", "refused"],
  ]);
  const why = Object.fromEntries(told.map((route) => [route.name, route.why]));
  expect(why["plain"]).toBe("no rule: the default back end");
  expect(why["vm"]).toBe('rule kubernetes.io/target-runtime: "virtlet.cloud"');
  expect(why["who"]).toMatch(/^handler "unheard": no back end reports it/);
  expect(why["bad"]).toMatch(/no rule of the gateway has targetRuntime "rkt"/);
  expect(told[2]).toMatchObject({ podNamespace: "n", uid: "uid-vm", sandboxId: "id-vm" });
  expect(told[3]?.refusedAt).toMatch(/^\d{4}-\d\d-\d\dT/);
});

test("a pod that was refused and is made later is refused no more", async () => {
  const taken: Behaviour = () => ({ status: 13, message: "not now" });
  rig = await Rig.start({ a: { RunPodSandbox: taken }, b: {} }, { routing: RULES });
  expect(await ask("p", { "kubernetes.io/target-runtime": "rkt" })).toBe(3);
  expect(rig.gateway.routes()).toMatchObject([{ name: "p", from: "refused" }]);
  expect(await ask("p")).toBe(13);
  expect(rig.gateway.routes()).toEqual([]);
});

test("of pods that an earlier gateway made the present rules tell, or that none of them leads there", async () => {
  rig = await Rig.start(
    {
      a: { ListPodSandbox: made({ name: "plain", runtimeHandler: "" }) },
      b: {
        ListPodSandbox: made(
          { name: "vm", runtimeHandler: "trine-vm", annotations: TARGET },
          { name: "renamed", runtimeHandler: "runc" },
          { name: "beside", runtimeHandler: "" },
        ),
      },
    },
    { routing: RULES },
  );
  const told = await pollUntil("both are read", { ms: WAIT_MS }, () => {
    const routes = rig.gateway.routes();
    return routes.length === 4 ? routes : undefined;
  });
  expect(told.map(({ name, from }) => [name, from])).toEqual([
    ["plain", "rules"],
    ["vm", "rules"],
    ["renamed", "rules"],
    ["beside", "rules"],
  ]);
  expect(told.map(({ why }) => why)).toEqual([
    "no rule: the default back end",
    'rule kubernetes.io/target-runtime: "virtlet.cloud"',
    'rule handler "old"',
    "no rule of today leads there: it is older than the rules, or was made beside the gateway",
  ]);
});
