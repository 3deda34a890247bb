import { TrineError } from "@trine/base";
import { GuestContainers } from "./guest/guest-containers.ts";
import { MachineKeeper } from "./machine/machine-keeper.ts";
import type { PodContext } from "./pod-context.ts";
import type { TaskKeeper } from "./task-keeper.ts";

/** A level of isolation: its name for people, and what serves the tasks of its pods. */
export interface Level {
  readonly name: "vm" | "microvm";
  readonly keeper: (pod: PodContext) => TaskKeeper;
}

const VM: Level = { name: "vm", keeper: (pod) => new MachineKeeper(pod) };
const MICROVM: Level = { name: "microvm", keeper: (pod) => new GuestContainers(pod) };

/** By the file name containerd makes of the runtime type (decision 7). */
const LEVELS: Readonly<Record<string, Level>> = {
  "containerd-shim-trine-vm-v2": VM,
  "containerd-shim-trine-microvm-v2": MICROVM,
  "containerd-shim-trine-v2": MICROVM,
};

export function levelOf(runtime: string): Level {
  const level = Object.hasOwn(LEVELS, runtime) ? LEVELS[runtime] : undefined;
  if (level !== undefined) return level;
  const known = Object.keys(LEVELS).join(", ");
  throw new TrineError(
    "unimplemented",
    `runtime ${runtime} is of no known level; there are ${known}`,
  );
}
