import { readinessOf } from "./pod-status.ts";
import type { ContainerView, Level, PodView } from "./pod-view.ts";

/** A v1.Pod as `-o json` gives it; `spec` says what CRI knows. Times are RFC 3339, null = not yet. */
export interface PodObject {
  readonly apiVersion: "v1";
  readonly kind: "Pod";
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly creationTimestamp: string | null;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: {
    /** The runtime's handler; absent = containerd's default. */
    readonly runtimeClassName?: string;
    readonly containers: readonly { readonly name: string; readonly image: string }[];
  };
  readonly status: {
    readonly phase: "Pending" | "Running" | "Succeeded" | "Failed";
    /** The pod's state in the words of `trine ps`. */
    readonly reason: string;
    readonly level: Level;
    readonly podIP?: string;
    readonly podIPs: readonly { readonly ip: string }[];
    readonly containerStatuses: readonly ContainerStatusObject[];
  };
}

interface ContainerStatusObject {
  readonly name: string;
  readonly image: string;
  readonly containerID: string;
  readonly restartCount: number;
  readonly ready: boolean;
  readonly state:
    | { readonly running: { readonly startedAt: string | null } }
    | { readonly terminated: Ended }
    | { readonly waiting: { readonly reason: "Created" | "Unknown" } };
}

interface Ended {
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
}

export function toPodObject(view: PodView): PodObject {
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

function containerStatus(view: ContainerView): ContainerStatusObject {
  const { exitCode, reason, message } = view;
  const started = isoTime(view.startedAt);
  const ended = {
    exitCode,
    reason,
    message,
    startedAt: started,
    finishedAt: isoTime(view.finishedAt),
  };
  const state: ContainerStatusObject["state"] =
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
