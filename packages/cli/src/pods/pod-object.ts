import { readinessOf } from "./pod-status.ts";
import type { ContainerView, PodView } from "./pod-view.ts";

/** A v1.Pod as `-o json` gives it; `spec` says what CRI knows. */
export function toPodObject(view: PodView): object {
  const { phase, status } = readinessOf(view);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: view.name,
      namespace: view.namespace,
      uid: view.uid,
      creationTimestamp: isoTime(view.createdAt),
      labels: view.labels,
      annotations: view.annotations,
    },
    spec: {
      ...(view.handler === "" ? {} : { runtimeClassName: view.handler }),
      containers: view.containers.map(({ name, image }) => ({ name, image })),
    },
    status: {
      phase,
      reason: status,
      level: view.level,
      ...(view.ips[0] === undefined ? {} : { podIP: view.ips[0] }),
      podIPs: view.ips.map((ip) => ({ ip })),
      containerStatuses: view.containers.map(containerStatus),
    },
  };
}

function containerStatus(view: ContainerView): object {
  const { exitCode, reason, message } = view;
  const started = isoTime(view.startedAt);
  const ended = {
    exitCode,
    reason,
    message,
    startedAt: started,
    finishedAt: isoTime(view.finishedAt),
  };
  const state =
    view.state === "running"
      ? { running: { startedAt: started } }
      : view.state === "exited"
        ? { terminated: ended }
        : { waiting: { reason: view.state === "created" ? "Created" : "Unknown" } };
  return {
    name: view.name,
    image: view.image,
    containerID: `containerd://${view.id}`,
    restartCount: view.attempt,
    ready: view.state === "running",
    state,
  };
}

function isoTime(ms: number): string | null {
  return ms === 0 ? null : new Date(ms).toISOString();
}
