import { constants } from "node:fs";
import { access, mkdtemp, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@trine/base";
import type { Accelerator, MachineSpec } from "@trine/vmm";
import { DescriptorTable } from "./descriptor-table.ts";
import { machineArguments } from "./plan-machine.ts";
import { PROBE_GREETING, probeGuestDisk } from "./probe-guest.ts";
import { runUntilOutput } from "./run-until-output.ts";
import { queryQemu } from "./query-qemu.ts";

const KVM_DEVICE = "/dev/kvm";
/** Emulation takes 0.1-0.3 s; real hardware support takes less, also nested. */
const EMULATED_MS = 20_000;
const LEAST_KVM_MS = 3000;
const MOST_KVM_MS = 30_000;
const TIMES_EMULATED = 5;
/** A no may come from a busy hour: it is asked again after a day. */
const NO_HOLDS_MS = 24 * 3600 * 1000;
const CACHE_VERSION = 1;

export interface AcceleratorProbe {
  readonly accelerator: Accelerator;
  /** Why KVM is used, or why it is not. */
  readonly reason: string;
  /** ISO 8601. */
  readonly probedAt: string;
}

export interface ProbeOptions {
  readonly qemuPath: string;
  /** Keeps the answer for this QEMU, kernel, CPU and /dev/kvm. */
  readonly cacheFile: string;
  readonly signal: AbortSignal;
  /** Default /dev/kvm. */
  readonly device?: string;
}

/**
 * Boots a tiny guest under emulation and then under KVM, with the arguments every machine has. KVM is used
 * when the guest comes up in 3 s or five times what emulation took just before: a /dev/kvm that opens may
 * run no guest, or (seen on a paravirtual host) run it a hundred times slower than emulation does. Never
 * takes longer than a minute. Rejects when the signal aborts or QEMU itself is unusable.
 */
export async function probeAccelerator(options: ProbeOptions): Promise<AcceleratorProbe> {
  const { qemuPath, cacheFile, signal, device = KVM_DEVICE } = options;
  const key = await hostKey(qemuPath, device, signal);
  const cached = await readCache(cacheFile, key);
  if (cached !== undefined) return cached;
  const failure = await whyNotKvm(qemuPath, device, signal);
  const probe: AcceleratorProbe = {
    accelerator: failure === undefined ? "kvm" : "tcg",
    reason: failure ?? "a guest boots under KVM",
    probedAt: new Date().toISOString(),
  };
  await writeCache(cacheFile, key, probe);
  return probe;
}

/** Undefined when a guest boots. */
async function whyNotKvm(
  qemuPath: string,
  device: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await access(device, constants.R_OK | constants.W_OK);
  } catch (cause) {
    return messageOf(cause);
  }
  const dir = await mkdtemp(join(tmpdir(), "trine-probe-"));
  try {
    const path = join(dir, "boot.img");
    await writeFile(path, probeGuestDisk());
    const failure = await bootUnderKvm(qemuPath, path, signal);
    return failure && `${device} opens, but a guest does not boot: ${failure}`;
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function bootUnderKvm(
  qemuPath: string,
  disk: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const began = performance.now();
  const emulated = await boot("tcg", { qemuPath, disk, ms: EMULATED_MS, signal });
  const emulatedMs = Math.round(performance.now() - began);
  // A QEMU without TCG leaves nothing to compare with.
  const fair = emulated.heard ? TIMES_EMULATED * emulatedMs : 0;
  const ms = Math.min(MOST_KVM_MS, Math.max(LEAST_KVM_MS, fair));
  const result = await boot("kvm", { qemuPath, disk, ms, signal });
  if (result.heard) return undefined;
  const compared = emulated.heard ? ` (emulation takes ${emulatedMs} ms)` : "";
  return `${result.why}${compared}`;
}

async function boot(
  accelerator: Accelerator,
  how: { qemuPath: string; disk: string; ms: number; signal: AbortSignal },
): Promise<{ heard: true } | { heard: false; why: string }> {
  const table = new DescriptorTable();
  const environment = { qemuPath: how.qemuPath, binds: [] };
  const argv = machineArguments(probeSpec(accelerator, how.disk), environment, table);
  await using image = await open(how.disk, "r");
  return await runUntilOutput({
    argv: [how.qemuPath, ...argv],
    descriptors: table.all.map((wanted) => (wanted.kind === "file" ? image.fd : "pipe")),
    wanted: PROBE_GREETING,
    ms: how.ms,
    signal: how.signal,
  });
}

function probeSpec(accelerator: Accelerator, disk: string): MachineSpec {
  return {
    id: "probe",
    uuid: "00000000-0000-4000-8000-000000000000",
    cpus: 1,
    memoryBytes: 32 * 1024 * 1024,
    firmware: "bios",
    accelerator,
    disks: [
      { name: "root", bus: "virtio", format: "raw", path: disk, readOnly: true, bootIndex: 1 },
    ],
    nics: [],
    display: false,
    guestAgent: false,
    console: "serial",
  };
}

/** What the answer depends on. */
async function hostKey(qemuPath: string, device: string, signal: AbortSignal): Promise<string> {
  const { version } = await queryQemu(qemuPath, signal);
  const identity = await stat(device).then(
    ({ rdev, mode, uid, gid }) => [rdev, mode, uid, gid].join(" "),
    () => "none",
  );
  return [CACHE_VERSION, qemuPath, version, release(), cpus()[0]?.model, device, identity].join(
    "\n",
  );
}

/** Undefined when there is none, it is another host's, old or damaged. */
async function readCache(path: string, key: string): Promise<AcceleratorProbe | undefined> {
  const text = await readFile(path, "utf8").catch(() => "{}");
  try {
    const { key: of, accelerator, reason, probedAt } = JSON.parse(text) as Record<string, unknown>;
    const known = accelerator === "kvm" || accelerator === "tcg";
    if (of !== key || !known || typeof reason !== "string" || typeof probedAt !== "string") {
      return undefined;
    }
    const age = Date.now() - Date.parse(probedAt);
    const holds = accelerator === "kvm" || (age >= 0 && age < NO_HOLDS_MS);
    return holds ? { accelerator, reason, probedAt } : undefined;
  } catch {
    return undefined;
  }
}

/** A cache that cannot be written costs the next start a second; the answer is right all the same. */
async function writeCache(path: string, key: string, probe: AcceleratorProbe): Promise<void> {
  const making = `${path}.${process.pid}`;
  try {
    await writeFile(making, JSON.stringify({ key, ...probe }), { mode: 0o600, flag: "wx" });
    await rename(making, path);
  } catch {
    await rm(making, { force: true });
  }
}
