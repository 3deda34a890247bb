import type { QmpEvent } from "@trine/qmp";
import type { MachineEvent, MachineStatus } from "@trine/vmm";
import { nameOfNode } from "./plan-disks.ts";
import { GUEST_AGENT_ID } from "./plan-machine.ts";

/** Undefined for what nobody above needs to know. */
export function toMachineEvent(event: QmpEvent): MachineEvent | undefined {
  const { data, at } = event;
  switch (event.name) {
    case "RESUME":
      return { at, what: "running" };
    case "STOP":
      return { at, what: "paused" };
    case "RESET":
      return { at, what: "reset", ...detail(data["reason"]) };
    case "SHUTDOWN":
      return { at, what: "shutdown", ...detail(data["reason"]) };
    case "GUEST_PANICKED":
      return { at, what: "panicked", ...detail(data["action"]) };
    case "BLOCK_IO_ERROR":
      return {
        at,
        what: "io-error",
        ...detail(`${nameOfNode(text(data["node-name"]))}: ${text(data["reason"])}`),
      };
    case "VSERPORT_CHANGE":
      if (data["id"] !== GUEST_AGENT_ID) return undefined;
      return { at, what: data["open"] === true ? "agent-up" : "agent-down" };
    default:
      return undefined;
  }
}

/** QEMU's RunState (qapi/run-state.json) in a machine's words. */
export function toMachineStatus(state: string): MachineStatus {
  switch (state) {
    case "running":
      return "running";
    case "prelaunch":
    case "inmigrate":
    case "preconfig":
      return "starting";
    case "shutdown":
      return "off";
    case "guest-panicked":
    case "internal-error":
      return "crashed";
    case "io-error":
    case "watchdog":
      return state;
    default:
      return "paused"; // paused, debug, suspended and the states around a migration
  }
}

function detail(value: unknown): { detail?: string } {
  return value === undefined ? {} : { detail: text(value) };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "unknown";
}
