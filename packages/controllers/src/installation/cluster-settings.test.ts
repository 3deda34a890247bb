import type { Stored } from "@trine/kube-client";
import { CLUSTER_DEFAULTS, type KubeVirt } from "@trine/kube-types";
import { expect, test } from "vitest";
import { chosenKubeVirt, clusterSettings } from "./cluster-settings.ts";

type Configuration = NonNullable<KubeVirt["spec"]["configuration"]>;
const withConfiguration = (configuration: Configuration): KubeVirt => ({ spec: { configuration } });

test("nothing said is as KubeVirt has it", () => {
  const plain = { defaults: CLUSTER_DEFAULTS, verbosity: 2, inert: [] };
  expect(clusterSettings(undefined)).toEqual(plain);
  expect(clusterSettings({ spec: {} })).toEqual(plain);
  expect(clusterSettings(withConfiguration({ cpuModel: "", machineType: "" }))).toEqual(plain);
});

test.each<[string, Configuration, object]>([
  ["the model of processors", { cpuModel: "EPYC" }, { cpuModel: "EPYC" }],
  [
    "the machine, by the older field",
    { machineType: "pc" },
    { machineTypes: { ...CLUSTER_DEFAULTS.machineTypes, amd64: "pc" } },
  ],
  [
    "the machine of an architecture before that",
    {
      machineType: "pc",
      architectureConfiguration: {
        amd64: { machineType: "q35" },
        arm64: { machineType: "virt-9" },
      },
    },
    { machineTypes: { ...CLUSTER_DEFAULTS.machineTypes, amd64: "q35", arm64: "virt-9" } },
  ],
  [
    "the architecture",
    { architectureConfiguration: { defaultArchitecture: "arm64" } },
    { architecture: "arm64" },
  ],
  [
    "how machines leave a node",
    { evictionStrategy: "LiveMigrate" },
    { evictionStrategy: "LiveMigrate" },
  ],
  [
    "the binding of the pod's network",
    { network: { defaultNetworkInterface: "masquerade" } },
    { networkBinding: "masquerade" },
  ],
  [
    "a binding that is none",
    { network: { defaultNetworkInterface: "slirp" } },
    { networkBinding: CLUSTER_DEFAULTS.networkBinding },
  ],
  [
    "how far machines may grow",
    { liveUpdateConfiguration: { maxHotplugRatio: 2 } },
    { maxHotplugRatio: 2 },
  ],
  [
    "what all machines may grow to",
    { liveUpdateConfiguration: { maxCpuSockets: 8, maxGuest: "8Gi" } },
    { maxCpuSockets: 8, maxGuest: "8Gi" },
  ],
  [
    "what becomes of instance types",
    { instancetype: { referencePolicy: "expandAll" } },
    { referencePolicy: "expandAll" },
  ],
  [
    "that changes wait for a start",
    { vmRolloutStrategy: "Stage" as const },
    { rolloutStrategy: "Stage" as const },
  ],
  ["that changes come at once, which they do", { vmRolloutStrategy: "LiveUpdate" as const }, {}],
  [
    "growth that is none",
    { liveUpdateConfiguration: { maxHotplugRatio: 0 } },
    { maxHotplugRatio: CLUSTER_DEFAULTS.maxHotplugRatio },
  ],
])("says %s", (_, configuration, changed) => {
  const { defaults, inert } = clusterSettings(withConfiguration(configuration));
  expect(defaults).toEqual({ ...CLUSTER_DEFAULTS, ...changed });
  expect(inert).toEqual([]);
});

test("the log is as loud as the loudest part asks", () => {
  const logVerbosity = { virtAPI: 3, virtController: 6 };
  const { verbosity, inert } = clusterSettings(
    withConfiguration({ developerConfiguration: { logVerbosity } }),
  );
  expect(verbosity).toBe(6);
  expect(inert).toEqual([]);
});

test("names what nothing acts on, by the path that was written", () => {
  const { inert } = clusterSettings({
    spec: {
      imageTag: "v1",
      configuration: {
        cpuModel: "EPYC",
        minCPUModel: "Penryn",
        developerConfiguration: { featureGates: ["Snapshot"], useEmulation: true },
      },
    },
  });
  expect(inert).toEqual([
    "spec.imageTag",
    "spec.configuration.minCPUModel",
    "spec.configuration.developerConfiguration.featureGates",
    "spec.configuration.developerConfiguration.useEmulation",
  ]);
});

test("the object that was first counts, and of two at once always the same", () => {
  const of = (uid: string, creationTimestamp: string): Stored<KubeVirt> =>
    ({
      metadata: { name: uid, uid, creationTimestamp, resourceVersion: "1" },
      spec: {},
    }) as unknown as Stored<KubeVirt>;
  const [a, b, c] = [
    of("a", "2026-02-01T00:00:00Z"),
    of("b", "2026-01-01T00:00:00Z"),
    of("c", "2026-01-01T00:00:00Z"),
  ];
  expect(chosenKubeVirt([a, c, b])).toBe(b);
  expect(chosenKubeVirt([])).toBeUndefined();
});
