import { MemoryKube } from "@trine/kube-client/testing";
import type { Stored } from "@trine/kube-client";
import {
  CLUSTER_DEFAULTS,
  type LabelSelector,
  type VirtualMachineInstance,
  type VirtualMachineInstanceReplicaSet,
} from "@trine/kube-types";
import { expect, test } from "vitest";
import { controlCaches } from "../caches.ts";
import type { ControlDeps } from "../controller.ts";
import { INSTANCES, REPLICA_SETS } from "../kinds.ts";
import { ownedBy } from "../owner.ts";
import { instance } from "../testing.ts";
import { nextSteps } from "./next-steps.ts";
import { reconcileSet } from "./reconcile-set.ts";
import { selectorText, selects } from "./selector.ts";

const LABELS = { app: "web" };
const AT = { namespace: "shop", name: "web" };
const signal = new AbortController().signal;

function setOf(
  spec: Partial<VirtualMachineInstanceReplicaSet["spec"]> = {},
): Stored<VirtualMachineInstanceReplicaSet> {
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstanceReplicaSet",
    metadata: { ...AT, uid: "set", resourceVersion: "1" },
    spec: {
      replicas: 2,
      selector: { matchLabels: LABELS },
      template: { metadata: { labels: LABELS }, spec: instance().spec },
      ...spec,
    },
  };
}

function member(name: string, of: object = {}, phase = "Running", ready = true) {
  const metadata = { ...instance().metadata, name, uid: name, labels: LABELS };
  const conditions = [{ type: "Ready", status: ready ? "True" : "False" }];
  return {
    ...instance(),
    metadata: { ...metadata, ownerReferences: [ownedBy(setOf())], ...of },
    status: { phase, conditions },
  } as Stored<VirtualMachineInstance>;
}

const names = (of: readonly Stored[]): string[] => of.map(({ metadata }) => metadata.name);

test("those that are missed least go first: not ready before ready, new before old", () => {
  const old = { creationTimestamp: "2026-01-01T00:00:00Z" };
  const fresh = { creationTimestamp: "2026-01-03T00:00:00Z" };
  const all = [
    member("old", old),
    member("fresh", fresh),
    member("unready", old, "Running", false),
    member("unready-fresh", fresh, "Scheduling", false),
  ];
  const order = [4, 3, 2, 1, 0].map((replicas) =>
    names(nextSteps(setOf({ replicas }), all).delete),
  );
  const wanted = ["unready-fresh", "unready", "fresh", "old"];
  expect(order).toEqual([0, 1, 2, 3, 4].map((count) => wanted.slice(0, count)));
});

test.each<[string, Stored<VirtualMachineInstance>[], object]>([
  ["none yet", [], { create: 2 }],
  ["one of two", [member("a")], { create: 1 }],
  ["as many as it is to have", [member("a"), member("b")], {}],
  ["one that ended", [member("a"), member("b", {}, "Failed")], { create: 1, delete: ["b"] }],
  [
    "one that goes",
    [member("a"), member("b", { deletionTimestamp: "2026-01-02T00:00:00Z" })],
    { create: 1 },
  ],
  ["one that nobody has", [member("a"), member("b", { ownerReferences: [] })], { adopt: ["b"] }],
  [
    "one that is not chosen any more",
    [member("a"), member("b", { labels: {} })],
    { create: 1, release: ["b"] },
  ],
  [
    "one of another owner",
    [member("a"), member("b", { ownerReferences: [{ uid: "x", controller: true }] })],
    { create: 1 },
  ],
])("a set of two that has %s", (_, all, wanted) => {
  const { create, delete: ended, adopt, release } = nextSteps(setOf(), all);
  expect({
    create: create.length,
    delete: names(ended),
    adopt: names(adopt),
    release: names(release),
  }).toEqual({ create: 0, delete: [], adopt: [], release: [], ...wanted });
});

test("a set that is paused, or goes, does nothing", () => {
  const going = setOf();
  const metadata = { ...going.metadata, deletionTimestamp: "2026-01-02T00:00:00Z" };
  for (const set of [setOf({ paused: true }), { ...going, metadata }]) {
    const { create, delete: ended } = nextSteps(set, [member("a", {}, "Failed")]);
    expect([create, ended]).toEqual([[], []]);
  }
});

test("names are the same for whoever decides, and none is taken twice", () => {
  const first = nextSteps(setOf({ replicas: 3 }), []).create;
  expect(nextSteps(setOf({ replicas: 3 }), []).create).toEqual(first);
  const [name = ""] = first;
  const going = { deletionTimestamp: "2026-01-02T00:00:00Z" };
  const next = nextSteps(setOf({ replicas: 3 }), [member(name, going)]).create;
  expect(next).not.toContain(name);
  expect(new Set(next).size).toBe(3);
});

test.each<[LabelSelector, boolean, string]>([
  [{}, false, ""],
  [{ matchLabels: { app: "web" } }, true, "app=web"],
  [{ matchLabels: { app: "web", b: "c" } }, false, "app=web,b=c"],
  [
    { matchExpressions: [{ key: "app", operator: "In", values: ["x", "web"] }] },
    true,
    "app in (web,x)",
  ],
  [
    { matchExpressions: [{ key: "app", operator: "NotIn", values: ["web"] }] },
    false,
    "app notin (web)",
  ],
  [{ matchExpressions: [{ key: "b", operator: "NotIn", values: ["web"] }] }, true, "b notin (web)"],
  [{ matchExpressions: [{ key: "app", operator: "Exists" }] }, true, "app"],
  [{ matchExpressions: [{ key: "app", operator: "DoesNotExist" }] }, false, "!app"],
  [{ matchExpressions: [{ key: "app", operator: "Other" }] }, false, "app"],
])("%j chooses the web: %s", (selector, chosen, text) => {
  expect(selects(selector, LABELS)).toBe(chosen);
  expect(selectorText(selector)).toBe(text);
});

function worldOf(kube: MemoryKube): ControlDeps {
  return {
    api: kube,
    caches: controlCaches((resource, indices) => kube.cache(resource, indices)),
    events: { record: () => undefined },
    defaults: () => CLUSTER_DEFAULTS,
    now: () => new Date("2026-01-02T04:00:00Z"),
    random: () => 0,
    onFailure: () => undefined,
  };
}

test("a set is filled once, even when the cache is late, and says what it has", async () => {
  const kube = new MemoryKube();
  const deps = worldOf(kube);
  const { kind, spec } = setOf({ replicas: 3 });
  await kube.create(REPLICA_SETS, { kind, metadata: AT, spec });
  kube.hold();
  await reconcileSet(deps, "shop/web", signal);
  // Nothing of it has been heard: the set's status cannot be written, and nothing is made twice.
  await expect(reconcileSet(deps, "shop/web", signal)).rejects.toMatchObject({ kind: "conflict" });
  kube.release();
  await reconcileSet(deps, "shop/web", signal);
  const made = await kube.list(INSTANCES, AT);
  expect(made.items.length).toBe(3);
  for (const vmi of made.items) {
    const conditions = [{ type: "Ready", status: "True" }];
    await kube.update(INSTANCES, { ...vmi, status: { phase: "Running", conditions } });
  }
  await reconcileSet(deps, "shop/web", signal);
  const set = await kube.get(REPLICA_SETS, AT);
  expect(set.status).toEqual({ replicas: 3, readyReplicas: 3, labelSelector: "app=web" });
  const { length } = kube.writes;
  await reconcileSet(deps, "shop/web", signal);
  expect(kube.writes.length).toBe(length);
});

test("a set whose selector does not choose its own template makes nothing", async () => {
  const kube = new MemoryKube();
  const { kind, spec } = setOf({ selector: { matchLabels: { app: "other" } } });
  await kube.create(REPLICA_SETS, { kind, metadata: AT, spec });
  await expect(reconcileSet(worldOf(kube), "shop/web", signal)).rejects.toMatchObject({
    kind: "invalid",
  });
  expect((await kube.list(INSTANCES, AT)).items).toEqual([]);
  expect((await kube.get(REPLICA_SETS, AT)).status?.conditions).toMatchObject([
    { type: "ReplicaFailure", status: "True" },
  ]);
});
