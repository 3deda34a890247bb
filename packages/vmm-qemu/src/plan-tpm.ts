import { MACHINE_DIR, TPM_KEY } from "@trine/vmm";
import type { HardwareSpec, ProcessPlan } from "@trine/vmm";
import { DescriptorTable } from "./descriptor-table.ts";
import { OWN_DESCRIPTORS } from "./plan-memory.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";

/** In the machine's directory: the VMM connects once, at its start. */
export const TPM_SOCKET = `${MACHINE_DIR}/tpm.sock`;

/**
 * The process that is a machine's TPM. It keeps its state in one file that it is given, and ends when the VMM does.
 * Filters its own system calls.
 */
export function planTpm(
  { statePath }: NonNullable<HardwareSpec["tpm"]>,
  { swtpmPath, binds }: QemuEnvironment & { readonly swtpmPath: string },
): ProcessPlan {
  const table = new DescriptorTable();
  const control = table.add({ kind: "listen", path: TPM_SOCKET, forMachine: true });
  const state = table.add({ kind: "file", path: statePath, writable: true });
  return {
    key: TPM_KEY,
    argv: [
      ...[swtpmPath, "socket", "--tpm2", "--terminate"],
      ...["--ctrl", `type=unixio,fd=${control}`],
      ...["--tpmstate", `backend-uri=file://${OWN_DESCRIPTORS}/${state}`],
      ...["--seccomp", "action=kill"],
      ...["--log", "level=1"],
    ],
    env: [],
    descriptors: table.all,
    jail: {
      binds: [
        { source: swtpmPath, target: swtpmPath },
        ...binds.filter(({ target }) => target.includes("lib") || target === "/dev/null"),
        { source: OWN_DESCRIPTORS, target: OWN_DESCRIPTORS },
      ],
      newNetwork: true,
    },
    exitRules: [],
    isHelper: true,
  };
}
