import { expect, test } from "vitest";
import { CLAIMS, SETTINGS, instance } from "../testing.ts";
import { renderPod } from "./render-pod.ts";

const CONFIG = '{"ignition": {"version": "3.4.0"}}';

function rendered(annotations: Readonly<Record<string, string>>) {
  const made = renderPod(instance({ "metadata.annotations": annotations }), CLAIMS, SETTINGS);
  return "pod" in made
    ? Object.entries(made.pod.metadata?.annotations ?? {}).filter(([key]) => /ignition/.test(key))
    : made.refusals.map(({ field }) => field);
}

test.each<[string, Readonly<Record<string, string>>, unknown]>([
  ["none", {}, []],
  ["an empty one", { "kubevirt.io/ignitiondata": "" }, []],
  [
    "KubeVirt's annotation is the node's, once",
    { "kubevirt.io/ignitiondata": CONFIG },
    [["trine.dev/ignition", CONFIG]],
  ],
  [
    "one that is no config is refused",
    { "kubevirt.io/ignitiondata": "version: 1" },
    ["metadata.annotations[trine.dev/ignition]"],
  ],
  [
    "two that say different things are refused",
    {
      "kubevirt.io/ignitiondata": CONFIG,
      "trine.dev/ignition": '{"ignition": {"version": "3.3.0"}}',
    },
    ["metadata.annotations[trine.dev/ignition]"],
  ],
])("Ignition: %s", (_, annotations, wanted) => {
  expect(rendered(annotations)).toEqual(wanted);
});
