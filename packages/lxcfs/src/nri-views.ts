import type { NriPlugin } from "@trine/nri";
import { ContainerState } from "@trine/proto/nri";
import type { Container, PodSandbox } from "@trine/proto/nri";
import type { CpuSets } from "./cpu-sets.ts";
import type { Views } from "./views.ts";

const SOURCE = "nri";

/** NRI's side of it: a runtime that has NRI tells of its containers by itself. Without `cpuSets` their CPUs are as asked for. */
export function nriViews(
  views: Pick<Views, "offer" | "seen" | "removed">,
  cpuSets?: Pick<CpuSets, "offer" | "resized" | "synchronized" | "removed">,
): NriPlugin {
  /** Those it has told of: others' containers are not in its lists. */
  const told = new Set<string>();
  const forget = (id: string): void => {
    told.delete(id);
    views.removed(id);
    cpuSets?.removed(id);
  };
  return {
    // The last: who sets CPUs before us is seen and left alone; of two that set them NRI fails the pod.
    index: "99",
    name: "trine-lxcfs",
    synchronize: (pods, containers) => {
      const all = running(pods, containers);
      const there = new Set(all.map(({ container }) => container.id));
      for (const id of [...told].filter((each) => !there.has(each))) forget(id);
      for (const { pod, container } of all) {
        told.add(container.id);
        views.seen(pod, container);
      }
      cpuSets?.synchronized(SOURCE, all);
    },
    create: (pod, container) => {
      const cpus = cpuSets?.offer(SOURCE, pod, container);
      if (cpus !== undefined) told.add(container.id);
      const offer = views.offer(pod, container);
      if (offer === undefined) return { mounts: [], cpus };
      told.add(container.id);
      offer.keep(container.id);
      return { mounts: offer.mounts, cpus };
    },
    started: (pod, container) => {
      told.add(container.id);
      views.seen(pod, container, true);
    },
    updated: (pod, container, resources) => {
      const { linux } = container;
      if (linux === undefined || resources === undefined) return undefined;
      told.add(container.id);
      views.seen(pod, { ...container, linux: { ...linux, resources } }, true);
      return cpuSets?.resized(SOURCE, pod, container, resources);
    },
    removed: forget,
  };
}

function running(
  pods: readonly PodSandbox[],
  containers: readonly Container[],
): { readonly pod: PodSandbox; readonly container: Container }[] {
  const byId = new Map(pods.map((pod) => [pod.id, pod]));
  return containers.flatMap((container) => {
    const pod = byId.get(container.podSandboxId);
    const isOver = container.state === ContainerState.CONTAINER_STOPPED;
    return isOver || pod === undefined ? [] : [{ pod, container }];
  });
}
