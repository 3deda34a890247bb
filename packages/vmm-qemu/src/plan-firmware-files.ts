import type { JailBind, MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";
import { FILES_DIR } from "./plan-boot.ts";

/** QEMU 7.2 takes no descriptor for them: it reads them by name, once, at its start. */
export function firmwareFileArguments({ firmwareFiles = [] }: MachineSpec): string[] {
  return firmwareFiles.flatMap(({ name }, index) => [
    "-fw_cfg",
    option(`name=${name}`, { file: placeOf(index) }),
  ]);
}

export function firmwareFileBinds({ firmwareFiles = [] }: MachineSpec): JailBind[] {
  return firmwareFiles.map(({ path }, index) => ({ source: path, target: placeOf(index) }));
}

function placeOf(index: number): string {
  return `${FILES_DIR}/firmware-${index}`;
}
