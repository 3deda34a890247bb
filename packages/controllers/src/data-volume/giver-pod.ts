import type { Pod } from "@trine/kube-client";
import { FILLER_LABEL, FILL_PLACES } from "@trine/node-door";
import { nodesFor } from "../vmi/scheduling.ts";
import type { LaunchSettings } from "../vmi/settings.ts";
import { fillerName } from "./filler-pod.ts";
import { importPod, useOf } from "./import-pod.ts";
import type { ClaimAt } from "./plan-filling.ts";
import type { Volume } from "./seen.ts";

/** Of a giver: `NAMESPACE/NAME` of the volume. An owner has to be of the same namespace. */
const GIVES_TO = "copies.trine.dev/gives-to";
/** Index of givers. */
export const BY_TAKER = "taker";

const { source: SOURCE } = FILL_PLACES;

export function takerOf({ metadata }: Pod): string | undefined {
  return metadata?.annotations?.[GIVES_TO];
}

export function byTaker(pod: Pod): readonly string[] {
  const taker = takerOf(pod);
  return taker === undefined ? [] : [taker];
}

/** It follows from the volume, as the filler's does. */
export function giverName(volume: Volume): string {
  return fillerName(volume).replace(/^import-/, "give-");
}

interface Wanted {
  readonly far: ClaimAt;
  readonly isBlock: boolean;
  readonly settings: Pick<LaunchSettings, "runtimeClass" | "nodeSelectors" | "emptyImage">;
}

/** The pod that holds a claim of another namespace, read-only, and gives it to whom the control plane joins it with. */
export function giverPod(volume: Volume, { far, isBlock, settings }: Wanted): Pod {
  const { name, namespace = "default", uid } = volume.metadata;
  return importPod({
    metadata: {
      name: giverName(volume),
      namespace: far.namespace,
      labels: { [FILLER_LABEL]: uid },
      annotations: { [GIVES_TO]: `${namespace}/${name}` },
    },
    order: { version: 1, give: isBlock ? SOURCE.device : SOURCE.directory },
    settings,
    pod: { nodeSelector: nodesFor(settings, undefined) },
    container: { ...useOf("source", isBlock, SOURCE, true) },
    volumes: [
      {
        name: "source",
        // Else kubelet gives the files to the pod's group.
        persistentVolumeClaim: { claimName: far.name, ...(isBlock ? {} : { readOnly: true }) },
      },
    ],
  });
}
