import type { ContainerView } from "./pod-view.ts";

interface Facts {
  readonly ready: boolean;
  readonly containers: readonly ContainerView[];
}

/** A pod in one word: `phase` is Kubernetes', `status` what a person wants to read. */
export function readinessOf({ ready, containers }: Facts): {
  phase: "Pending" | "Running" | "Succeeded" | "Failed";
  status: string;
  running: number;
} {
  const running = containers.filter(({ state }) => state === "running").length;
  const failed = containers.find((each) => each.state === "exited" && each.exitCode !== 0);
  const waiting = containers.filter(({ state }) => state === "created").length;
  if (running > 0) {
    const status = failed === undefined ? "Running" : `Running, ${failed.name} failed`;
    return { phase: "Running", status, running };
  }
  if (containers.length === 0 || waiting > 0) {
    return { phase: "Pending", status: ready ? "Starting" : "Stopped", running };
  }
  if (failed === undefined) return { phase: "Succeeded", status: "Completed", running };
  return { phase: "Failed", status: `${failed.reason || "Error"}(${failed.exitCode})`, running };
}
