import type { VirtualMachineInstanceSpec, Volume } from "@trine/kube-types";
import { claimOf } from "./disks.ts";
import { type Parts, joined } from "./parts.ts";
import { textVolume } from "./text-volumes.ts";

/** Where a guest with cloud-init finds a volume that is a directory. */
const VOLUMES = "/run/trine/volumes";

/** Volumes that the guest has as directories: those that `filesystems` name. A machine without any sees none of its pod's. */
export function directoryParts(spec: VirtualMachineInstanceSpec): Parts {
  const { volumes = [], domain } = spec;
  const named = new Set((domain.devices.filesystems ?? []).map(({ name }) => name));
  const shared = volumes.filter(({ name }) => named.has(name));
  const account = volumes.find(({ serviceAccount }) => serviceAccount !== undefined);
  const token = account?.serviceAccount;
  const serviceAccountName = token?.serviceAccountName ?? spec.serviceAccountName;
  return joined([
    { annotations: { "trine.dev/shares": shared.length > 0 ? "virtiofs" : "off" } },
    ...shared.map(share),
    {
      pod: {
        automountServiceAccountToken: token !== undefined,
        ...(serviceAccountName === undefined || serviceAccountName === ""
          ? {}
          : { serviceAccountName }),
      },
    },
  ]);
}

function share(volume: Volume): Parts {
  const source = sourceOf(volume);
  if (source === undefined) return {};
  const { name } = volume;
  const isClaim = "persistentVolumeClaim" in source;
  const mount = { name, mountPath: `${VOLUMES}/${name}`, ...(isClaim ? {} : { readOnly: true }) };
  return { volumes: [{ name, ...source }], mounts: [mount] };
}

/** The volume of a pod; the token of a service account is mounted by Kubernetes itself. */
function sourceOf(volume: Volume): Readonly<Record<string, unknown>> | undefined {
  const claim = claimOf(volume);
  if (claim === undefined) return textVolume(volume);
  return { persistentVolumeClaim: { claimName: claim.claimName, readOnly: claim.readOnly } };
}
