import type { Pod, Stored } from "@trine/kube-client";
import type { ByPath } from "@trine/kube-types/testing";
import { expect, test } from "vitest";
import { instance } from "../testing.ts";
import { happeningsOf } from "./happenings.ts";
import { filledSpec } from "./render-pod.ts";

const VOLUME: ByPath = {
  "spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "block" } },
};

function synchronized(reason: string): ByPath {
  const condition = {
    type: "Synchronized",
    status: "False",
    reason,
    message: "in kubelet's words",
  };
  return { "status.conditions": [condition] };
}

test.each<[string, ByPath, ByPath, ByPath, boolean]>([
  ["lacks", VOLUME, {}, synchronized("ErrImagePull"), true],
  ["lacked before", VOLUME, synchronized("ErrImagePull"), synchronized("ImagePullBackOff"), false],
  ["has", VOLUME, {}, synchronized("CreateContainerError"), false],
  ["lacks a machine's own", {}, {}, synchronized("ErrImagePull"), false],
])("a node that %s the empty image is told of once, with the remedy", (_, spec, was, is, told) => {
  const vmi = instance({ ...spec, ...was });
  const pod = {
    metadata: { name: "pod" },
    spec: { nodeName: "n1", containers: [] },
    status: { containerStatuses: [{ name: "compute", image: "trine.dev/machine" }] },
  } as unknown as Stored<Pod>;
  const seen = {
    ...{ vmi, pod, spec: filledSpec(vmi), heard: undefined, isFenced: false },
    ...{ claim: () => undefined, dataVolume: () => undefined, rendering: undefined },
    ...{ asks: {}, attempt: undefined },
    now: new Date(),
  };
  const found = happeningsOf(seen, { do: "nothing" }, instance({ ...spec, ...is }));
  const message =
    "Node n1 lacks the image trine.dev/machine of machines whose root is a volume: run trine install there";
  const event = { type: "Warning", reason: "MissingEmptyImage", message };
  expect(found).toEqual(told ? [event] : []);
});

const given = (status: string, message?: string): ByPath => {
  const condition = { type: "AccessCredentialsSynchronized", status };
  return { "status.conditions": [message === undefined ? condition : { ...condition, message }] };
};

test.each<[string, ByPath, ByPath, string | undefined]>([
  ["are given", given("False", "no agent"), given("True"), "AccessCredentialsSyncSuccess"],
  ["are given at once", {}, given("True"), "AccessCredentialsSyncSuccess"],
  ["are as they were", given("True"), given("True"), undefined],
  ["wait for the first boot", {}, given("False", "no agent"), undefined],
  ["are refused", given("True"), given("False", "no web"), "AccessCredentialsSyncFailed"],
  ["are gone with the machine", given("True"), {}, undefined],
])("keys and passwords that %s", (_, was, is, reason) => {
  const vmi = instance(was);
  const seen = {
    ...{ vmi, pod: undefined, spec: filledSpec(vmi), heard: undefined, isFenced: false },
    ...{ claim: () => undefined, dataVolume: () => undefined, rendering: undefined },
    ...{ asks: {}, attempt: undefined },
    now: new Date(),
  };
  const found = happeningsOf(seen, { do: "nothing" }, instance(is));
  expect(found.map((each) => each.reason)).toEqual(reason === undefined ? [] : [reason]);
});
