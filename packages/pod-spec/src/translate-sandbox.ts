import { Protocol } from "@trine/proto/cri/api";
import type { PodSandboxConfigSchema } from "@trine/proto/cri/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { NodeFacts } from "./facts.ts";
import type { Pod } from "./pod-schema.ts";
import { sandboxSecurity } from "./security.ts";

export type SandboxConfig = MessageInitShape<typeof PodSandboxConfigSchema>;

/** kubelet's labels: other tools find a pod by them. */
export const LABEL_NAME = "io.kubernetes.pod.name";
export const LABEL_NAMESPACE = "io.kubernetes.pod.namespace";
export const LABEL_UID = "io.kubernetes.pod.uid";
export const LABEL_CONTAINER = "io.kubernetes.container.name";

const MAX_HOSTNAME = 63;
/** What the resolver takes (resolv.conf(5)). */
const MAX_SERVERS = 3;

/** Which instance of a pod this is. */
export interface PodInstance {
  readonly uid: string;
  /** Counts the sandboxes of one pod. */
  readonly attempt: number;
  readonly logDirectory: string;
  /** "" = containerd's own place. */
  readonly cgroupParent: string;
}

/** v1.Pod → PodSandboxConfig. */
export function sandboxConfig(pod: Pod, node: NodeFacts, instance: PodInstance): SandboxConfig {
  const { metadata, spec } = pod;
  const { uid, attempt, logDirectory, cgroupParent } = instance;
  return {
    metadata: { name: metadata.name, namespace: metadata.namespace, uid, attempt },
    hostname: spec.hostNetwork ? node.name : hostnameOf(pod),
    logDirectory,
    dnsConfig: dnsConfig(pod, node),
    portMappings: spec.hostNetwork ? [] : portMappings(pod),
    labels: {
      ...metadata.labels,
      [LABEL_NAME]: metadata.name,
      [LABEL_NAMESPACE]: metadata.namespace,
      [LABEL_UID]: uid,
    },
    annotations: metadata.annotations,
    linux: {
      cgroupParent,
      securityContext: sandboxSecurity(pod),
      sysctls: Object.fromEntries(
        spec.securityContext.sysctls.map(({ name, value }) => [name.replaceAll("/", "."), value]),
      ),
    },
  };
}

/** As kubelet: what fits into a host name of the pod's name. */
function hostnameOf({ metadata, spec }: Pod): string {
  return (spec.hostname ?? metadata.name).slice(0, MAX_HOSTNAME).replace(/[-.]+$/, "");
}

/** Without a cluster's DNS ClusterFirst is Default; dnsConfig is merged as kubelet does. */
function dnsConfig(
  { spec }: Pod,
  { resolver }: NodeFacts,
): NonNullable<SandboxConfig["dnsConfig"]> {
  const base = spec.dnsPolicy === "None" ? { servers: [], searches: [], options: [] } : resolver;
  const { nameservers, searches, options } = spec.dnsConfig;
  const own = options.map(({ name, value }) => (value === undefined ? name : `${name}:${value}`));
  const named = new Set(options.map(({ name }) => name));
  return {
    servers: [...new Set([...base.servers, ...nameservers])].slice(0, MAX_SERVERS),
    searches: [...new Set([...base.searches, ...searches])],
    options: [...base.options.filter((o) => !named.has(o.split(":")[0] ?? "")), ...own],
  };
}

const PROTOCOL = { TCP: Protocol.TCP, UDP: Protocol.UDP, SCTP: Protocol.SCTP } as const;

function portMappings({ spec }: Pod): NonNullable<SandboxConfig["portMappings"]> {
  return [...spec.initContainers, ...spec.containers].flatMap(({ ports }) =>
    ports
      .filter(({ hostPort }) => hostPort !== undefined)
      .map(({ containerPort, hostPort = 0, hostIP = "", protocol }) => ({
        containerPort,
        hostPort,
        hostIp: hostIP,
        protocol: PROTOCOL[protocol],
      })),
  );
}

/** The pod's /etc/hosts, as kubelet writes it. */
export function hostsFile(pod: Pod, ips: readonly string[]): string {
  const name = hostnameOf(pod);
  const own = ips.map((ip) =>
    pod.spec.subdomain === undefined
      ? `${ip}\t${name}`
      : `${ip}\t${name}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc\t${name}`,
  );
  const aliases = pod.spec.hostAliases.map(({ ip, hostnames }) => [ip, ...hostnames].join("\t"));
  return [
    "# Written by trine from the pod's address and its hostAliases.",
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
    ...own,
    ...aliases,
    "",
  ].join("\n");
}
