// A real lxcfs in a directory of the test's own, and containers with limits that ask what they see.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { CriClient } from "@trine/containerd-client";
import { NamespaceMode } from "@trine/proto/cri/api";
import { runCommand } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";

const MIB = 1024 * 1024;
const UNIT = join(import.meta.dirname, "../deploy/systemd/trine-lxcfs.service");

export class RealLxcfs {
  readonly #dir: string;
  #process: ChildProcess | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Where it is mounted. */
  get mount(): string {
    return join(this.#dir, "fs");
  }

  get pidFile(): string {
    return join(this.#dir, "pid");
  }

  /** As the unit starts it. */
  async start(): Promise<void> {
    const unit = (await readFile(UNIT, "utf8")).replaceAll("/run/trine-lxcfs", this.#dir);
    const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
    await mkdir(this.mount, { recursive: true }).catch(() => undefined); // a dead mount answers an error
    await this.unmount();
    const [program = "", ...args] = command;
    this.#process = spawn("setpriv", ["--pdeathsig", "KILL", program, ...args], {
      stdio: "ignore",
    });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async unmount(): Promise<void> {
    await runCommand("umount", ["--lazy", this.mount]).catch(() => undefined); // there may be none
  }
}

export interface LimitedPod {
  readonly name: string;
  readonly handler?: string;
  readonly annotations?: Record<string, string>;
  /** Default: 1 CPU and 192 MiB. */
  readonly limited?: boolean;
  readonly command?: readonly string[];
}

/** A pod of one container with the host's programs in it; answers the container's id. */
export async function runLimited(
  { runtime }: CriClient,
  containerd: Containerd,
  { name, handler = "", annotations = {}, limited = true, command }: LimitedPod,
): Promise<string> {
  const config = containerd.podConfig({ name, annotations });
  await mkdir(config.logDirectory, { recursive: true });
  const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler: handler });
  const binds = ["/usr", "/lib", "/lib64", process.execPath].map((hostPath) => ({
    hostPath,
    containerPath: hostPath === process.execPath ? "/node" : hostPath,
    readonly: true,
  }));
  const { containerId } = await runtime.createContainer({
    podSandboxId,
    sandboxConfig: config,
    config: {
      metadata: { name: "main", attempt: 0 },
      image: { image: "trine.test/busybox:1" },
      command: [...(command ?? ["sleep", "1000000"])],
      logPath: "main.log",
      mounts: binds,
      linux: {
        resources: limited ? limits(1, 192) : {},
        securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } }, // as kubelet asks
      },
    },
  });
  await runtime.startContainer({ containerId });
  return containerId;
}

export function limits(
  cpus: number,
  mib: number,
): { cpuPeriod: bigint; cpuQuota: bigint; memoryLimitInBytes: bigint } {
  return {
    cpuPeriod: 100_000n,
    cpuQuota: BigInt(cpus * 100_000),
    memoryLimitInBytes: BigInt(mib * MIB),
  };
}

/** What a command in the container prints; of one that fails, how it ended too. */
export async function exec(
  client: CriClient,
  containerId: string,
  ...cmd: string[]
): Promise<string> {
  const { exitCode, stdout, stderr } = await client.runtime.execSync({
    ...{ containerId, cmd, timeout: 60n },
  });
  const [out, err] = [stdout, stderr].map((each) => Buffer.from(each).toString());
  return exitCode === 0 ? (out ?? "") : `ended with ${exitCode}: ${out ?? ""}${err ?? ""}`;
}

/** MemTotal in MiB, as the container reads it. */
export async function totalMib(client: CriClient, containerId: string): Promise<number> {
  const text = await exec(client, containerId, "cat", "/proc/meminfo");
  return Number(/^MemTotal:\s+(\d+) kB$/m.exec(text)?.[1] ?? Number.NaN) / 1024;
}
