import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { createOverlay, inspectImage } from "@trine/disk-images";
import { VMM_KEY } from "@trine/vmm";
import type { DiskSpec, MachineSpec } from "@trine/vmm";
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
  /** Beside the root and the seed. */
  readonly disks?: readonly DiskSpec[];
  /** A directory that is shared as a pod's volumes are. */
  readonly shared?: string;
  /** A directory that QEMU's own 9p shares, as `bare`. */
  readonly shared9p?: string;
}

export interface BareMachine extends AsyncDisposable {
  readonly host: SpawnedProcessHost;
  readonly pid: number;
  /** When the start was asked for, on the monotonic clock. */
  readonly startedMs: number;
}

const SHARES = { way: "virtiofs", tag: "trine", socket: "shares.sock" } as const;
const SERVERS = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];
const SERVER_MS = 30_000;

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
    if (options.shared !== undefined) await startServer(dir, options.shared, options.cgroup);
    const planned = planMachine(spec, await findQemuEnvironment({ qemuPath: QEMU }));
    const plan = { ...planned, argv: [...planned.argv, ...by9p(options.shared9p)] };
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
      ...(options.disks ?? []),
      { name: "seed", bus: "virtio", format: "raw", path: options.seed, readOnly: true },
    ],
    ...(options.shared === undefined ? {} : { shares: SHARES }),
    nics: [{ name: "eth0", tap: "tap0", mac: MAC, mtu: MTU }],
    display: false,
    guestAgent: true,
    console: options.console,
  };
}

function by9p(dir: string | undefined): string[] {
  if (dir === undefined) return [];
  const share = `local,id=bare,path=${dir},security_model=none`;
  return ["-fsdev", share, "-device", "virtio-9p-pci,fsdev=bare,mount_tag=bare"];
}

/** As a pod's, without a jail. It ends with the machine. */
async function startServer(dir: string, shared: string, cgroup: PeerCgroup): Promise<void> {
  const socket = join(dir, SHARES.socket);
  const program = SERVERS.find((path) => existsSync(path)) ?? "virtiofsd";
  const options = `source=${shared},sandbox=chroot,cache=auto,xattr,announce_submounts`;
  const argv = [`--socket-path=${socket}`, "--rlimit-nofile=0", "-o", options];
  const { pid } = spawn(program, argv, { stdio: "ignore" });
  if (pid === undefined) throw new TrineError("notFound", `${program} does not start`);
  await cgroup.add(pid);
  await pollUntil(`${program} listens`, { ms: SERVER_MS, everyMs: 50 }, () =>
    existsSync(socket) ? true : undefined,
  );
}
