import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { TrineError } from "@trine/base";
import type { Io } from "../io.ts";
import { applyPlan, makePlan } from "./apply.ts";
import { lookAtContainerd, parseContainerdVersion } from "./containerd-facts.ts";
import type { ContainerdVersion } from "./containerd-facts.ts";
import type { HandlerTables } from "./containerd-steps.ts";
import { provideEmptyImage } from "./empty-image.ts";
import { gvisorFrom, gvisorFromPackage, gvisorSteps } from "./gvisor-steps.ts";
import type { GvisorPrograms } from "./gvisor-steps.ts";
import { kubeletCommand } from "./kubelet-steps.ts";
import { changeRuntimeClasses } from "./kubectl.ts";
import { measureOverheads } from "./measure-overheads.ts";
import type { NodeFiles } from "./node-files.ts";
import { nodeFiles } from "./node-flags.ts";
import type { NodeFlags } from "./node-flags.ts";
import { findNodeKind } from "./node-kind.ts";
import type { NodeKind } from "./node-kind.ts";
import { RUNTIME_CLASSES, planInstall } from "./plan-install.ts";
import type { InstallWishes, Material, NodeFacts } from "./plan-install.ts";
import { ownPrefix } from "./own-prefix.ts";
import { programSteps } from "./program-steps.ts";
import { readRecord } from "./record.ts";
import type { InstallRecord } from "./record.ts";
import { restartPending } from "./restart-pending.ts";
import { overheadsIn, raisedOverheads, runtimeClasses } from "./runtime-classes.ts";
import type { Overheads } from "./runtime-classes.ts";
import { tellNotes, tellPlan } from "./tell-plan.ts";

const run = promisify(execFile);
const TOOL_MS = 30_000;

export interface InstallFlags extends NodeFlags {
  readonly prefix?: string;
  readonly gateway?: boolean;
  readonly lxcfs?: boolean;
  /** A directory; false: --no-gvisor. */
  readonly gvisor?: string | false;
  readonly gvisorPackage?: string;
  readonly containerdVersion?: string;
  readonly nodeKind?: string;
  readonly measure?: boolean;
}

/** `trine install`: says what differs from a node with Trine, and makes it so. */
export async function install(io: Io, flags: InstallFlags): Promise<void> {
  const files = nodeFiles(io, flags);
  const record = await readRecord(files);
  const wishes = wishesOf(flags, record);
  const gvisor = await gvisorPrograms(flags);
  try {
    const kind = await findNodeKind(files, flags.nodeKind);
    const facts = await lookAtNode(files, { kind, flags, wishes });
    const material = await materialOf(io, files, { flags, wishes, gvisor });
    const { steps, notes } = planInstall(facts, wishes, material);
    const plan = await makePlan(files, steps);
    tellPlan(io, plan, flags.root);
    tellNotes(io, notes);
    if (!flags.dryRun) {
      tellNotes(io, await applyPlan(files, plan, { steps, wishes, now: Date.now() }));
    }
    await provideEmptyImage(io, files, { kind, dryRun: flags.dryRun });
    await restartPending(io, files, { kind, flags, plan });
    await changeRuntimeClasses(io, flags, { verb: "apply", classes: material.runtimeClasses });
  } finally {
    await gvisor?.dispose();
  }
}

function wishesOf(flags: InstallFlags, record: InstallRecord | undefined): InstallWishes {
  const asked = flags.gvisor !== undefined || flags.gvisorPackage !== undefined;
  return {
    prefix: flags.prefix ?? ownPrefix(),
    gateway: flags.gateway ?? record?.wishes.gateway ?? false,
    lxcfs: flags.lxcfs ?? record?.wishes.lxcfs ?? true,
    gvisor: asked ? flags.gvisor !== false : (record?.wishes.gvisor ?? false),
  };
}

async function gvisorPrograms(flags: InstallFlags): Promise<GvisorPrograms | undefined> {
  if (flags.gvisorPackage !== undefined) return gvisorFromPackage(flags.gvisorPackage);
  return typeof flags.gvisor === "string" ? gvisorFrom(flags.gvisor) : undefined;
}

async function lookAtNode(
  files: NodeFiles,
  of: { kind: NodeKind; flags: InstallFlags; wishes: InstallWishes },
): Promise<NodeFacts> {
  const { kind, flags, wishes } = of;
  if (wishes.gateway && kind.name !== "plain") {
    const what = `--gateway: kubelet of ${kind.name} is not started by a unit of its own`;
    throw new TrineError("unimplemented", what);
  }
  const version = await containerdVersion(files, kind, flags);
  return {
    kind,
    containerd: await lookAtContainerd(files, kind, version),
    hasLxcfs: await files.exists("/usr/bin/lxcfs"),
    kubeletCommand: wishes.gateway ? await kubeletCommand(files) : undefined,
  };
}

/** Said, or asked of the node's own program. */
async function containerdVersion(
  files: NodeFiles,
  kind: NodeKind,
  flags: InstallFlags,
): Promise<ContainerdVersion | undefined> {
  if (flags.containerdVersion !== undefined) {
    const version = parseContainerdVersion(flags.containerdVersion);
    if (version !== undefined) return version;
    throw new TrineError("invalid", "--containerd-version: MAJOR.MINOR is wanted, such as 1.7");
  }
  if (kind.name !== "plain") return undefined;
  const [program, ...args] =
    files.root === "/"
      ? ["containerd", "--version"]
      : ["chroot", files.root, "containerd", "--version"];
  // An image may have none that runs here; then its files or a flag have to say.
  const ran = await run(program, args, { timeout: TOOL_MS }).catch(() => undefined);
  return ran === undefined ? undefined : parseContainerdVersion(ran.stdout);
}

async function materialOf(
  io: Io,
  files: NodeFiles,
  of: { flags: InstallFlags; wishes: InstallWishes; gvisor: GvisorPrograms | undefined },
): Promise<Material> {
  const { wishes, flags } = of;
  const share = join(wishes.prefix, "share/trine");
  const shipped = await readShipped(join(share, "kubernetes/runtimeclasses.yaml"));
  const overheads = await overheadsOf(io, files, { flags, shipped });
  const programs = flags.root === "/" ? [] : await programSteps(wishes.prefix);
  // Asked for by an earlier run: the node has them.
  const gvisor = of.gvisor ?? { dir: await files.place(join(wishes.prefix, "bin")) };
  return {
    tables: await handlerTables(join(share, "containerd")),
    runtimeClasses: runtimeClasses(shipped, { gvisor: wishes.gvisor, overheads }),
    programs: [...programs, ...(wishes.gvisor ? gvisorSteps(wishes.prefix, gvisor) : [])],
  };
}

/** Measured now, else as they were measured when they were last asked for, else as they ship. */
async function overheadsOf(
  io: Io,
  files: NodeFiles,
  { flags, shipped }: { flags: InstallFlags; shipped: string },
): Promise<Overheads> {
  const old = (await files.read(RUNTIME_CLASSES)) ?? "";
  if (flags.measure !== true) return raisedOverheads(shipped, overheadsIn(old));
  const { overheads, words } = await measureOverheads(io);
  tellNotes(io, words);
  return raisedOverheads(shipped, overheads);
}

async function handlerTables(dir: string): Promise<HandlerTables> {
  const read = async (name: string): Promise<Record<2 | 3, string>> => ({
    2: await readShipped(join(dir, `${name}-1.toml`)),
    3: await readShipped(join(dir, `${name}-2.toml`)),
  });
  return { trine: await read("containerd"), gvisor: await read("gvisor") };
}

async function readShipped(file: string): Promise<string> {
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw TrineError.during("a file of this release, run make install again", cause);
  });
}
