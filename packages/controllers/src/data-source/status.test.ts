import type { DataSource, DataVolume } from "@trine/kube-types";
import { expect, test } from "vitest";
import { type Source, statusOf } from "./status.ts";

const NOW = new Date("2026-01-02T04:00:00Z");
const PVC = { pvc: { namespace: "golden", name: "debian" } };
const CLAIM = { metadata: { ...PVC.pvc }, spec: {} };

const sourceOf = (source: DataSource["spec"]["source"], status?: DataSource["status"]): Source => ({
  ...{ apiVersion: "cdi.kubevirt.io/v1beta1", kind: "DataSource" },
  metadata: { namespace: "golden", name: "stable", uid: "u1", resourceVersion: "1" },
  spec: { source },
  ...(status && { status }),
});

const naming = (name: string, namespace = "golden") => ({ dataSource: { namespace, name } });
const volumeIn = (phase?: "Succeeded" | "ImportInProgress"): DataVolume => ({
  metadata: { ...PVC.pvc },
  spec: {},
  ...(phase && { status: { phase } }),
});

interface Of {
  readonly named?: DataSource;
  readonly claim?: boolean;
  readonly volume?: DataVolume;
}

function said(source: Source, { named, claim = false, volume }: Of = {}) {
  const key = "golden/debian";
  return statusOf({
    ...{ source, named, now: NOW },
    claim: (of) => (claim && of === key ? CLAIM : undefined),
    volume: (of) => (of === key ? volume : undefined),
  });
}

test.each<[string, DataSource["spec"]["source"], Of, string, string]>([
  ["nothing", {}, {}, "NoSource", "No source PVC set"],
  ["a claim that is not there", PVC, {}, "NotFound", "PVC not found"],
  [
    "a claim that is being filled",
    PVC,
    { claim: true, volume: volumeIn("ImportInProgress") },
    "ImportInProgress",
    "Import DataVolume phase ImportInProgress",
  ],
  [
    "a volume that nobody has looked at",
    PVC,
    { claim: true, volume: volumeIn() },
    "Pending",
    "Import DataVolume phase Pending",
  ],
  [
    "a claim that was taken away",
    PVC,
    { volume: volumeIn("Succeeded") },
    "NotFound",
    "PVC not found",
  ],
  [
    "a snapshot",
    { snapshot: { namespace: "golden", name: "s" } },
    {},
    "SnapshotNotSupported",
    "spec.source.snapshot: is not supported",
  ],
  ["itself", naming("stable"), {}, "SelfReference", "DataSource cannot self-reference"],
  [
    "one of another namespace",
    naming("debian", "shop"),
    {
      named: { metadata: { namespace: "shop", name: "debian" }, spec: { source: PVC } },
      claim: true,
    },
    "CrossNamespaceReference",
    "DataSource cannot reference a DataSource in another namespace",
  ],
  ["one that is not there", naming("x"), {}, "NotFound", "DataSource golden/x is not there"],
  [
    "one that names a third",
    naming("x"),
    { named: { metadata: { namespace: "golden", name: "x" }, spec: { source: naming("y") } } },
    "MaxReferenceDepthReached",
    "DataSource reference chain exceeds maximum depth of 1",
  ],
])("is not ready, and stands for nothing: %s", (_, source, of, reason, message) => {
  // What it stood for before is not said any more.
  const status = said(sourceOf(source, { source: PVC }), of);
  expect(status).toEqual({
    source: {},
    conditions: [
      {
        ...{ type: "Ready", status: "False", reason, message },
        lastTransitionTime: "2026-01-02T04:00:00Z",
        lastHeartbeatTime: "2026-01-02T04:00:00Z",
      },
    ],
  });
});

test.each<[string, DataSource["spec"]["source"], Of]>([
  ["a claim of no volume's", PVC, { claim: true }],
  ["a claim that is filled", PVC, { claim: true, volume: volumeIn("Succeeded") }],
  [
    "by another one",
    naming("x"),
    { named: { metadata: { namespace: "golden", name: "x" }, spec: { source: PVC } }, claim: true },
  ],
])("is ready, and says what it stands for: %s", (_, source, of) => {
  const { source: stands, conditions } = said(sourceOf(source), of);
  expect(stands).toEqual(PVC);
  const message = "DataSource is ready to be consumed";
  expect(conditions).toMatchObject([{ status: "True", reason: "Ready", message }]);
});

test("what says the same is left as it was, and a change of state has its own time", () => {
  const old = "2026-01-01T00:00:00Z";
  const times = { lastTransitionTime: old, lastHeartbeatTime: old };
  const condition = {
    type: "Ready",
    status: "False",
    reason: "NotFound",
    message: "PVC not found",
  };
  const before = sourceOf(PVC, { source: {}, conditions: [{ ...condition, ...times }] });
  expect(said(before)).toEqual(before.status);
  const filling = said(before, { claim: true, volume: volumeIn("ImportInProgress") });
  expect(filling.conditions?.[0]).toMatchObject({ lastTransitionTime: old });
  const ready = said(before, { claim: true });
  expect(ready.conditions?.[0]).toMatchObject({ lastTransitionTime: "2026-01-02T04:00:00Z" });
});
