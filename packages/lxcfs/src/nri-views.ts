import type { NriPlugin } from "@trine/nri";
import { ContainerState } from "@trine/proto/nri";
import type { Views } from "./views.ts";

/** NRI's side of it: a runtime that has NRI tells of its containers by itself. */
export function nriViews(views: Pick<Views, "offer" | "seen" | "removed">): NriPlugin {
  /** Those it has told of: others' containers are not in its lists. */
  const told = new Set<string>();
  const forget = (id: string): void => {
    told.delete(id);
    views.removed(id);
  };
  return {
    index: "90",
    name: "trine-lxcfs",
    synchronize: (pods, containers) => {
      const byId = new Map(pods.map((pod) => [pod.id, pod]));
      const running = containers.filter(({ state }) => state !== ContainerState.CONTAINER_STOPPED);
      const there = new Set(running.map(({ id }) => id));
      for (const id of [...told].filter((each) => !there.has(each))) forget(id);
      for (const container of running) {
        const pod = byId.get(container.podSandboxId);
        if (pod === undefined) continue;
        told.add(container.id);
        views.seen(pod, container);
      }
    },
    create: (pod, container) => {
      const offer = views.offer(pod, container);
      if (offer === undefined) return [];
      told.add(container.id);
      offer.keep(container.id);
      return [...offer.mounts];
    },
    started: (pod, container) => {
      told.add(container.id);
      views.seen(pod, container);
    },
    updated: (pod, container, resources) => {
      const { linux } = container;
      if (linux === undefined || resources === undefined) return;
      told.add(container.id);
      views.seen(pod, { ...container, linux: { ...linux, resources } });
    },
    removed: forget,
  };
}
