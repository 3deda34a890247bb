import { TrineError } from "@trine/base";

/** Decision 8: one machine a pod. Throws for another container. */
export function requireOneMachine(
  container: { readonly id: string; readonly name: string; readonly podName: string },
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
}
