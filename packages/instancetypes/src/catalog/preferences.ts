import type { VirtualMachineClusterPreference } from "@trine/kube-types";
import type { PreferenceSpec } from "../specs.ts";
import { PREFIX, VENDOR } from "./labels.ts";
import { LINUX_SYSTEMS } from "./linux.ts";
import type { System } from "./system.ts";
import { WINDOWS_SYSTEMS } from "./windows.ts";

/** Systems from before virtio. */
const LEGACY: System = {
  name: "legacy",
  title: "Legacy Guest",
  icon: "icon-other",
  type: "legacy",
  devices: { preferredDiskBus: "sata", preferredInterfaceModel: "e1000" },
};

/** What guests of each system want of their machine. */
export function clusterPreferences(): readonly VirtualMachineClusterPreference[] {
  return [LEGACY, ...LINUX_SYSTEMS, ...WINDOWS_SYSTEMS].map(preference);
}

function preference(system: System): VirtualMachineClusterPreference {
  const { name, title, icon, type, architecture, needs } = system;
  return {
    apiVersion: "instancetype.kubevirt.io/v1beta1",
    kind: "VirtualMachineClusterPreference",
    metadata: {
      name,
      annotations: {
        "openshift.io/display-name": title,
        "openshift.io/provider-display-name": "Trine",
        iconClass: icon,
        tags: `hidden,kubevirt,${type}`,
      },
      labels: {
        [`${PREFIX}/vendor`]: VENDOR,
        [`${PREFIX}/os-type`]: type,
        ...(architecture !== undefined && {
          [`${PREFIX}/arch`]: architecture,
          [`${PREFIX}/preferred-architecture`]: architecture,
          [`${PREFIX}/required-architecture`]: architecture,
        }),
        ...(needs !== undefined && {
          [`${PREFIX}/required-cpu`]: String(needs[0]),
          [`${PREFIX}/required-memory`]: needs[1],
        }),
      },
    },
    spec: specOf(system),
  };
}

function specOf(system: System): PreferenceSpec {
  const { type, architecture, needs, annotations, devices, efi, cpu, rest } = system;
  const secure = efi?.secureBoot === true;
  return {
    ...rest,
    annotations: { "vm.kubevirt.io/os": type, ...annotations },
    ...(cpu !== undefined && { cpu }),
    devices,
    // Secure boot keeps its keys in memory that only SMM may write.
    ...(secure && { features: { ...rest?.features, preferredSmm: {} } }),
    ...(efi !== undefined && { firmware: { preferredEfi: efi } }),
    ...(architecture !== undefined && { preferredArchitecture: architecture }),
    ...(needs !== undefined && {
      requirements: {
        cpu: { guest: needs[0] },
        memory: { guest: needs[1] },
        ...(architecture !== undefined && { architecture }),
      },
    }),
  };
}
