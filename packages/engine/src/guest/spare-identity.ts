import { readFile, stat, writeFile } from "node:fs/promises";
import type { PodInterface } from "@trine/pod-network";
import type { MachineSpec } from "@trine/vmm";
import type { EngineDeps } from "../deps.ts";
import { templateMachine } from "./build-template.ts";
import { guestMachine } from "./guest-machine.ts";
import type { PodDeps } from "../pod-context.ts";
import type { GuestSize } from "../pod-document.ts";

/** What a spare's interface is called and has until a pod's takes its place. Link-local: it leads nowhere. */
export const NOBODYS_NETWORK: PodInterface = {
  name: "eth0",
  mac: "02:54:52:49:4e:45",
  mtu: 1500,
  addresses: [{ family: "ipv4", address: "169.254.254.2", prefix: 30 }],
  routes: [{ family: "ipv4", to: "0.0.0.0/0", via: "169.254.254.1" }],
};

/** What it has had before that, so that it has changed its addresses as it will for its pod. */
export const ANOTHER_NOBODYS_NETWORK: PodInterface = {
  ...NOBODYS_NETWORK,
  mac: "02:54:52:49:4e:46",
  addresses: [{ family: "ipv4", address: "169.254.254.6", prefix: 30 }],
  routes: [{ family: "ipv4", to: "0.0.0.0/0", via: "169.254.254.5" }],
};

/** Owner of a spare's user id, as its shim's own names make it. */
export function ownerOf(name: string): string {
  return `trine/${name}`;
}

/**
 * Says of which programs and of what size a spare's guest is. One of another key than a pod's would have now
 * is of no use to it. Rejects as `guestImage` does.
 */
export async function spareKey(
  deps: Pick<PodDeps, "driver" | "config" | "guestImage" | "roots">,
  { cpus, memoryBytes }: GuestSize,
  signal: AbortSignal,
): Promise<string> {
  const { driver, config } = deps;
  const { accelerator, microvms } = config;
  const slotsDir = deps.roots === undefined ? undefined : "/slots";
  const nobody = { id: "", uuid: "", slotsDir, interfaces: [NOBODYS_NETWORK] };
  const size = { cpus, memoryBytes };
  const spec = guestMachine(nobody, size, { image: await deps.guestImage(), accelerator });
  const [machine, ...files] = await Promise.all([
    machineKey(driver, spec, signal),
    identityOf(microvms.shim),
    identityOf(microvms.fileServer),
  ]);
  return [machine, ...files].join("/");
}

function machineKey(
  driver: EngineDeps["driver"],
  spec: MachineSpec,
  signal: AbortSignal,
): Promise<string> {
  if (driver.can.templates) return driver.templateKey(templateMachine("/", spec), signal);
  return Promise.resolve(JSON.stringify(spec));
}

/** "" for a file that is not there: making a spare says what is missing. */
async function identityOf(path: string): Promise<string> {
  const file = await stat(path).catch(() => undefined);
  return file === undefined ? "" : [file.ino, file.size, file.mtimeMs].join("-");
}

/** Proportional set size of processes: what they share counts once among those who share it. 0 for one that has just ended. */
export async function heldBytes(pids: readonly number[]): Promise<number> {
  const each = pids.map(async (pid) => {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
    return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  });
  return (await Promise.all(each)).reduce((sum, bytes) => sum + bytes, 0);
}

/** What a VMM that is there already is given when its pod is known. Lowering it needs a right the node may not give. */
export async function setOomScore(pid: number, adjustment: number): Promise<void> {
  await writeFile(`/proc/${pid}/oom_score_adj`, `${adjustment}`);
}
