// Which containers see their own limits, and in which files.
import { join } from "node:path";
import type { AddedMount } from "@trine/nri";
import type { Container, LinuxResources, Mount, PodSandbox } from "@trine/proto/nri";

/** Every file a container may see by lxcfs. Not /proc/pressure: runc refuses mounts there. */
const VIEWS = [
  "/proc/cpuinfo",
  "/proc/meminfo",
  "/proc/stat",
  "/proc/uptime",
  "/proc/loadavg",
  "/proc/swaps",
  "/proc/diskstats",
  "/sys/devices/system/cpu/online",
] as const;

/** Whether a container may see that by lxcfs: a mount of ours has no other place. */
export function isView(path: string): boolean {
  return VIEWS.some((view) => view === path);
}

/** For a pod, and with `.CONTAINER` behind it for one of its containers, which goes first. */
const ANNOTATION = "trine.dev/lxcfs";
const KERNELS_OWN = ["proc", "sysfs"];
/** Without it the host's own processes could change what they see, and programs could be put in its place. */
const OPTIONS = ["rbind", "ro", "nosuid", "nodev", "noexec"];

export interface ViewRules {
  /** RuntimeClass handlers whose containers get the views; the empty name is the runtime's default. */
  readonly handlers: readonly string[];
  /** Where nothing is annotated. */
  readonly byDefault: "on" | "off";
  /** Pods that are machines, whose own kernel is right by nature. */
  readonly isMachine: (podId: string) => boolean;
}

/** The files this container is to see by lxcfs; none where it has no limit or is not to have them. */
export function viewsFor(pod: PodSandbox, container: Container, rules: ViewRules): string[] {
  if (!isAsked(ANNOTATION, pod, container.name, rules)) return [];
  // lxcfs takes the first process of the reader's PID namespace for the container: in one that is shared it is another's.
  const own = container.linux?.namespaces.some(({ type, path }) => type === "pid" && path === "");
  if (own !== true) return [];
  if (!isLimited(container.linux?.resources) && !isLimited(pod.linux?.podResources)) return [];
  return VIEWS.filter((file) => isFree(file, container.mounts));
}

/** Whether the rules want something of a container: of its handler, and then what its pod's annotations or the default say. */
export function isAsked(
  annotation: string,
  { runtimeHandler, id, annotations }: PodSandbox,
  container: string,
  rules: ViewRules,
): boolean {
  if (!rules.handlers.includes(runtimeHandler) || rules.isMachine(id)) return false;
  const own = annotations[`${annotation}.${container}`] ?? annotations[annotation];
  return (own ?? rules.byDefault) === "on";
}

/** Mounts that show `files` of the lxcfs at `dir`. */
export function mountsFor(dir: string, files: readonly string[]): AddedMount[] {
  return files.map((destination) => ({
    ...{ destination, source: join(dir, destination), type: "bind", options: OPTIONS },
  }));
}

function isLimited(resources: LinuxResources | undefined): boolean {
  const [cpu, memory] = [resources?.cpu, resources?.memory];
  return (
    (cpu?.quota?.value ?? 0n) > 0n || (cpu?.cpus ?? "") !== "" || (memory?.limit?.value ?? 0n) > 0n
  );
}

/** What the pod itself mounts there, or above it in place of the kernel's file system, stays. */
function isFree(file: string, mounts: readonly Mount[]): boolean {
  return !mounts.some(
    ({ destination, type }) =>
      destination === file ||
      (file.startsWith(`${destination}/`) && destination !== "/" && !KERNELS_OWN.includes(type)),
  );
}
