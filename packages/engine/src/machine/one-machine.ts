import type { MachineSettings } from "@trine/annotations";
import { TrineError } from "@trine/base";

/** Decision 8: one machine a pod, and which container it is. Throws for any other container. */
export function requireOneMachine(
  container: { readonly id: string; readonly name: string; readonly podName: string },
  settings: MachineSettings,
  machine: { readonly taskId: string; readonly containerName: string } | undefined,
): void {
  const { id, name, podName } = container;
  if (machine !== undefined && machine.taskId !== id) {
    throw new TrineError(
      "invalid",
      `container ${name}: pod ${podName} already has its machine, ` +
        `container ${machine.containerName}; a pod has one machine`,
    );
  }
  if (settings.machine !== undefined && settings.machine !== name) {
    throw new TrineError(
      "unimplemented",
      `container ${name}: trine.dev/machine names ${settings.machine}, and ordinary containers ` +
        "beside a machine are not supported yet",
    );
  }
  if (settings.disks.length > 0) {
    throw new TrineError("unimplemented", "trine.dev/disks: further disks are not supported yet");
  }
}
