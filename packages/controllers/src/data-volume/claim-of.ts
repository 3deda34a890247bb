import type { PersistentVolumeClaim } from "@trine/kube-client";
import type { DataVolume } from "@trine/kube-types";
import { ownedBy } from "../owner.ts";
import { bytesOf } from "../vmi/settings.ts";
import type { ClaimFacts, Volume } from "./seen.ts";

const MIB = 1024 ** 2;

/** Label of all claims that a DataVolume has, as CDI's tools look for it. */
const LABELS = { app: "containerized-data-importer" };

/** The claim of a volume, or why there can be none. Pure. */
export function claimOf(
  volume: Volume,
  facts: ClaimFacts,
): PersistentVolumeClaim | { readonly refused: string } {
  const spec = specOf(volume, facts);
  if ("refused" in spec) return spec;
  const { name, namespace = "default", labels, annotations } = volume.metadata;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name,
      namespace,
      labels: { ...labels, ...LABELS },
      annotations: {
        ...annotations,
        "cdi.kubevirt.io/storage.contentType": volume.spec.contentType ?? "kubevirt",
      },
      ownerReferences: [ownedBy(volume)],
    },
    spec,
  };
}

/** Bytes that the disk is to have. Undefined for a device: all of it. */
export function diskBytes(
  { spec }: DataVolume,
  claim: PersistentVolumeClaim,
  { overhead, sourceBytes }: ClaimFacts,
): number | undefined {
  if (claim.spec.volumeMode === "Block") return undefined;
  const asked = requested(spec.storage ?? {}) ?? sourceBytes;
  if (spec.storage !== undefined && asked !== undefined) return asked;
  const bytes = requested(claim.spec) ?? 0;
  return Math.floor((bytes * (1 - overhead)) / MIB) * MIB;
}

function specOf(
  { spec }: Volume,
  { className, profile, overhead, sourceBytes }: ClaimFacts,
): PersistentVolumeClaim["spec"] | { readonly refused: string } {
  if (spec.pvc !== undefined) {
    const { resources } = spec.pvc;
    if (requested(spec.pvc) !== undefined) return spec.pvc;
    if (sourceBytes === undefined)
      return { refused: "spec.pvc.resources.requests.storage is missing" };
    const requests = { ...resources?.requests, storage: String(sourceBytes) };
    return { ...spec.pvc, resources: { ...resources, requests } };
  }
  const { storage } = spec;
  if (storage === undefined) return { refused: "neither spec.pvc nor spec.storage is there" };
  const bytes = requested(storage) ?? sourceBytes;
  if (bytes === undefined) return { refused: "spec.storage.resources.requests.storage is missing" };
  const sets = profile?.status?.claimPropertySets ?? profile?.spec.claimPropertySets ?? [];
  const fitting = sets.find(
    (set) => storage.volumeMode === undefined || set.volumeMode === storage.volumeMode,
  );
  const volumeMode = storage.volumeMode ?? fitting?.volumeMode ?? "Filesystem";
  const accessModes = storage.accessModes ?? fitting?.accessModes ?? ["ReadWriteOnce"];
  // The disk is as large as asked: its file system needs more.
  const whole = volumeMode === "Block" ? bytes : Math.ceil(bytes / (1 - overhead) / MIB) * MIB;
  const requests = { ...storage.resources?.requests, storage: String(whole) };
  return {
    // By name: the API server's own default may be another.
    ...(className === undefined ? {} : { storageClassName: className }),
    ...storage,
    accessModes,
    volumeMode,
    resources: { ...storage.resources, requests },
  };
}

export function requested({
  resources,
}: {
  readonly resources?: PersistentVolumeClaim["spec"]["resources"];
}): number | undefined {
  return bytesOf(resources?.requests?.["storage"]);
}
