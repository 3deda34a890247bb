// Pods as a user of Kubernetes writes them, each for runc and for a microVM, and the questions these tests ask of them.
import { pollUntil } from "@trine/base";
import { type KubeCluster, type KubeObject, runCommand } from "@trine/testkit";

export const LEVELS = ["runc", "microvm"] as const;
export type Level = (typeof LEVELS)[number];
/** Guests run in software here, beside whatever else the machine does. */
export const LONG_MS = 300_000;
export const BUSYBOX = "trine.test/busybox:1";
export const AGNHOST = "trine.test/agnhost:1";
export const TINY_GUEST = "trine.test/tiny-guest:1";
export const SLEEP = ["sleep", "100000"];

export interface ContainerState {
  readonly running?: { readonly startedAt: string };
  readonly waiting?: { readonly reason: string; readonly message?: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason: string;
    readonly message?: string;
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly started?: boolean;
  readonly restartCount: number;
  readonly containerID?: string;
  readonly state: ContainerState;
  readonly lastState: ContainerState;
  readonly resources?: object;
}

export interface Pod extends KubeObject {
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly ephemeralContainerStatuses?: readonly ContainerStatus[];
  };
}

export interface Event {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

/** Name of the pod of a case at a level. */
export const podOf = (name: string, level: Level): string => `${name}-${level}`;

/** A container with little of everything, so that many pods fit. */
export function container(name: string, more: object): object {
  const resources = { requests: { cpu: "10m", memory: "16Mi" } };
  return { name, image: BUSYBOX, imagePullPolicy: "Never", resources, ...more };
}

/** The same pod for both levels, or for those named. */
export function pods(name: string, spec: object, levels: readonly Level[] = LEVELS): object[] {
  return levels.map((level) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: podOf(name, level), labels: { case: name, level } },
    spec: {
      ...(level === "runc" ? {} : { runtimeClassName: `trine-${level}` }),
      terminationGracePeriodSeconds: 2,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...spec,
    },
  }));
}

export class KubeUnderTest {
  readonly cluster: KubeCluster;

  constructor(cluster: KubeCluster) {
    this.cluster = cluster;
  }

  get kubectl(): KubeCluster["kubectl"] {
    return this.cluster.kubectl;
  }

  pod(name: string): Promise<Pod> {
    return this.kubectl.get<Pod>("pod", name);
  }

  until(name: string, what: string, isSo: (pod: Pod) => boolean): Promise<Pod> {
    return this.kubectl.until<Pod>(what, ["pod", name], isSo, LONG_MS);
  }

  ready(name: string): Promise<Pod> {
    return this.until(name, "ready", isReady);
  }

  phase(name: string, phase: string): Promise<Pod> {
    return this.until(name, `phase ${phase}`, ({ status }) => status.phase === phase);
  }

  /** What a shell in the pod's container prints. */
  sh(name: string, of: string, script: string): Promise<string> {
    return this.kubectl.run("exec", name, "-c", of, "--", "sh", "-c", script);
  }

  /** The same with a terminal, which `script` makes on this side. */
  async terminal(name: string, of: string, script: string): Promise<string> {
    const words = this.kubectl.command("exec", "-it", name, "-c", of, "--", "sh", "-c", script);
    const line = words.map((word) => `'${word}'`).join(" ");
    return runCommand("script", ["-qefc", line, "/dev/null"], { timeoutMs: LONG_MS });
  }

  /** Polls until a shell in the container prints what is wanted; answers it. */
  untilSh(name: string, of: string, script: string, wanted: string): Promise<string> {
    return pollUntil(`${name}: ${script} prints ${wanted}`, { ms: LONG_MS, everyMs: 500 }, () =>
      this.sh(name, of, script).then((said) => (said.includes(wanted) ? said : undefined)),
    );
  }

  /** What the same act gives at each level, side by side. */
  async both<T>(name: string, act: (pod: string, level: Level) => Promise<T>): Promise<Both<T>> {
    const [runc, microvm] = await Promise.all(
      LEVELS.map((level) => act(podOf(name, level), level)),
    );
    return { runc, microvm } as Both<T>;
  }

  /** Makes the pod at each level, for as long as `act` takes: few guests at a time. */
  async during<T>(name: string, spec: object, act: () => Promise<T>): Promise<T> {
    await this.kubectl.apply(...pods(name, spec));
    try {
      return await act();
    } finally {
      await this.remove(...LEVELS.map((level) => podOf(name, level)));
    }
  }

  /** The same, and the same act at each level. */
  pair<T>(
    name: string,
    spec: object,
    act: (pod: string, level: Level) => Promise<T>,
  ): Promise<Both<T>> {
    return this.during(name, spec, () => this.both(name, act));
  }

  async events(name: string): Promise<readonly Event[]> {
    const { items } = await this.kubectl.get<{ items: readonly Event[] }>(
      "events",
      `--field-selector=involvedObject.name=${name}`,
    );
    return items;
  }

  /** Waits for an event of the pod whose message matches; answers the message. */
  untilEvent(name: string, reason: string, message: RegExp): Promise<string> {
    return pollUntil(
      `${name}: event ${reason} ${String(message)}`,
      { ms: LONG_MS, everyMs: 500 },
      async () =>
        (await this.events(name)).find((it) => it.reason === reason && message.test(it.message))
          ?.message,
    );
  }

  /** Deletes pods and waits until they are gone. */
  async remove(...names: readonly string[]): Promise<void> {
    await this.kubectl.run("delete", "pod", "--ignore-not-found", "--timeout=120s", ...names);
  }
}

export interface Both<T> {
  readonly runc: T;
  readonly microvm: T;
}

export function isReady(pod: Pod): boolean {
  const ready = pod.status.conditions?.find(({ type }) => type === "Ready");
  return ready?.status === "True";
}

export function statusOf(pod: Pod, name: string): ContainerStatus | undefined {
  const {
    containerStatuses = [],
    initContainerStatuses = [],
    ephemeralContainerStatuses = [],
  } = pod.status;
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find(
    (status) => status.name === name,
  );
}
