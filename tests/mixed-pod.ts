// A pod of several containers, made step by step as kubelet makes it.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { NamespaceMode } from "@trine/proto/cri/api";
import type {
  LinuxContainerSecurityContextSchema,
  NamespaceOptionSchema,
} from "@trine/proto/cri/api";
import type { RunningPod, TestPod, TrineNode } from "@trine/testkit";

/** Each container its own PID namespace (CONTAINER), as kubelet asks unless the pod shares processes. */
const OWN_PIDS = { pid: NamespaceMode.CONTAINER };

export interface PodContainer {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly attempt?: number;
  readonly stdin?: boolean;
  readonly tty?: boolean;
  readonly mounts?: readonly { containerPath: string; hostPath: string; readonly?: boolean }[];
  readonly devices?: readonly { containerPath: string; hostPath: string; permissions: string }[];
  readonly security?: MessageInitShape<typeof LinuxContainerSecurityContextSchema>;
}

export class PodOfMany {
  readonly node: TrineNode;
  readonly podSandboxId: string;
  readonly ip: string;
  readonly #config: ReturnType<TrineNode["containerd"]["podConfig"]>;

  private constructor(
    node: TrineNode,
    podSandboxId: string,
    ip: string,
    config: ReturnType<TrineNode["containerd"]["podConfig"]>,
  ) {
    this.node = node;
    this.podSandboxId = podSandboxId;
    this.ip = ip;
    this.#config = config;
  }

  static async make(
    node: TrineNode,
    pod: TestPod,
    namespaceOptions: MessageInitShape<typeof NamespaceOptionSchema> = OWN_PIDS,
  ): Promise<PodOfMany> {
    const { runtime } = node.containerd.cri;
    const base = node.containerd.podConfig(pod);
    const config = { ...base, linux: { ...base.linux, securityContext: { namespaceOptions } } };
    await mkdir(config.logDirectory, { recursive: true });
    const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler: "trine-vm" });
    const { status } = await runtime.podSandboxStatus({ podSandboxId });
    return new PodOfMany(node, podSandboxId, status?.network?.ip ?? "", config);
  }

  /** Creates and starts a container. */
  async start(container: PodContainer): Promise<RunningPod> {
    const { runtime } = this.node.containerd.cri;
    const logPath = `${container.name}-${container.attempt ?? 0}.log`;
    const { containerId } = await runtime.createContainer({
      podSandboxId: this.podSandboxId,
      sandboxConfig: this.#config,
      config: {
        metadata: { name: container.name, attempt: container.attempt ?? 0 },
        image: { image: container.image },
        command: [...(container.command ?? ["machine"])],
        logPath,
        stdin: container.stdin ?? false,
        tty: container.tty ?? false,
        mounts: [...(container.mounts ?? [])],
        devices: [...(container.devices ?? [])],
        linux: {
          resources: {},
          securityContext: container.security ?? { namespaceOptions: OWN_PIDS },
        },
      },
    });
    await runtime.startContainer({ containerId });
    const log = join(this.#config.logDirectory, logPath);
    return { podSandboxId: this.podSandboxId, containerId, log, ip: this.ip };
  }

  async exec(container: RunningPod, script: string): Promise<{ code: number; out: string }> {
    const answer = await this.node.containerd.cri.runtime.execSync({
      containerId: container.containerId,
      cmd: ["/bin/sh", "-c", script],
      timeout: 60n,
    });
    const out = Buffer.concat([answer.stdout, answer.stderr]).toString();
    return { code: answer.exitCode, out };
  }

  async removeContainer(container: RunningPod): Promise<void> {
    const { runtime } = this.node.containerd.cri;
    const { containerId } = container;
    await runtime.stopContainer({ containerId, timeout: 0n });
    await runtime.removeContainer({ containerId });
  }

  remove(): Promise<void> {
    return this.node.remove(this);
  }
}
