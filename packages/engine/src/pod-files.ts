import { chown, mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { EngineConfig } from "./deps.ts";

/** Of the state directory and of the disk: what belongs to guests without a pod. */
export const SPARES = "spares";

/** In a pod's directory: which file its machine's TPM keeps its state in, where that outlives it. */
export const TPM_NOTE = "tpm";

/** Where a pod's files are. `podDir` is made by the shim; the rest by the engine. */
export interface PodFiles {
  readonly podDir: string;
  /** The only directory the machine's user may write. */
  readonly machineDir: string;
  readonly seed: string;
  /** Images of disks that show files of volumes. */
  readonly filesDir: string;
  /** CD with the answers of Windows' setup. */
  readonly answers: string;
  readonly ignition: string;
  readonly vmmLog: string;
  /** What the nested shim of its ordinary containers says. */
  readonly nestedLog: string;
  /** What passt says, where it carries the machine's network. */
  readonly passtLog: string;
  readonly consoleAttach: string;
  /** Served to the guest: of a microvm a directory for each container, of a machine its volumes. */
  readonly shareDir: string;
  readonly shareSocket: string;
  readonly shareLog: string;
  /** Volumes of a machine that are file systems of their own, each at its tag. */
  readonly fileSystemsDir: string;
  /** What fills the slots of a microvm's machine is mounted here. */
  readonly slotsDir: string;
  /** Made by the shim: the socket of the containerd that started it. */
  readonly containerd: string;
  /** Made by the shim's start: its own limits, as in /proc/PID/limits. */
  readonly limits: string;
  /** Made by the shim: streams of the guest link. */
  readonly guestSocket: string;
  /** On disk: outlives a full tmpfs, removed with the pod. */
  readonly diskDir: string;
  readonly consoleSpool: string;
}

export function podFiles(config: EngineConfig, podDir: string): PodFiles {
  const diskDir = join(diskParentOf(config, podDir), basename(podDir));
  return {
    podDir,
    machineDir: join(podDir, "machine"),
    seed: join(podDir, "seed.iso"),
    filesDir: join(podDir, "files"),
    answers: join(podDir, "answers.iso"),
    ignition: join(podDir, "ignition.json"),
    vmmLog: join(podDir, "vmm.log"),
    nestedLog: join(podDir, "nested.log"),
    passtLog: join(podDir, "passt.log"),
    consoleAttach: join(podDir, "console.sock"),
    shareDir: join(podDir, "share"),
    shareSocket: join(podDir, "p9.sock"),
    shareLog: join(podDir, "p9.log"),
    fileSystemsDir: join(podDir, "file-systems"),
    slotsDir: join(podDir, "slots"),
    containerd: join(podDir, "containerd"),
    limits: join(podDir, "limits"),
    guestSocket: join(podDir, "guest.sock"),
    diskDir,
    consoleSpool: join(diskDir, "console.log"),
  };
}

/** Of a shim that has no pod yet, or of a pod's. */
function diskParentOf({ stateDir, rootDir }: EngineConfig, podDir: string): string {
  const isSpare = podDir.startsWith(join(stateDir, SPARES, "/"));
  return join(rootDir, isSpare ? SPARES : "pods");
}

/** Makes the machine's directories; what an earlier machine of the pod left is removed first. */
export async function makeMachineDirs(files: PodFiles, uid: number): Promise<void> {
  await rm(files.machineDir, { recursive: true, force: true });
  await mkdir(files.machineDir, { recursive: true, mode: 0o700 });
  await chown(files.machineDir, uid, uid);
  await mkdir(files.diskDir, { recursive: true, mode: 0o700 });
}

export async function removeMachineFiles(files: PodFiles): Promise<void> {
  for (const dir of [files.machineDir, files.filesDir]) {
    await rm(dir, { recursive: true, force: true });
  }
  const note = join(files.podDir, TPM_NOTE);
  const told = [files.seed, files.answers, files.ignition];
  for (const path of [...told, note]) await rm(path, { force: true });
}
