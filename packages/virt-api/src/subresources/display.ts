import type { VirtualMachineInstance } from "@trine/kube-types";
import { badRequest, conflict } from "../refusals/refusal.ts";
import { aboutInstance, hasCondition } from "./objects.ts";

/** Of VNC and screenshots. */
export function requireDisplay({ spec, status }: VirtualMachineInstance): void {
  if (spec.domain.devices.autoattachGraphicsDevice === false) {
    throw badRequest("No graphics devices are present.");
  }
  if (status?.phase !== "Running") throw badRequest("VMI is not running");
}

/** Of the console. `virtctl console` asks again after 400, and gives up after anything else. */
export function requireSerial({ spec, status, metadata }: VirtualMachineInstance): void {
  if (spec.domain.devices.autoattachSerialConsole === false) {
    throw badRequest("No serial consoles are present.");
  }
  if (status?.phase === "Failed") {
    throw conflict(aboutInstance(metadata?.name ?? ""), "VMI is in failed status");
  }
  if (status?.phase !== "Running") throw badRequest("VMI is not running");
}

/** Of port-forward: a machine that stands still takes no connection. */
export function requireNetwork(instance: VirtualMachineInstance): void {
  if (hasCondition(instance, "Paused", "True")) {
    throw conflict(aboutInstance(instance.metadata?.name ?? ""), "VMI is paused");
  }
  const { phase = "" } = instance.status ?? {};
  if (phase !== "Running") {
    const name = instance.metadata?.name ?? "";
    throw badRequest(
      `Unable to connect to VirtualMachineInstance ${name} because phase is ${phase} instead of Running`,
    );
  }
  if ((instance.status?.interfaces ?? []).length === 0) {
    throw badRequest("no network interfaces are present");
  }
}

export function requireUsb({ spec, status, metadata }: VirtualMachineInstance): void {
  const about = aboutInstance(metadata?.name ?? "");
  if (spec.architecture === "s390x") throw conflict(about, "No USB support on s390x");
  if (spec.domain.devices.clientPassthrough === undefined) {
    throw conflict(about, "Not configured with USB Redirection");
  }
  if (status?.phase !== "Running") throw badRequest("VMI is not running");
}
