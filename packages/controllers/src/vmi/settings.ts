import type { KubeVirtConfiguration } from "@trine/kube-types";
import { parseQuantity } from "@trine/base";

/** What the cluster says of all machines' pods. */
export interface LaunchSettings {
  readonly runtimeClass: string;
  /** Image of a machine whose root is no image of its own: it holds nothing. */
  readonly emptyImage: string;
  /** Images as volumes of pods; some clusters have them turned off. */
  readonly imageVolumes: boolean;
  /** Virtual processors for each processor that is asked for. */
  readonly cpuAllocationRatio: number;
  /** Asked for a machine that says nothing of processors. */
  readonly cpuRequest?: string;
  /** The guest's memory in percent of what is asked for. */
  readonly memoryOvercommit: number;
  /** What the RuntimeClass charges for a machine beyond the guest's memory: measured (vm-memory). */
  readonly overheadBytes: number;
  /** As many times that overhead is asked for. */
  readonly overheadRatio: number;
  readonly nodeSelectors: Readonly<Record<string, string>>;
  readonly smbios: Readonly<
    Record<"manufacturer" | "product" | "version" | "sku" | "family", string | undefined>
  >;
  /** Of claims that keep firmware's variables and TPMs; undefined: the cluster's default. */
  readonly stateStorageClass: string | undefined;
}

const MIB = 1024 ** 2;

/** deploy/overhead.json, from which the RuntimeClass is written. */
const OVERHEAD_BYTES = 96 * MIB;

/** Of the KubeVirt object; what it leaves open is as KubeVirt has it. */
export function launchSettings(
  configuration: KubeVirtConfiguration = {},
  { emptyImage }: { readonly emptyImage: string },
): LaunchSettings {
  const { developerConfiguration, smbios, cpuRequest } = configuration;
  const { disabledFeatureGates = [] } = developerConfiguration ?? {};
  const ratio = Number(configuration.additionalGuestMemoryOverheadRatio ?? 1);
  return {
    runtimeClass: configuration.defaultRuntimeClass ?? "trine-vm",
    emptyImage,
    imageVolumes: !disabledFeatureGates.includes("ImageVolume"),
    cpuAllocationRatio: positive(developerConfiguration?.cpuAllocationRatio, 10),
    ...(cpuRequest === undefined ? {} : { cpuRequest: String(cpuRequest) }),
    memoryOvercommit: positive(developerConfiguration?.memoryOvercommit, 100),
    overheadBytes: OVERHEAD_BYTES,
    overheadRatio: Number.isFinite(ratio) && ratio >= 1 ? ratio : 1,
    nodeSelectors: developerConfiguration?.nodeSelectors ?? {},
    smbios: {
      manufacturer: smbios?.manufacturer,
      product: smbios?.product,
      version: smbios?.version,
      sku: smbios?.sku,
      family: smbios?.family,
    },
    stateStorageClass: configuration.vmStateStorageClass,
  };
}

function positive(value: number | undefined, otherwise: number): number {
  return value !== undefined && value > 0 ? value : otherwise;
}

/** A quantity of an object that was checked, in bytes; undefined where there is none. */
export function bytesOf(quantity: number | string | undefined): number | undefined {
  const bytes = quantity === undefined ? undefined : parseQuantity(String(quantity));
  return bytes === undefined ? undefined : Number(bytes);
}
