import { containerdStep, handlersByHand, nriNeeds } from "./containerd-steps.ts";
import type { HandlerTables } from "./containerd-steps.ts";
import type { ContainerdFacts } from "./containerd-facts.ts";
import { ownFile } from "./marked-text.ts";
import type { NodeKind } from "./node-kind.ts";
import { kubeletStep } from "./kubelet-steps.ts";
import { unitSteps } from "./program-steps.ts";
import type { RecordedWishes } from "./record.ts";
import type { Step } from "./step.ts";
import { withSettings } from "./trined-config.ts";
import type { Settings } from "./trined-config.ts";

const TRINED_CONFIG = "/etc/trine/config.yaml";
export const RUNTIME_CLASSES = "/etc/trine/runtimeclasses.yaml";
const PLAIN_SOCKET = "/run/containerd/containerd.sock";
const LXCFS = "/usr/bin/lxcfs";

/** What the node is, as far as it decides anything. */
export interface NodeFacts {
  readonly kind: NodeKind;
  readonly containerd: ContainerdFacts;
  readonly hasLxcfs: boolean;
  /** Where it was asked for the gateway. */
  readonly kubeletCommand: string | undefined;
}

export interface InstallWishes extends RecordedWishes {
  readonly prefix: string;
}

/** Made before: files of the release, programs. */
export interface Material {
  readonly tables: HandlerTables;
  readonly runtimeClasses: string;
  /** Copies of the release's programs, and of gVisor's. */
  readonly programs: readonly Step[];
}

export interface InstallPlan {
  readonly steps: readonly Step[];
  readonly notes: readonly string[];
}

/** All that is to be on such a node, in the order in which it is made: what others name comes before they do. */
export function planInstall(
  facts: NodeFacts,
  wishes: InstallWishes,
  material: Material,
): InstallPlan {
  const { kind, containerd } = facts;
  const lxcfs = lxcfsOf(facts, wishes);
  const settings = settingsOf(facts, wishes, lxcfs.wanted);
  const steps: Step[] = [
    ...material.programs,
    {
      kind: "text",
      what: "trined's configuration",
      path: TRINED_CONFIG,
      restarts: ["trined"],
      edit: (text) => withSettings(text, TRINED_CONFIG, settings),
    },
    {
      kind: "text",
      what: "RuntimeClasses, to be applied to the cluster",
      path: RUNTIME_CLASSES,
      restarts: [],
      edit: () => ownFile(material.runtimeClasses),
    },
    ...unitSteps(wishes.prefix, lxcfs.wanted ? ["trine-lxcfs", "trined"] : ["trined"]),
    containerdStep(
      { kind, facts: containerd },
      { nri: lxcfs.wanted, gvisor: wishes.gvisor },
      material.tables,
    ),
  ];
  if (facts.kubeletCommand !== undefined) steps.push(kubeletStep(facts.kubeletCommand));
  return { steps, notes: [...lxcfs.notes, ...notesOf(facts, wishes)] };
}

function lxcfsOf(facts: NodeFacts, wishes: InstallWishes): { wanted: boolean; notes: string[] } {
  if (!wishes.lxcfs) return { wanted: false, notes: [] };
  const without = "containers do not see their own limits";
  if (!facts.hasLxcfs) {
    return { wanted: false, notes: [`${without}: there is no ${LXCFS} (apt-get install lxcfs)`] };
  }
  if (nriNeeds({ kind: facts.kind, facts: facts.containerd }) === "impossible") {
    return { wanted: false, notes: [`${without}: containerd has NRI from 1.7 on`] };
  }
  return { wanted: true, notes: [] };
}

function settingsOf(
  facts: NodeFacts,
  { gateway, prefix }: InstallWishes,
  lxcfs: boolean,
): Settings {
  const { socket } = facts.kind;
  const program = (name: string): string => `${prefix}/bin/${name}`;
  const moved = prefix !== "/usr/local";
  const helper = moved ? { helper: program("trine-rootfs") } : {};
  return {
    ...(moved ? { machines: { agent: `${prefix}/lib/trine/bin/trine-agent` } } : {}),
    ...(moved
      ? {
          microvms: {
            shim: program("containerd-shim-trine-microvm-v2"),
            fileServer: program("trine-p9"),
            roots: { builder: program("trine-rootfs") },
          },
        }
      : {}),
    ...(lxcfs ? { lxcfs: { enabled: true, ...helper } } : {}),
    ...(gateway ? { gateway: { backEnds: [{ name: "containerd", socket }] } } : {}),
    ...(socket === PLAIN_SOCKET ? {} : { logs: { containerd: socket } }),
  };
}

function notesOf({ kind, containerd }: NodeFacts, { prefix, gvisor }: InstallWishes): string[] {
  const notes: string[] = [];
  const byHand = handlersByHand(containerd);
  const mine = ["trine-vm", "trine-microvm", ...(gvisor ? ["gvisor"] : [])];
  const theirs = mine.filter((name) => byHand.has(name));
  if (theirs.length > 0)
    notes.push(`${theirs.join(", ")}: configured by hand, and left as they are`);
  if (kind.name !== "plain") notes.push(`${kind.name}: untested on this kind of host`);
  if (prefix !== "/usr/local" && prefix !== "/usr") {
    notes.push(`containerd finds its shims in PATH: put ${prefix}/bin into its unit's`);
  }
  return notes;
}
