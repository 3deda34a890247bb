import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { NamespaceMode } from "@trine/proto/cri/api";
import type {
  ContainerConfigSchema,
  LinuxContainerConfigSchema,
  LinuxContainerSecurityContextSchema,
  LinuxPodSandboxConfigSchema,
  LinuxSandboxSecurityContextSchema,
  PodSandboxConfigSchema,
} from "@trine/proto/cri/api";
import type { RunningPod, TestPod, TestPodConfig, TrineNode } from "@trine/testkit";

export const MICROVM = "trine-microvm";
const HANDLERS = { runc: "", microvm: MICROVM } as const;
/** Runs until it is killed. */
export const SLEEP = ["/bin/sleep", "100000"];

/** What a message is made from, without messages that are made. */
type Init<T extends DescMessage> = Extract<MessageInitShape<T>, { readonly $typeName?: never }>;
type With<T, K extends keyof T, V> = Omit<T, K> & { readonly [key in K]?: V };

type PodInit = With<
  Init<typeof PodSandboxConfigSchema>,
  "linux",
  With<
    Init<typeof LinuxPodSandboxConfigSchema>,
    "securityContext",
    Init<typeof LinuxSandboxSecurityContextSchema>
  >
>;
export type SecurityContext = Init<typeof LinuxContainerSecurityContextSchema>;
export type ContainerInit = With<
  Init<typeof ContainerConfigSchema>,
  "linux",
  With<Init<typeof LinuxContainerConfigSchema>, "securityContext", SecurityContext>
>;

/** One thing under both handlers. */
export interface Both<T> {
  readonly runc: T;
  readonly microvm: T;
}

export interface PairOptions extends Partial<TestPod> {
  /** Over what `Containerd.podConfig` gives. */
  readonly config?: PodInit;
}

/** The same pod under runc and in a microvm, with the same containers in both. */
export class PodPair {
  readonly #node: TrineNode;
  readonly #image: string;
  readonly #pods: Both<PodOfTest>;

  private constructor(node: TrineNode, image: string, pods: Both<PodOfTest>) {
    this.#node = node;
    this.#image = image;
    this.#pods = pods;
  }

  static async start(node: TrineNode, image: string, options: PairOptions): Promise<PodPair> {
    const start = (handler: string): Promise<PodOfTest> =>
      PodOfTest.start(node, { handler, image, ...options });
    const [runc, microvm] = await Promise.all([start(HANDLERS.runc), start(HANDLERS.microvm)]);
    return new PodPair(node, image, { runc, microvm });
  }

  get microvm(): PodOfTest {
    return this.#pods.microvm;
  }

  get runc(): PodOfTest {
    return this.#pods.runc;
  }

  /** Runs a container in each pod and answers what `act` makes of it, or the words of its failure. */
  async compare(
    config: ContainerInit,
    act: (container: RunningPod, pod: PodOfTest) => Promise<string>,
  ): Promise<Both<string>> {
    const one = async (pod: PodOfTest): Promise<string> => {
      const container = await pod.run({ image: { image: this.#image }, ...config });
      const seen = await act(container, pod);
      await this.#node.containerd.cri.runtime.removeContainer({
        containerId: container.containerId,
      });
      return seen;
    };
    const [runc, microvm] = await Promise.all([one(this.#pods.runc), one(this.#pods.microvm)]);
    return { runc, microvm };
  }

  /** What the same script prints in a container of each pod. */
  async script(config: ContainerInit, script: string): Promise<Both<string>> {
    return this.compare({ command: SLEEP, ...config }, (container, pod) =>
      pod.sh(container, script),
    );
  }

  async remove(): Promise<void> {
    await Promise.all([this.#pods.runc.remove(), this.#pods.microvm.remove()]);
  }
}

/** A pod whose containers a test starts one by one. */
export class PodOfTest {
  readonly podSandboxId: string;
  readonly handler: string;
  readonly #node: TrineNode;
  readonly #image: string;
  readonly #config: TestPodConfig & PodInit;
  #containers = 0;

  private constructor(
    of: { node: TrineNode; image: string; handler: string; podSandboxId: string },
    config: TestPodConfig & PodInit,
  ) {
    this.#node = of.node;
    this.#image = of.image;
    this.handler = of.handler;
    this.podSandboxId = of.podSandboxId;
    this.#config = config;
  }

  static async start(
    node: TrineNode,
    { handler, image, config: over, ...pod }: PairOptions & { handler: string; image: string },
  ): Promise<PodOfTest> {
    const made = node.containerd.podConfig({ name: "pair", ...pod });
    const linux = {
      ...over?.linux,
      ...made.linux,
      securityContext: {
        namespaceOptions: { pid: NamespaceMode.CONTAINER },
        ...over?.linux?.securityContext,
      },
    };
    const config = { ...made, ...over, linux };
    await mkdir(made.logDirectory, { recursive: true });
    const { podSandboxId } = await node.containerd.cri.runtime.runPodSandbox({
      config,
      runtimeHandler: handler,
    });
    return new PodOfTest({ node, image, handler, podSandboxId }, config as typeof made);
  }

  /** Creates and starts a container; rejects with what the runtime says. */
  async run(config: ContainerInit): Promise<RunningPod> {
    const { runtime } = this.#node.containerd.cri;
    const name = config.metadata?.name ?? `c${this.#containers++}`;
    const { containerId } = await runtime.createContainer({
      podSandboxId: this.podSandboxId,
      sandboxConfig: this.#config,
      config: {
        metadata: { name, attempt: 0 },
        image: { image: this.#image },
        command: SLEEP,
        logPath: `${name}.log`,
        ...config,
        linux: {
          ...config.linux,
          securityContext: {
            namespaceOptions: this.#config.linux.securityContext?.namespaceOptions ?? {},
            ...config.linux?.securityContext,
          },
        },
      },
    });
    await runtime.startContainer({ containerId });
    const log = join(this.#config.logDirectory, `${name}.log`);
    return { podSandboxId: this.podSandboxId, containerId, log, ip: "" };
  }

  /** What a shell in the container prints, its errors after it, and its status when that is not 0. */
  async sh({ containerId }: Pick<RunningPod, "containerId">, script: string): Promise<string> {
    const answer = await this.#node.containerd.cri.runtime.execSync({
      containerId,
      cmd: ["/bin/sh", "-c", script],
      timeout: 120n,
    });
    const said = Buffer.concat([answer.stdout, answer.stderr]).toString();
    return answer.exitCode === 0 ? said : `${said}(status ${answer.exitCode})\n`;
  }

  async remove(): Promise<void> {
    await this.#node.remove(this);
  }
}
