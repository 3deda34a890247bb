import { MountPropagation } from "@trine/proto/cri/api";
import type { ContainerConfigSchema } from "@trine/proto/cri/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { HANDLER_VM } from "@trine/annotations";
import { TrineError } from "@trine/base";
import type { Container, ContainerMount } from "./container-schema.ts";
import { environmentOf } from "./environment.ts";
import type { Scope } from "./environment.ts";
import { expand } from "./expand.ts";
import { linuxResources } from "./resources.ts";
import { containerSecurity } from "./security.ts";
import { LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID } from "./translate-sandbox.ts";

export type ContainerConfig = MessageInitShape<typeof ContainerConfigSchema>;
type Mount = NonNullable<ContainerConfig["mounts"]>[number];

/** What CRI says of the container's image. */
export interface ImageFacts {
  /** By what the runtime finds it. */
  readonly ref: string;
  readonly uid?: bigint;
  readonly username?: string;
}

/** A mount with the path on the node that stands behind it, or the image. */
export interface ReadyMount {
  readonly mount: ContainerMount;
  readonly hostPath: string;
  readonly image?: string;
  readonly readOnly: boolean;
}

export interface ContainerInstance {
  /** Counts the containers of one name in one pod. */
  readonly attempt: number;
  readonly mounts: readonly ReadyMount[];
  /** The pod's /etc/hosts on the node; undefined = the runtime's. */
  readonly hostsPath?: string;
  readonly image: ImageFacts;
}

/** v1.Pod's container → ContainerConfig. Kind `invalid` or `notFound` where a value cannot be had. */
export function containerConfig(
  container: Container,
  scope: Scope,
  instance: ContainerInstance,
): ContainerConfig {
  const { pod, facts } = scope;
  const variables = environmentOf(container, scope);
  const expanded = (text: string): string => expand(text, (name) => variables.get(name));
  requireNotRoot(container, scope, instance.image);
  return {
    metadata: { name: container.name, attempt: instance.attempt },
    image: { image: instance.image.ref, userSpecifiedImage: container.image },
    command: commandOf(container, pod).map(expanded),
    args: container.args.map(expanded),
    workingDir: container.workingDir ?? "",
    envs: [...variables].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: [...instance.mounts.map(toMount), ...hostsMount(container, pod.spec, instance)],
    labels: {
      [LABEL_NAME]: pod.metadata.name,
      [LABEL_NAMESPACE]: pod.metadata.namespace,
      [LABEL_UID]: facts.uid,
      [LABEL_CONTAINER]: container.name,
    },
    annotations: pod.metadata.annotations,
    logPath: `${container.name}/${instance.attempt}.log`,
    stdin: container.stdin,
    stdinOnce: container.stdinOnce,
    tty: container.tty,
    linux: {
      resources: linuxResources(pod, container, facts.node.memoryBytes),
      securityContext: containerSecurity(pod, container, instance.image),
    },
  };
}

/** The runtime wants a command of every container; the image of a machine seldom brings one. */
function commandOf({ command, args }: Container, { spec }: Scope["pod"]): readonly string[] {
  const bare = command.length === 0 && args.length === 0;
  return bare && spec.runtimeClassName === HANDLER_VM ? ["machine"] : command;
}

const PROPAGATION = {
  None: MountPropagation.PROPAGATION_PRIVATE,
  HostToContainer: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  Bidirectional: MountPropagation.PROPAGATION_BIDIRECTIONAL,
} as const;

function toMount({ mount, hostPath, image, readOnly }: ReadyMount): Mount {
  return {
    containerPath: mount.mountPath,
    hostPath,
    readonly: readOnly || mount.readOnly,
    propagation: PROPAGATION[mount.mountPropagation],
    ...(image === undefined ? {} : { image: { image } }),
    ...(image === undefined || mount.subPath === undefined ? {} : { imageSubPath: mount.subPath }),
  };
}

function hostsMount(
  container: Container,
  spec: { readonly hostNetwork: boolean },
  { hostsPath }: ContainerInstance,
): Mount[] {
  const taken = container.volumeMounts.some(({ mountPath }) => mountPath === "/etc/hosts");
  if (hostsPath === undefined || taken || spec.hostNetwork) return [];
  return [{ containerPath: "/etc/hosts", hostPath: hostsPath, readonly: false }];
}

function requireNotRoot(container: Container, { pod }: Scope, image: ImageFacts): void {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) !== true) return;
  const uid = own.runAsUser ?? shared.runAsUser ?? Number(image.uid ?? (image.username ? NaN : 0));
  if (uid !== 0 && !Number.isNaN(uid)) return;
  const why =
    uid === 0 ? "would run as root" : `the image's user ${image.username ?? ""} may be root`;
  const advice = "set runAsUser";
  throw new TrineError(
    "invalid",
    `container ${container.name}: runAsNonRoot, but it ${why}: ${advice}`,
  );
}
