import { CLAIMS, type Stored, type WorkQueue, keyOf } from "@trine/kube-client";
import type { Controller } from "../controller.ts";
import { DATA_VOLUMES } from "../kinds.ts";
import { controllerOf } from "../owner.ts";
import { newest, queueController } from "../queue-controller.ts";
import { claimOf } from "../vmi/disks.ts";
import { takerOf } from "./giver-pod.ts";
import type { VolumeDeps } from "./look.ts";
import { VolumeReconciler } from "./reconcile-dv.ts";

/** Makes and fills the claims of DataVolumes. */
export function volumeController(deps: VolumeDeps): Controller {
  const reconciler = new VolumeReconciler(deps);
  const { dataVolumes, claims, instances, fillers, kubeVirts } = deps.caches;
  return queueController({
    name: "datavolume",
    workers: 8,
    caches: [dataVolumes, claims, instances, fillers, kubeVirts],
    watch: (queue) => watchAll(deps, queue),
    reconcile: (key, signal) => reconciler.reconcile(key, signal),
    onFailure: deps.onFailure,
  });
}

/** Whose volumes a change concerns. */
function watchAll({ caches }: VolumeDeps, queue: WorkQueue): readonly (() => void)[] {
  const { dataVolumes, claims, instances, fillers } = caches;
  const add = (object: Stored): void => {
    queue.add(keyOf(object));
  };
  return [
    dataVolumes.onChange(newest(add)),
    // A claim has its volume's name, whoever made it.
    claims.onChange(newest(add)),
    fillers.onChange(
      newest((pod) => {
        const taker = takerOf(pod);
        if (taker !== undefined) queue.add(taker);
        const owner = controllerOf(pod);
        if (owner?.kind !== DATA_VOLUMES.kind && owner?.kind !== CLAIMS.kind) return;
        queue.add(`${pod.metadata.namespace ?? ""}/${owner.name}`);
      }),
    ),
    instances.onChange(
      newest(({ metadata: { namespace = "" }, spec }) => {
        for (const volume of spec.volumes ?? []) {
          const name = claimOf(volume)?.claimName;
          if (name !== undefined) queue.add(`${namespace}/${name}`);
        }
      }),
    ),
  ];
}
