import { TrineError } from "@trine/base";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";

/** What the pod's containers share, as the host names it. */
export interface SharedNamespaces {
  /** Path of the pod's network namespace. */
  readonly network: string;
  /** Process whose IPC and UTS namespaces are the pod's: its shim. */
  readonly shimPid: number;
  /** First process of the pod's shared PID namespace, once there is one. */
  readonly pausePid?: number;
  /** Processes of other ordinary containers, whose PID namespace a debug container may join. */
  readonly nestedPids: readonly number[];
}

const NEEDED = {
  network: "hostNetwork: true",
  ipc: "hostIPC: true",
  uts: "hostNetwork: true",
  pid: "hostPID: true",
} as const;
/** A namespace of these is the container's own or none at all. */
const OWN_ONLY = ["mount", "cgroup", "user", "time"];
const PROC_NS = /^\/proc\/(\d+)\/ns\/(\w+)$/;

export function namespaceTypes(spec: JsonObject): readonly string[] {
  return pathsOf(spec).map(({ type }) => type);
}

/** Whether the container is to see the processes of the pod's others (shareProcessNamespace). */
export function wantsSharedPids(spec: JsonObject, shimPid: number): boolean {
  return pathsOf(spec)
    .filter(({ type }) => type === "pid")
    .some(({ path }) => pidIn(path, "pid") === shimPid);
}

/**
 * The OCI spec of an ordinary container of a machine's pod for the node's runc shim: containerd's own, but with the
 * namespaces named that are the pod's. containerd makes those paths of the pid our shim answers for the sandbox,
 * whose PID namespace is the host's. Kind `invalid` for a container that would share a namespace with the host.
 */
export function nestedSpec(spec: JsonObject, pod: SharedNamespaces, name: string): JsonObject {
  const found = pathsOf(spec);
  for (const [type, field] of Object.entries(NEEDED)) {
    if (!found.some((each) => each.type === type)) {
      throw refused(name, `it has no ${type} namespace of the pod's (${field})`);
    }
  }
  const namespaces = found.map(({ type, path }) => {
    const place = placeOf(type, path, pod, name);
    return place === "" ? { type } : { type, path: place };
  });
  return { ...spec, linux: { ...record(spec["linux"]), namespaces } };
}

function placeOf(type: string, path: string, pod: SharedNamespaces, name: string): string {
  switch (type) {
    case "network":
      return pod.network;
    case "ipc":
    case "uts":
      return `/proc/${pod.shimPid}/ns/${type}`;
    case "pid":
      return pidPlace(path, pod, name);
    default:
      if (path === "" && OWN_ONLY.includes(type)) return "";
      throw refused(name, `its ${type} namespace is ${path === "" ? "of no known kind" : path}`);
  }
}

function pidPlace(path: string, pod: SharedNamespaces, name: string): string {
  if (path === "") return "";
  const { shimPid, pausePid, nestedPids } = pod;
  const pid = pidIn(path, "pid");
  if (pid === shimPid && pausePid !== undefined) return `/proc/${pausePid}/ns/pid`;
  if (pid !== undefined && (pid === pausePid || nestedPids.includes(pid))) return path;
  throw refused(name, `its PID namespace, ${path}, is of no ordinary container of this pod`);
}

function pathsOf(spec: JsonObject): { type: string; path: string }[] {
  return list(record(spec["linux"])["namespaces"]).map((each) => ({
    type: text(record(each)["type"]),
    path: text(record(each)["path"]),
  }));
}

function pidIn(path: string, kind: string): number | undefined {
  const [, pid, type] = PROC_NS.exec(path) ?? [];
  return type === kind ? Number(pid) : undefined;
}

function refused(name: string, why: string): TrineError {
  return new TrineError(
    "invalid",
    `container ${name}: ${why}; an ordinary container beside a machine shares the pod's namespaces only`,
  );
}
