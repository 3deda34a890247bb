import { NamespaceMode, SecurityProfile_ProfileType } from "@trine/proto/cri/api";
import type { ContainerConfigSchema, PodSandboxConfigSchema } from "@trine/proto/cri/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Container } from "./container-schema.ts";
import type { Pod } from "./pod-schema.ts";

type Init<T> = Exclude<T, undefined>;
type LinuxSandbox = Init<MessageInitShape<typeof PodSandboxConfigSchema>["linux"]>;
type LinuxContainer = Init<MessageInitShape<typeof ContainerConfigSchema>["linux"]>;
type SandboxSecurity = Init<LinuxSandbox["securityContext"]>;
export type ContainerSecurity = Init<LinuxContainer["securityContext"]>;

/** As kubelet does by default (k8s.io/kubernetes/pkg/securitycontext). */
const MASKED_PATHS = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const PROFILE = {
  RuntimeDefault: SecurityProfile_ProfileType.RuntimeDefault,
  Unconfined: SecurityProfile_ProfileType.Unconfined,
  Localhost: SecurityProfile_ProfileType.Localhost,
} as const;

export function sandboxSecurity(pod: Pod): SandboxSecurity {
  const { securityContext: own } = pod.spec;
  const all = [...pod.spec.initContainers, ...pod.spec.containers];
  return {
    namespaceOptions: namespaces(pod),
    privileged: all.some(({ securityContext }) => securityContext.privileged),
    supplementalGroups: groups(pod),
    ...(own.runAsUser === undefined ? {} : { runAsUser: { value: BigInt(own.runAsUser) } }),
    ...(own.runAsGroup === undefined || own.runAsUser === undefined
      ? {}
      : { runAsGroup: { value: BigInt(own.runAsGroup) } }),
    // kubelet: the sandbox itself always runs with the runtime's own profile.
    seccomp: { profileType: PROFILE.RuntimeDefault },
  };
}

/** `user` is the image's, for a container that only says its group. */
export function containerSecurity(
  pod: Pod,
  container: Container,
  user: { readonly uid?: bigint; readonly username?: string },
): ContainerSecurity {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  const uid = own.runAsUser ?? shared.runAsUser;
  const gid = own.runAsGroup ?? shared.runAsGroup;
  const seccomp = own.seccompProfile ?? shared.seccompProfile;
  const open = own.procMount === "Unmasked" || own.privileged;
  return {
    privileged: own.privileged,
    namespaceOptions: namespaces(pod),
    capabilities: {
      addCapabilities: own.capabilities.add.map(plain),
      dropCapabilities: own.capabilities.drop.map(plain),
    },
    ...userOf(uid, user),
    ...(gid === undefined ? {} : { runAsGroup: { value: BigInt(gid) } }),
    readonlyRootfs: own.readOnlyRootFilesystem,
    supplementalGroups: groups(pod),
    noNewPrivs: noNewPrivileges(container),
    maskedPaths: open ? [] : MASKED_PATHS,
    readonlyPaths: open ? [] : READONLY_PATHS,
    seccomp: {
      profileType: own.privileged ? PROFILE.Unconfined : PROFILE[seccomp?.type ?? "Unconfined"],
      localhostRef: seccomp?.localhostProfile ?? "",
    },
  };
}

function userOf(
  uid: number | undefined,
  image: { readonly uid?: bigint; readonly username?: string },
): Partial<Pick<ContainerSecurity, "runAsUser" | "runAsUsername">> {
  if (uid !== undefined) return { runAsUser: { value: BigInt(uid) } };
  if (image.uid !== undefined) return { runAsUser: { value: image.uid } };
  return image.username === undefined ? {} : { runAsUsername: image.username };
}

function noNewPrivileges({ securityContext: own }: Container): boolean {
  return own.allowPrivilegeEscalation === false && !own.privileged;
}

function plain(capability: string): string {
  return capability.replace(/^CAP_/, "");
}

function groups({ spec }: Pod): bigint[] {
  const { fsGroup, supplementalGroups } = spec.securityContext;
  return [...supplementalGroups, ...(fsGroup === undefined ? [] : [fsGroup])].map(BigInt);
}

function namespaces({ spec }: Pod): NonNullable<ContainerSecurity["namespaceOptions"]> {
  const own = spec.shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER;
  return {
    network: spec.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: spec.hostPID ? NamespaceMode.NODE : own,
    ipc: spec.hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
  };
}
