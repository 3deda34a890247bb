import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { createOverlay, inspectImage } from "@trine/disk-images";
import { VMM_KEY } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import { findQemuEnvironment, planMachine } from "@trine/vmm-qemu";
import { SpawnedProcessHost } from "@trine/vmm-qemu/testing";
import type { PeerCgroup } from "./peer-cgroup.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";
const MAX_DISK_BYTES = 1024 ** 4;
/** Of the test bridge. */
const MTU = 1500;
const MAC = "02:00:00:00:00:01";

export interface BareOptions {
  /** QCOW2 the machine boots from, through a fresh overlay. */
  readonly image: string;
  /** The seed a pod of the same image got. */
  readonly seed: string;
  readonly memoryBytes: number;
  readonly console: MachineSpec["console"];
  readonly cgroup: PeerCgroup;
}

export interface BareMachine extends AsyncDisposable {
  readonly host: SpawnedProcessHost;
  readonly pid: number;
  /** When the start was asked for, on the monotonic clock. */
  readonly startedMs: number;
}

/** The peer: the machine a pod would be, its QEMU command line run straight, in the pods' cgroup, without a jail. */
export async function startBareMachine(options: BareOptions): Promise<BareMachine> {
  const dir = await mkdtemp(join(tmpdir(), "trine-bench-bare-"));
  const host = new SpawnedProcessHost(dir);
  const stop = async (): Promise<void> => {
    await host.close();
    await rm(dir, { recursive: true });
  };
  try {
    const spec = await bareSpec(options, join(dir, "root.qcow2"));
    const plan = planMachine(spec, await findQemuEnvironment({ qemuPath: QEMU }));
    const startedMs = performance.now();
    const { pid } = await host.spawn(plan);
    await options.cgroup.add(pid);
    return { host, pid, startedMs, [Symbol.asyncDispose]: stop };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

/** When the guest's first byte came, milliseconds after the start. */
export async function bareFirstByteMs(machine: BareMachine, ms: number): Promise<number> {
  const channel = machine.host.channel("console");
  const bytes = await channel.read(AbortSignal.timeout(ms));
  if (bytes === undefined) {
    throw new TrineError("internal", `bare QEMU ended: ${await machine.host.logTail(VMM_KEY)}`);
  }
  return performance.now() - machine.startedMs;
}

/** A pod's machine as created by the engine with the same annotations. */
async function bareSpec(options: BareOptions, overlay: string): Promise<MachineSpec> {
  const { virtualSizeBytes } = await inspectImage(options.image, {
    maxVirtualBytes: MAX_DISK_BYTES,
  });
  await createOverlay(overlay, { virtualSizeBytes, sync: false });
  return {
    id: "bare",
    uuid: "6f1c8a52-7a0e-4d3a-9c1e-0f6a5b2d7c11",
    cpus: 1,
    memoryBytes: options.memoryBytes,
    firmware: "bios",
    accelerator: "tcg",
    disks: [
      {
        ...{ name: "root", bus: "virtio", format: "qcow2", path: overlay, readOnly: false },
        backing: { format: "qcow2", path: options.image },
        bootIndex: 1,
      },
      { name: "seed", bus: "virtio", format: "raw", path: options.seed, readOnly: true },
    ],
    nics: [{ name: "eth0", tap: "tap0", mac: MAC, mtu: MTU }],
    display: false,
    guestAgent: true,
    console: options.console,
  };
}
