import type { VirtualMachineInstanceSpec, Volume } from "@trine/kube-types";
import { claimOf } from "./disks.ts";
import { type Parts, joined, refused } from "./parts.ts";
import { filesAt, textVolume } from "./text-volumes.ts";

/** Where a guest with cloud-init finds a volume that is a directory. */
const VOLUMES = "/run/trine/volumes";
const FIELD = "spec.domain.devices.filesystems";
/** What trine.dev/share-tags takes. */
const MOST = 8;
/** Of virtio's file systems, in bytes. */
const LONGEST_TAG = 36;

/** Volumes that the guest has as directories: those that `filesystems` name. A machine without any sees none of its pod's. */
export function directoryParts(spec: VirtualMachineInstanceSpec): Parts {
  const { volumes = [], domain } = spec;
  const { filesystems = [] } = domain.devices;
  const named = new Set(filesystems.map(({ name }) => name));
  const shared = volumes.filter(({ name }) => named.has(name));
  const tags = Object.fromEntries(shared.map((volume) => [volume.name, placeOf(volume)]));
  const account = volumes.find(({ serviceAccount }) => serviceAccount !== undefined);
  const token = account?.serviceAccount;
  const serviceAccountName = token?.serviceAccountName ?? spec.serviceAccountName;
  return joined([
    ...(shared.length === 0
      ? [{ annotations: { "trine.dev/shares": "off" } }]
      : [
          {
            annotations: {
              "trine.dev/shares": "virtiofs",
              "trine.dev/share-tags": JSON.stringify(tags),
            },
          },
        ]),
    ...(filesystems.length > MOST
      ? [refused(FIELD, `are ${filesystems.length}: at most ${MOST}`)]
      : []),
    ...filesystems.map(({ name }, index) => share(name, index, volumes)),
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

/** Where the machine's container has it, and a guest with cloud-init. */
function placeOf(volume: Volume): string {
  return filesAt(volume, `${VOLUMES}/${volume.name}`);
}

function share(name: string, index: number, volumes: readonly Volume[]): Parts {
  const volume = volumes.find((each) => each.name === name);
  if (volume === undefined) return {};
  const at = `${FIELD}[${index}].name`;
  if (name.length > LONGEST_TAG) {
    return refused(at, `is longer than ${LONGEST_TAG} characters, which no guest takes as a tag`);
  }
  // Kubernetes mounts it.
  if (volume.serviceAccount !== undefined) return {};
  const source = sourceOf(volume);
  if (source === undefined) return refused(at, "is no volume that a file system can be made of");
  const isWritten = "persistentVolumeClaim" in source;
  const mount = { name, mountPath: placeOf(volume), ...(isWritten ? {} : { readOnly: true }) };
  return { volumes: [{ name, ...source }], mounts: [mount] };
}

/** The volume of a pod; the token of a service account is mounted by Kubernetes itself. */
function sourceOf(volume: Volume): Readonly<Record<string, unknown>> | undefined {
  const claim = claimOf(volume);
  if (claim === undefined) return textVolume(volume);
  return { persistentVolumeClaim: { claimName: claim.claimName, readOnly: claim.readOnly } };
}
