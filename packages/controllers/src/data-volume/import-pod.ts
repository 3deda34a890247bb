import { parseQuantity } from "@trine/base";
import type { Pod, PodSpec } from "@trine/kube-client";
import type { ObjectMeta } from "@trine/kube-types";
import { FILLER_CONTAINER as CONTAINER } from "@trine/node-door";
import type { FILL_PLACES, GiveOrder, VolumeOrder } from "@trine/node-door";
import type { LaunchSettings } from "../vmi/settings.ts";

const ASKS = { cpu: "100m", memory: "128Mi" } as const;
/** Kubelet ends who needs more, and tries again. What unpacks has up to 768 MiB, a disk's tables some 200; more is a disk's that is made for it. */
const MEMORY_LIMIT = "2Gi";

interface Parts {
  readonly metadata: ObjectMeta;
  readonly order: VolumeOrder | GiveOrder;
  readonly settings: Pick<LaunchSettings, "runtimeClass" | "emptyImage">;
  /** Absent: one that holds nothing. */
  readonly image?: string;
  readonly pod: Readonly<Record<string, unknown>>;
  /** Processors and memory, where that is more than an import needs. */
  readonly asks?: Readonly<Record<string, string>>;
  readonly container: Readonly<Record<string, unknown>>;
  readonly volumes: NonNullable<PodSpec["volumes"]>;
}

/** A pod in which the node's importer does what it is ordered. */
export function importPod(parts: Parts): Pod {
  const { metadata, order, settings, image, pod, asks = {}, container, volumes } = parts;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, app: "containerized-data-importer" },
      annotations: { ...metadata.annotations, "trine.dev/imports": CONTAINER },
    },
    spec: {
      runtimeClassName: settings.runtimeClass,
      restartPolicy: "OnFailure",
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...pod,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 107,
        fsGroup: 107,
        seccompProfile: { type: "RuntimeDefault" },
      },
      containers: [
        {
          name: CONTAINER,
          image: image ?? settings.emptyImage,
          // `trine install` has put that on the node: it is in no registry.
          ...(image === undefined ? { imagePullPolicy: "IfNotPresent" } : {}),
          command: ["import"],
          args: [JSON.stringify(order)],
          resources: resourcesFor(asks),
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
          },
          terminationMessagePath: "/dev/termination-log",
          ...container,
        },
      ],
      volumes,
    },
  };
}

/** No less than it needs, and never more asked for than it may have. */
function resourcesFor({ cpu = "0", memory = "0" }: Readonly<Record<string, string>>): object {
  const asked = {
    cpu: larger(ASKS.cpu, cpu),
    memory: larger(ASKS.memory, memory),
  };
  return { requests: asked, limits: { memory: larger(MEMORY_LIMIT, asked.memory) } };
}

function larger(one: string, other: string): string {
  return (parseQuantity(other, 1000n) ?? 0n) > (parseQuantity(one, 1000n) ?? 0n) ? other : one;
}

interface Use {
  readonly volumeMounts?: readonly object[];
  readonly volumeDevices?: readonly object[];
}

/** How a container has a volume of its pod. */
export function useOf(
  name: string,
  block: boolean,
  at: (typeof FILL_PLACES)["target" | "source"],
  readOnly = false,
): Use {
  if (block) return { volumeDevices: [{ name, devicePath: at.device }] };
  return { volumeMounts: [{ name, mountPath: at.directory, ...(readOnly ? { readOnly } : {}) }] };
}
