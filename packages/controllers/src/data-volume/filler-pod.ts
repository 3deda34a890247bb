import type { PersistentVolumeClaim, Pod } from "@trine/kube-client";
import { FILLER_LABEL, FILL_PLACES, mostFetched, mostUnpacked } from "@trine/node-door";
import type { VolumeOrder } from "@trine/node-door";
import { ownedBy } from "../owner.ts";
import { bytesOf } from "../vmi/settings.ts";
import { requested } from "./claim-of.ts";
import { importPod, useOf } from "./import-pod.ts";
import { nodesFor } from "../vmi/scheduling.ts";
import type { LaunchSettings } from "../vmi/settings.ts";
import type { Filling } from "./plan-filling.ts";
import { type Placement, type Volume, isPreallocated } from "./seen.ts";

const { work: WORK, target: TARGET, source: SOURCE } = FILL_PLACES;
const MAX_NAME = 63;
/** Marks, jails, what is told of itself. */
const WORK_BYTES = 64 * 1024 ** 2;

/** It follows from the volume: two leaders make the same. */
export function fillerName({ metadata: { name, uid } }: Volume): string {
  const tail = uid.slice(0, 8);
  const head = `import-${name}`.slice(0, MAX_NAME - tail.length - 1).replace(/[^a-z0-9]+$/, "");
  return `${head.replaceAll(".", "-")}-${tail}`;
}

interface Wanted {
  readonly filling: Filling;
  readonly claim: PersistentVolumeClaim;
  /** The claim that is copied is a device. */
  readonly isSourceBlock: boolean;
  readonly sizeBytes: number | undefined;
  readonly placement: Placement | undefined;
  /** Other claims of its machine: they are named, so that one node is chosen for all, and not mounted. */
  readonly beside?: readonly string[];
  /** What the machine will ask for where it goes. */
  readonly asks?: Readonly<Record<string, string>>;
  /** As of machines: what fills a volume is to be where one can have it. */
  readonly settings: Pick<LaunchSettings, "runtimeClass" | "nodeSelectors" | "emptyImage">;
}

/** The pod that holds a volume while it is filled; its program comes from the node. */
export function fillerPod(volume: Volume, wanted: Wanted): Pod {
  const { filling, claim, sizeBytes, placement, beside = [], asks = {}, settings } = wanted;
  const { nodeSelector, affinity, tolerations } = placement ?? {};
  const { name, namespace = "default", uid } = volume.metadata;
  const { priorityClassName, serviceAccountName } = volume.spec;
  const isBlock = claim.spec.volumeMode === "Block";
  const order: VolumeOrder = {
    version: 1,
    id: uid,
    target: isBlock ? TARGET.device : TARGET.directory,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(isPreallocated(volume, claim) && { preallocate: true }),
    source: filling.source,
  };
  const { from, image } = filling;
  const target = useOf("volume", isBlock, TARGET);
  const source = from === undefined ? {} : useOf("source", wanted.isSourceBlock, SOURCE, true);
  return importPod({
    metadata: {
      name: fillerName(volume),
      namespace,
      labels: { [FILLER_LABEL]: uid },
      ownerReferences: [ownedBy(volume)],
    },
    order,
    settings,
    ...(image === undefined ? {} : { image }),
    pod: {
      ...(affinity && { affinity }),
      ...(tolerations && { tolerations }),
      ...(priorityClassName !== undefined && priorityClassName !== "" && { priorityClassName }),
      ...(serviceAccountName !== undefined && serviceAccountName !== "" && { serviceAccountName }),
      nodeSelector: nodesFor(settings, nodeSelector),
      ...(filling.pullSecrets.length === 0
        ? {}
        : { imagePullSecrets: filling.pullSecrets.map((secret) => ({ name: secret })) }),
    },
    asks,
    container: {
      volumeMounts: [
        { name: "work", mountPath: WORK },
        ...(target.volumeMounts ?? []),
        ...(source.volumeMounts ?? []),
        ...filling.mounts,
      ],
      volumeDevices: [...(target.volumeDevices ?? []), ...(source.volumeDevices ?? [])],
    },
    volumes: [
      { name: "work", emptyDir: { sizeLimit: String(workBytes(filling, diskOf(wanted))) } },
      { name: "volume", persistentVolumeClaim: { claimName: name } },
      ...(from === undefined
        ? []
        : [{ name: "source", persistentVolumeClaim: { claimName: from } }]),
      ...beside
        .filter((claimName) => claimName !== from)
        .map((claimName, index) => ({
          name: `beside-${index}`,
          persistentVolumeClaim: { claimName },
        })),
      ...filling.volumes,
    ],
  });
}

/** All of the disk, as far as it is known. */
function diskOf({ sizeBytes, claim }: Wanted): number {
  return sizeBytes ?? bytesOf(claim.status?.capacity?.["storage"]) ?? requested(claim.spec) ?? 0;
}

/** Most that lies on the node's own disk: what was fetched and what it is unpacked to, which is removed as the next is made. */
function workBytes({ source }: Filling, diskBytes: number): number {
  const isFetched = !["blank", "volume", "copy"].includes(source.kind);
  return isFetched ? mostFetched(diskBytes) + mostUnpacked(diskBytes) + WORK_BYTES : WORK_BYTES;
}
