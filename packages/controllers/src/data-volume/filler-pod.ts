import type { PersistentVolumeClaim, Pod } from "@trine/kube-client";
import {
  FILLER_CONTAINER as CONTAINER,
  FILLER_LABEL,
  FILL_PLACES,
  mostFetched,
} from "@trine/node-door";
import type { VolumeOrder } from "@trine/node-door";
import { ownedBy } from "../owner.ts";
import { bytesOf } from "../vmi/settings.ts";
import { requested } from "./claim-of.ts";
import { nodesFor } from "../vmi/scheduling.ts";
import type { LaunchSettings } from "../vmi/settings.ts";
import type { Filling } from "./plan-filling.ts";
import type { Placement, Volume } from "./seen.ts";

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
  /** As of machines: what fills a volume is to be where one can have it. */
  readonly settings: Pick<LaunchSettings, "runtimeClass" | "nodeSelectors" | "emptyImage">;
}

/** The pod that holds a volume while it is filled; its program comes from the node. */
export function fillerPod(volume: Volume, wanted: Wanted): Pod {
  const { filling, claim, sizeBytes, placement, settings } = wanted;
  const { name, namespace = "default", uid } = volume.metadata;
  const isBlock = claim.spec.volumeMode === "Block";
  const order: VolumeOrder = {
    version: 1,
    id: uid,
    target: isBlock ? TARGET.device : TARGET.directory,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    source: filling.source,
  };
  const { from } = filling;
  const target = useOf("volume", isBlock, TARGET);
  const source = from === undefined ? {} : useOf("source", wanted.isSourceBlock, SOURCE, true);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: fillerName(volume),
      namespace,
      labels: { [FILLER_LABEL]: uid, app: "containerized-data-importer" },
      annotations: { "trine.dev/imports": CONTAINER },
      ownerReferences: [ownedBy(volume)],
    },
    spec: {
      runtimeClassName: settings.runtimeClass,
      restartPolicy: "OnFailure",
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...placement,
      nodeSelector: nodesFor(settings, placement?.nodeSelector),
      ...(filling.pullSecrets.length === 0
        ? {}
        : { imagePullSecrets: filling.pullSecrets.map((secret) => ({ name: secret })) }),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 107,
        fsGroup: 107,
        seccompProfile: { type: "RuntimeDefault" },
      },
      containers: [
        {
          name: CONTAINER,
          image: filling.image ?? settings.emptyImage,
          // `trine install` has put that on the node: it is in no registry.
          ...(filling.image === undefined ? { imagePullPolicy: "IfNotPresent" } : {}),
          command: ["import"],
          args: [JSON.stringify(order)],
          resources: { requests: { cpu: "100m", memory: "128Mi" } },
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
          },
          terminationMessagePath: "/dev/termination-log",
          volumeMounts: [
            { name: "work", mountPath: WORK },
            ...(target.volumeMounts ?? []),
            ...(source.volumeMounts ?? []),
            ...filling.mounts,
          ],
          volumeDevices: [...(target.volumeDevices ?? []), ...(source.volumeDevices ?? [])],
        },
      ],
      volumes: [
        { name: "work", emptyDir: { sizeLimit: String(workBytes(filling, diskOf(wanted))) } },
        { name: "volume", persistentVolumeClaim: { claimName: name } },
        ...(from === undefined
          ? []
          : [{ name: "source", persistentVolumeClaim: { claimName: from } }]),
        ...filling.volumes,
      ],
    },
  };
}

/** All of the disk, as far as it is known. */
function diskOf({ sizeBytes, claim }: Wanted): number {
  return sizeBytes ?? bytesOf(claim.status?.capacity?.["storage"]) ?? requested(claim.spec) ?? 0;
}

/** Most that lies on the node's own disk: what was fetched and what it is unpacked to, which is removed as the next is made. */
function workBytes({ source }: Filling, diskBytes: number): number {
  const isFetched = source.kind !== "blank" && source.kind !== "volume";
  return isFetched ? 2 * mostFetched(diskBytes) + WORK_BYTES : WORK_BYTES;
}

interface Use {
  readonly volumeMounts?: readonly object[];
  readonly volumeDevices?: readonly object[];
}

function useOf(
  name: string,
  block: boolean,
  at: typeof TARGET | typeof SOURCE,
  readOnly = false,
): Use {
  if (block) return { volumeDevices: [{ name, devicePath: at.device }] };
  return { volumeMounts: [{ name, mountPath: at.directory, ...(readOnly ? { readOnly } : {}) }] };
}
