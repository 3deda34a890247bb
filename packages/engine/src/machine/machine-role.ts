import { join } from "node:path";
import type { MachineSettings } from "@trine/annotations";
import { TrineError } from "@trine/base";
import { hasDiskPlace, hasMachineDisk } from "@trine/disk-images";
import type { PodContext } from "../pod-context.ts";
import type { CreateTask } from "../requests.ts";

/**
 * Decision 8: whether a container is the pod's machine. It is when `trine.dev/machine` names it, else when its image
 * has a /disk: one that is no disk is to be refused as that, and not to be run as a program. Kind `invalid` for a second
 * disk: a pod has one machine.
 */
export async function isMachine(
  pod: PodContext,
  container: { readonly task: CreateTask; readonly name: string },
  settings: MachineSettings,
): Promise<boolean> {
  const { document, identity, sandbox } = pod;
  const { task, name } = container;
  const machine = settings.machine ?? document.machineName;
  if (machine === name) return true;
  // Of docker and ctr, which make no pods: there is nothing beside it.
  if (!sandbox.isPodSandbox) return true;
  const looksFor = machine === undefined ? hasDiskPlace : hasMachineDisk;
  if (!(await inImage(pod, task, looksFor))) return false;
  if (machine === undefined) return true;
  throw new TrineError(
    "invalid",
    `container ${name}: its image holds a disk, and pod ${identity.name} already has its machine, container ` +
      `${machine}; a pod has one machine, which trine.dev/machine may name`,
  );
}

/** Looks into the image, mounted for that. */
async function inImage(
  { shim }: PodContext,
  task: CreateTask,
  look: (rootfsDir: string) => Promise<boolean>,
): Promise<boolean> {
  const rootfs = join(task.bundle, "rootfs");
  await shim.mount({
    target: rootfs,
    mounts: task.rootfs.map((m) => ({ ...m, options: [...m.options] })),
  });
  try {
    return await look(rootfs);
  } finally {
    await shim.unmount(rootfs);
  }
}
