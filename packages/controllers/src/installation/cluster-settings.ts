import type { Stored } from "@trine/kube-client";
import { CLUSTER_DEFAULTS, type ClusterDefaults, type KubeVirt } from "@trine/kube-types";

/** What the cluster's KubeVirt object says, as far as something acts on it. */
export interface ClusterSettings {
  readonly defaults: ClusterDefaults;
  /** Of the control plane's log, in KubeVirt's numbers; 2 where nothing is said. */
  readonly verbosity: number;
  /** Fields that are there and that nothing acts on, by their paths. */
  readonly inert: readonly string[];
}

const VERBOSITY = 2;

/** Paths below `spec` that are acted on; what is below one of them is too. */
const ACTED_ON = [
  "configuration.cpuModel",
  "configuration.machineType",
  "configuration.evictionStrategy",
  "configuration.instancetype.referencePolicy",
  "configuration.network.defaultNetworkInterface",
  "configuration.liveUpdateConfiguration",
  "configuration.vmRolloutStrategy",
  "configuration.architectureConfiguration.defaultArchitecture",
  ...["amd64", "arm64", "s390x"].map(
    (name) => `configuration.architectureConfiguration.${name}.machineType`,
  ),
  ...["cpuRequest", "defaultRuntimeClass", "smbios", "vmStateStorageClass"].map(
    (name) => `configuration.${name}`,
  ),
  "configuration.additionalGuestMemoryOverheadRatio",
  ...["cpuAllocationRatio", "memoryOvercommit", "nodeSelectors", "disabledFeatureGates"].map(
    (name) => `configuration.developerConfiguration.${name}`,
  ),
  "configuration.developerConfiguration.logVerbosity.virtAPI",
  "configuration.developerConfiguration.logVerbosity.virtController",
];

const MAX_INERT = 64;

/** The object that counts: the first that was made, as KubeVirt has one only. */
export function chosenKubeVirt(objects: readonly Stored<KubeVirt>[]): Stored<KubeVirt> | undefined {
  const age = ({ metadata }: Stored<KubeVirt>): string =>
    `${metadata.creationTimestamp ?? ""} ${metadata.uid}`;
  return objects.toSorted((a, b) => (age(a) < age(b) ? -1 : 1))[0];
}

/** Its configuration with what holds where it says nothing; without an object, that alone. */
export function clusterSettings(kubeVirt: KubeVirt | undefined): ClusterSettings {
  const of = kubeVirt?.spec.configuration ?? {};
  const { machineTypes, ...others } = CLUSTER_DEFAULTS;
  const { logVerbosity } = of.developerConfiguration ?? {};
  return {
    defaults: {
      architecture: said(of.architectureConfiguration?.defaultArchitecture) ?? others.architecture,
      machineTypes: { ...machineTypes, ...machineTypesOf(of) },
      cpuModel: said(of.cpuModel) ?? others.cpuModel,
      evictionStrategy: said(of.evictionStrategy) ?? others.evictionStrategy,
      networkBinding: bindingOf(of.network?.defaultNetworkInterface) ?? others.networkBinding,
      maxHotplugRatio: ratioOf(of.liveUpdateConfiguration?.maxHotplugRatio),
      ...growthOf(of.liveUpdateConfiguration ?? {}),
      ...(of.vmRolloutStrategy === "Stage" && { rolloutStrategy: "Stage" }),
      ...policyOf(of.instancetype?.referencePolicy ?? undefined),
    },
    verbosity: Math.max(
      logVerbosity?.virtAPI ?? VERBOSITY,
      logVerbosity?.virtController ?? VERBOSITY,
    ),
    inert: inertOf(kubeVirt?.spec ?? {}),
  };
}

type Configuration = NonNullable<KubeVirt["spec"]["configuration"]>;

/** The one of an architecture before the one of all, which is KubeVirt's older field and means amd64. */
function machineTypesOf(of: Configuration): Record<string, string> {
  const { amd64, arm64, s390x } = of.architectureConfiguration ?? {};
  const pairs = [
    ["amd64", said(amd64?.machineType) ?? said(of.machineType)],
    ["arm64", said(arm64?.machineType)],
    ["s390x", said(s390x?.machineType)],
  ] as const;
  return Object.fromEntries(
    pairs.flatMap(([name, type]) => (type === undefined ? [] : [[name, type]])),
  );
}

function bindingOf(text: string | undefined): ClusterDefaults["networkBinding"] | undefined {
  return text === "bridge" || text === "masquerade" ? text : undefined;
}

function ratioOf(ratio: number | undefined): number {
  const isOne = ratio !== undefined && Number.isFinite(ratio) && ratio >= 1;
  return isOne ? Math.floor(ratio) : CLUSTER_DEFAULTS.maxHotplugRatio;
}

/** What all machines may grow to, whatever they begin with. */
function growthOf({
  maxCpuSockets,
  maxGuest,
}: NonNullable<Configuration["liveUpdateConfiguration"]>): Partial<ClusterDefaults> {
  return {
    ...(maxCpuSockets === undefined || maxCpuSockets === 0 ? {} : { maxCpuSockets }),
    ...(maxGuest === undefined ? {} : { maxGuest }),
  };
}

/** A value that is none of KubeVirt's is passed over: an object may be older than its kind's rules. */
function policyOf(policy: string | undefined): Pick<ClusterDefaults, "referencePolicy"> {
  const known = (["reference", "expand", "expandAll"] as const).find((each) => each === policy);
  return known === undefined ? {} : { referencePolicy: known };
}

function said(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

function inertOf(spec: object): readonly string[] {
  const found: string[] = [];
  const walk = (value: unknown, path: string): void => {
    if (ACTED_ON.includes(path) || value === undefined || value === null) return;
    const leadsOn = ACTED_ON.some((each) => path === "" || each.startsWith(`${path}.`));
    if (leadsOn && typeof value === "object" && !Array.isArray(value)) {
      for (const [name, part] of Object.entries(value)) {
        walk(part, path === "" ? name : `${path}.${name}`);
      }
    } else if (found.length < MAX_INERT) found.push(`spec.${path}`);
  };
  walk(spec, "");
  return found;
}
