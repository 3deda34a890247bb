import type { PersistentVolumeClaim } from "@trine/kube-client";
import type { Instance } from "./seen.ts";
import type { LaunchSettings } from "./settings.ts";

/** Variables of the firmware and a TPM's state: KubeVirt's size of the same. */
const SIZE = "10Mi";

/** The claim that keeps them. It is the VirtualMachine's where there is one: its next instance finds it. */
export function stateClaim(
  { metadata }: Instance,
  name: string,
  { stateStorageClass }: LaunchSettings,
): PersistentVolumeClaim {
  const { name: of, namespace = "", uid, ownerReferences = [] } = metadata;
  const machine = ownerReferences.find(
    ({ kind, controller }) => kind === "VirtualMachine" && controller === true,
  );
  const self = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachineInstance", name: of, uid };
  const { apiVersion, kind, name: owner, uid: ownerUid } = machine ?? self;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name,
      namespace,
      labels: { "persistent-state-for": of.slice(0, 63) },
      ownerReferences: [{ apiVersion, kind, name: owner, uid: ownerUid, controller: true }],
    },
    spec: {
      accessModes: ["ReadWriteOnce"],
      volumeMode: "Filesystem",
      resources: { requests: { storage: SIZE } },
      ...(stateStorageClass === undefined ? {} : { storageClassName: stateStorageClass }),
    },
  };
}
