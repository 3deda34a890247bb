import { TrineError } from "@trine/base";
import { bootOf } from "@trine/vmm";
import type { BootSpec, JailBind, MachineSpec } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";
import { option } from "./option.ts";
import { fileArguments } from "./plan-disks.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";

/** Where the VMM finds files that it opens by name. */
export const FILES_DIR = "/files";
const KERNEL = `${FILES_DIR}/kernel`;
const INITRD = `${FILES_DIR}/initrd`;

/**
 * What starts the guest. A clone starts in the middle: it needs no kernel. Where QEMU loads the kernel, a reset
 * is how a guest's panic ends (`panic=-1`), so it ends the machine, as power-off does.
 */
export function bootArguments(
  spec: MachineSpec,
  environment: Pick<QemuEnvironment, "firmwareCode" | "secureFirmwareCode">,
  table: DescriptorTable,
): string[] {
  const boot = bootOf(spec);
  switch (boot.kind) {
    case "firmware":
      return [
        ...(boot.firmware === "bios" ? [] : uefiArguments(spec, boot, environment, table)),
        ...kernelArguments(spec),
      ];
    case "direct":
      return [
        "-no-reboot",
        // Tells a clone's kernel that it is one: its random numbers start anew.
        ...["-device", "vmgenid,guid=auto"],
        ...(spec.origin === undefined
          ? ["-kernel", KERNEL, "-initrd", INITRD, "-append", boot.cmdline]
          : []),
      ];
  }
}

/** Loaded by an option ROM of the firmware's, which comes before all disks; a guest that resets is given it again. */
function kernelArguments({ kernel }: MachineSpec): string[] {
  if (kernel === undefined) return [];
  return [
    ...["-kernel", KERNEL],
    ...(kernel.initrdPath === undefined ? [] : ["-initrd", INITRD]),
    ...(kernel.args === "" ? [] : ["-append", kernel.args]),
  ];
}

export function bootBinds(spec: MachineSpec): JailBind[] {
  const boot = bootOf(spec);
  const { kernel } = spec;
  if (kernel !== undefined) {
    const { path, initrdPath } = kernel;
    return [
      { source: path, target: KERNEL },
      ...(initrdPath === undefined ? [] : [{ source: initrdPath, target: INITRD }]),
    ];
  }
  if (boot.kind !== "direct" || spec.origin !== undefined) return [];
  return [
    { source: boot.kernel, target: KERNEL },
    { source: boot.initrd, target: INITRD },
  ];
}

/** The read-only code and the machine's own variables, as the two flash chips UEFI expects. */
function uefiArguments(
  spec: MachineSpec,
  boot: BootSpec & { readonly kind: "firmware" },
  { firmwareCode, secureFirmwareCode }: Parameters<typeof bootArguments>[1],
  table: DescriptorTable,
): string[] {
  const isSecure = spec.hardware?.secureBoot === true;
  const code = isSecure ? secureFirmwareCode : firmwareCode;
  if (code === undefined) {
    const what = isSecure ? "secure boot" : "UEFI";
    const has = `this node has no ${what} firmware`;
    throw new TrineError("invalid", `machine ${spec.id}: ${what}, but ${has}`);
  }
  if (boot.varsPath === undefined) {
    throw new TrineError("invalid", `machine ${spec.id}: UEFI without a file for its variables`);
  }
  return [
    ...fileArguments("firmware-code", { path: code, writable: false }, table),
    ...fileArguments("firmware-vars", { path: boot.varsPath, writable: true }, table),
    ...["-machine", option("pflash0=firmware-code", { pflash1: "firmware-vars" })],
    // The keys are worth nothing where the guest writes them by itself: only its firmware does.
    ...(isSecure ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : []),
  ];
}
