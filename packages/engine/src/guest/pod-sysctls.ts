import { TrineError } from "@trine/base";
import type { Bundle } from "../bundle.ts";
import { record, strings } from "../json-shape.ts";

/** Of the IPC and UTS namespaces (ipc_namespaces(7)). */
const OF_NAMESPACES = [
  ...["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"],
  ...["kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"],
  ...["kernel.domainname", "kernel.hostname"],
];

/**
 * The pod's kernel parameters. Refuses, kind `invalid`, what runc refuses: those that belong to a kernel and no
 * namespace. A pod that may have them under one RuntimeClass may have them under all.
 */
export function podSysctls(sandbox: Pick<Bundle, "spec">): Readonly<Record<string, string>> {
  const sysctls = strings(record(sandbox.spec["linux"])["sysctl"]);
  const wrong = Object.keys(sysctls).filter((name) => !isNamespaced(name.replaceAll("/", ".")));
  if (wrong.length === 0) return sysctls;
  const names = wrong.map((name) => JSON.stringify(name)).join(", ");
  throw new TrineError("invalid", `sysctl ${names} is not in a separate kernel namespace`);
}

function isNamespaced(name: string): boolean {
  return name.startsWith("net.") || name.startsWith("fs.mqueue.") || OF_NAMESPACES.includes(name);
}
