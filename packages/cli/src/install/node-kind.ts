import { TrineError } from "@trine/base";
import type { NodeFiles } from "./node-files.ts";

/** How containerd is configured where it came with another product. */
export interface NodeKind {
  readonly name: string;
  /** Its presence says what the node is. None: what is left when no other is found. */
  readonly marker?: string;
  /** What containerd reads. */
  readonly config: string;
  /**
   * edit: `config` is the administrator's, or a template that keeps what is added. rendered: `config` is written at each
   * start of the product, and more is said in a directory it imports or in a template. directory: the product merges
   * whatever lies there.
   */
  readonly by: "edit" | "rendered" | "directory";
  /** rendered, directory: where files of others lie; {v} is "" or "-v3". */
  readonly directory?: string;
  /** rendered: what takes the place of the product's own template. */
  readonly template?: string;
  readonly socket: string;
  /** Units that hold containerd; the one that is there is restarted. */
  readonly units: readonly string[];
}

const RANCHER = "/var/lib/rancher";
const MICROK8S = "/var/snap/microk8s";

function rancher(name: string, units: readonly string[]): NodeKind {
  const dir = `${RANCHER}/${name}/agent/etc/containerd`;
  return {
    name,
    marker: `${dir}/config.toml`,
    config: `${dir}/config.toml`,
    by: "rendered",
    directory: `${dir}/config{v}.toml.d`,
    template: `${dir}/config{v}.toml.tmpl`,
    socket: "/run/k3s/containerd/containerd.sock", // of both
    units,
  };
}

export const NODE_KINDS: readonly NodeKind[] = [
  rancher("k3s", ["k3s.service", "k3s-agent.service"]),
  rancher("rke2", ["rke2-server.service", "rke2-agent.service"]),
  {
    name: "microk8s",
    marker: `${MICROK8S}/current/args/containerd-template.toml`,
    config: `${MICROK8S}/current/args/containerd-template.toml`,
    by: "edit",
    socket: `${MICROK8S}/common/run/containerd.sock`,
    units: ["snap.microk8s.daemon-containerd.service"],
  },
  {
    name: "k0s",
    marker: "/etc/k0s/containerd.toml",
    config: "/etc/k0s/containerd.toml",
    by: "directory",
    directory: "/etc/k0s/containerd.d",
    socket: "/run/k0s/containerd.sock",
    units: ["k0sworker.service", "k0scontroller.service"],
  },
  {
    name: "plain",
    config: "/etc/containerd/config.toml",
    by: "edit",
    socket: "/run/containerd/containerd.sock",
    units: ["containerd.service"],
  },
];

/** What the node is, or is said to be; kind `invalid` where two products are there. */
export async function findNodeKind(files: NodeFiles, said?: string): Promise<NodeKind> {
  const found: NodeKind[] = [];
  for (const kind of NODE_KINDS) {
    const isThere = said === undefined ? await hasMarker(files, kind) : kind.name === said;
    if (isThere) found.push(kind);
  }
  const [kind, second] = found;
  if (kind === undefined) {
    const names = NODE_KINDS.map(({ name }) => name).join(", ");
    throw new TrineError("invalid", `--node-kind ${String(said)}: there are ${names}`);
  }
  if (second?.marker === undefined) return kind;
  const both = found.filter(({ marker }) => marker !== undefined).map(({ name }) => name);
  const what = `the node looks like ${both.join(" and ")}: say which by --node-kind`;
  throw new TrineError("invalid", what);
}

/** The last has none: it is what a node is that is nothing else. */
async function hasMarker(files: NodeFiles, { marker }: NodeKind): Promise<boolean> {
  return marker === undefined || files.exists(marker);
}
