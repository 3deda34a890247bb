import { constants } from "node:fs";
import { access, mkdtemp, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@trine/base";
import type { Accelerator, MachineSpec } from "@trine/vmm";
import { BOOT_SECTOR_GREETING, bootSectorDisk } from "./boot-sector.ts";
import { DescriptorTable } from "./descriptor-table.ts";
import { machineArguments } from "./plan-machine.ts";
import { runUntilOutput } from "./run-until-output.ts";
import { queryQemu } from "./query-qemu.ts";

const KVM = "/dev/kvm";
const BOOT_MS = 20_000;
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
}

/**
 * Boots a guest of 120 bytes under KVM, with the arguments every machine has, and listens for its
 * greeting: a /dev/kvm that opens, and even one that makes virtual CPUs, may not run a guest. Answers
 * tcg with the reason within 20 s otherwise. Rejects when the signal aborts or QEMU itself is unusable.
 */
export async function probeAccelerator(options: ProbeOptions): Promise<AcceleratorProbe> {
  const { qemuPath, cacheFile, signal } = options;
  const key = await hostKey(qemuPath, signal);
  const cached = await readCache(cacheFile, key);
  if (cached !== undefined) return cached;
  const failure = await whyNotKvm(qemuPath, signal);
  const probe: AcceleratorProbe = {
    accelerator: failure === undefined ? "kvm" : "tcg",
    reason: failure ?? "a guest boots under KVM",
    probedAt: new Date().toISOString(),
  };
  await writeCache(cacheFile, key, probe);
  return probe;
}

/** Undefined when a guest boots. */
async function whyNotKvm(qemuPath: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    await access(KVM, constants.R_OK | constants.W_OK);
  } catch (cause) {
    return messageOf(cause);
  }
  const dir = await mkdtemp(join(tmpdir(), "trine-probe-"));
  try {
    const path = join(dir, "boot.img");
    await writeFile(path, bootSectorDisk());
    return await bootUnderKvm(qemuPath, path, signal);
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function bootUnderKvm(
  qemuPath: string,
  disk: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const table = new DescriptorTable();
  const argv = machineArguments(probeSpec(disk), { qemuPath, binds: [] }, table);
  await using image = await open(disk, "r");
  const result = await runUntilOutput({
    argv: [qemuPath, ...argv],
    descriptors: table.all.map((wanted) => (wanted.kind === "file" ? image.fd : "pipe")),
    wanted: BOOT_SECTOR_GREETING,
    ms: BOOT_MS,
    signal,
  });
  return result.heard ? undefined : `${KVM} opens, but no guest boots: ${result.why}`;
}

function probeSpec(disk: string): MachineSpec {
  return {
    id: "probe",
    uuid: "00000000-0000-4000-8000-000000000000",
    cpus: 1,
    memoryBytes: 32 * 1024 * 1024,
    firmware: "bios",
    accelerator: "kvm",
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
async function hostKey(qemuPath: string, signal: AbortSignal): Promise<string> {
  const { version } = await queryQemu(qemuPath, signal);
  const device = await stat(KVM).then(
    ({ rdev, mode, uid, gid }) => [rdev, mode, uid, gid].join(" "),
    () => "none",
  );
  return [CACHE_VERSION, qemuPath, version, release(), cpus()[0]?.model, device].join("\n");
}

/** Undefined when there is none, it is another host's, or it is damaged. */
async function readCache(path: string, key: string): Promise<AcceleratorProbe | undefined> {
  const text = await readFile(path, "utf8").catch(() => "{}");
  try {
    const { key: of, accelerator, reason, probedAt } = JSON.parse(text) as Record<string, unknown>;
    const known = accelerator === "kvm" || accelerator === "tcg";
    if (of !== key || !known || typeof reason !== "string" || typeof probedAt !== "string") {
      return undefined;
    }
    return { accelerator, reason, probedAt };
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
