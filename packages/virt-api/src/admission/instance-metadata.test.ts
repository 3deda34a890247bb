import { expect, test } from "vitest";
import { machine, testDeps } from "../testing.ts";
import { judgeNewInstance } from "./instance.ts";
import { metadataFaults } from "./instance-metadata.ts";
import { judgeMachine } from "./machine.ts";
import type { AdmissionRequest, Verdict } from "./review.ts";

const LABEL = { labels: { "kubevirt.io/nodeName": "n1" } };
const HOOK = { annotations: { "hooks.kubevirt.io/hookSidecars": '[{"image": "hook:1"}]' } };

const AT = "spec.template.metadata";
const NULLS = JSON.parse('{ "labels": null, "annotations": null }') as object;

test.each<[string, Parameters<typeof metadataFaults>[0], boolean, readonly string[]]>([
  ["none at all", undefined, false, []],
  // Templates are stored as they are sent: `labels:` with nothing behind it.
  ["of null", NULLS, false, []],
  ["of null, for the control plane", NULLS, true, []],
  ["with a label beside annotations of null", { ...NULLS, ...LABEL }, false, [`${AT}.labels`]],
  ["with hooks beside labels of null", { ...NULLS, ...HOOK }, false, [`${AT}.annotations`]],
  ["of a user's own", { labels: { "kubevirt.io/os": "x" }, annotations: { a: "b" } }, false, []],
  ["with a label of the control plane", LABEL, false, ["spec.template.metadata.labels"]],
  ["with one that the control plane writes", LABEL, true, []],
  ["with hooks", HOOK, false, ["spec.template.metadata.annotations"]],
  ["with hooks, whoever writes it", HOOK, true, ["spec.template.metadata.annotations"]],
  ["with no hooks", { annotations: { "hooks.kubevirt.io/hookSidecars": "" } }, false, []],
  [
    "with both",
    { ...LABEL, ...HOOK },
    false,
    ["spec.template.metadata.labels", "spec.template.metadata.annotations"],
  ],
])("metadata %s", (_, metadata, isSystem, fields) => {
  const faults = metadataFaults(metadata, AT, isSystem);
  expect(faults.map(({ field }) => field)).toEqual(fields);
});

test("a machine is refused with hooks in its template, and so is an instance of its own", async () => {
  const deps = await testDeps();
  const asked = { operation: "CREATE", oldObject: null, userInfo: { username: "alice" } };
  const { spec } = machine({ runStrategy: "Halted" });
  const template = { ...spec.template, metadata: HOOK };
  const object = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: { name: "vm" },
    spec: { ...spec, template },
  };
  const alone = { ...object, kind: "VirtualMachineInstance", metadata: HOOK, spec: template.spec };
  const signal = AbortSignal.timeout(5_000);
  const said: readonly Verdict[] = await Promise.all([
    judgeMachine(deps, { ...asked, object } as unknown as AdmissionRequest, signal),
    judgeNewInstance(deps, { ...asked, object: alone } as unknown as AdmissionRequest, signal),
  ]);
  expect(said.map((each) => (each.allowed ? "" : each.status.message))).toEqual(
    ["spec.template.metadata", "metadata"].map(
      (at) =>
        `sidecar feature gate is not enabled in kubevirt-config, invalid entry ${at}.annotations.hooks.kubevirt.io/hookSidecars`,
    ),
  );
});
