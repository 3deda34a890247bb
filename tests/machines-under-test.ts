// Machines as users of KubeVirt make them, on a cluster with Trine's control plane, and the questions these tests ask of them.
import { pollUntil, withDeadline } from "@trine/base";
import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import type { KubeCluster } from "@trine/testkit";
import { type KubeObject, VirtctlClient } from "@trine/testkit";

/** Guests run in software here, beside whatever else the machine does. */
export const LONG_MS = 180_000;
export const TINY_GUEST = "trine.test/tiny-guest:1";
export const READY = /TINY-GUEST READY ip=(\S+) name=(\S+)/;

export type Instance = VirtualMachineInstance & KubeObject;
export type Machine = VirtualMachine & KubeObject;

export interface MachinePod extends KubeObject {
  readonly metadata: KubeObject["metadata"] & { readonly labels?: Record<string, string> };
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { name: string }[] };
  readonly status: { readonly phase: string; readonly podIP?: string };
}

export interface Event {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** The spec of an instance with a tiny guest, and what a test wants otherwise. */
export function instanceSpec(
  more: {
    readonly domain?: Fields;
    readonly spec?: Fields;
    readonly disks?: readonly Fields[];
    readonly volumes?: readonly Fields[];
    readonly image?: string;
  } = {},
): Fields {
  return {
    // Enough for a guest that has come up; one that has not is not waited for.
    terminationGracePeriodSeconds: 5,
    domain: {
      memory: { guest: "128Mi" },
      resources: { requests: { cpu: "10m" } },
      ...more.domain,
      devices: {
        disks: [{ name: "root", disk: { bus: "virtio" } }, ...(more.disks ?? [])],
        ...(more.domain?.["devices"] as Fields | undefined),
      },
    },
    volumes: [
      {
        name: "root",
        containerDisk: { image: more.image ?? TINY_GUEST, imagePullPolicy: "IfNotPresent" },
      },
      ...(more.volumes ?? []),
    ],
    ...more.spec,
  };
}

export function instance(name: string, spec = instanceSpec(), metadata: Fields = {}): object {
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstance",
    metadata: { name, ...metadata },
    spec,
  };
}

export function machine(
  name: string,
  runStrategy: string,
  spec: Fields = instanceSpec(),
  more: Fields = {},
): object {
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: { name },
    spec: { runStrategy, template: { metadata: { labels: { app: name } }, spec }, ...more },
  };
}

export class MachinesUnderTest {
  readonly cluster: KubeCluster;
  readonly virtctl: VirtctlClient;

  private constructor(cluster: KubeCluster, virtctl: VirtctlClient) {
    this.cluster = cluster;
    this.virtctl = virtctl;
  }

  static async of(cluster: KubeCluster): Promise<MachinesUnderTest> {
    return new MachinesUnderTest(cluster, await VirtctlClient.as(cluster.plane));
  }

  get kubectl(): KubeCluster["kubectl"] {
    return this.cluster.kubectl;
  }

  async create(...objects: readonly object[]): Promise<void> {
    for (const object of objects) {
      await this.kubectl.runWith(JSON.stringify(object), "create", "-f", "-");
    }
  }

  instance(name: string): Promise<Instance> {
    return this.kubectl.get<Instance>("vmi", name);
  }

  untilInstance(
    name: string,
    what: string,
    isSo: (vmi: Instance) => boolean,
    ms = LONG_MS,
  ): Promise<Instance> {
    return this.#until<Instance>("vmi", name, what, isSo, ms);
  }

  untilPhase(name: string, phase: string): Promise<Instance> {
    return this.untilInstance(name, `phase ${phase}`, ({ status }) => status?.phase === phase);
  }

  untilMachine(name: string, what: string, isSo: (vm: Machine) => boolean): Promise<Machine> {
    return this.#until<Machine>("vm", name, what, isSo, LONG_MS);
  }

  /** Until `kubectl get vm` shows that of it. */
  untilShown(name: string, shown: string): Promise<Machine> {
    return this.untilMachine(name, shown, ({ status }) => status?.printableStatus === shown);
  }

  async untilGone(kind: string, name: string): Promise<void> {
    await this.kubectl.run("wait", "--for=delete", `${kind}/${name}`, "--timeout=120s");
  }

  /** An object that may not be there yet. On timeout the error has its status and what the control plane said last. */
  async #until<O extends KubeObject>(
    kind: string,
    name: string,
    what: string,
    isSo: (object: O) => boolean,
    ms: number,
  ): Promise<O> {
    let last: O | undefined;
    try {
      return await pollUntil(`${kind} ${name}: ${what}`, { ms, everyMs: 250 }, async () => {
        last = await this.kubectl.get<O>(kind, name).catch(() => undefined);
        return last !== undefined && isSo(last) ? last : undefined;
      });
    } catch (cause) {
      const events = (await this.events(name)).map(({ message }) => message);
      const known = JSON.stringify({ status: last?.status, events });
      throw new Error(`${kind} ${name} is ${known}; ${await this.cluster.control.log(15)}`, {
        cause,
      });
    }
  }

  /** Pods of an instance: by the label that Services choose it by. */
  async pods(name: string): Promise<readonly MachinePod[]> {
    const { items } = await this.kubectl.get<{ items: readonly MachinePod[] }>(
      "pods",
      `--selector=vmi.kubevirt.io/id=${name}`,
    );
    return items;
  }

  /** The one pod of an instance. */
  async pod(name: string): Promise<MachinePod> {
    const all = await this.pods(name);
    const [pod] = all;
    if (pod === undefined || all.length > 1) throw new Error(`${name} has ${all.length} pods`);
    return pod;
  }

  /** What the guest has said on its console, as `kubectl logs` shows it. */
  async log(name: string): Promise<string> {
    const pod = await this.pod(name);
    return this.kubectl.run("logs", pod.metadata.name, "-c", "compute");
  }

  untilLog(name: string, wanted: RegExp): Promise<RegExpExecArray> {
    return pollUntil(
      `${name} says ${String(wanted)}`,
      { ms: LONG_MS, everyMs: 500 },
      async () => wanted.exec(await this.log(name).catch(() => "")) ?? undefined,
    );
  }

  /** The instance's guest has come up. */
  async booted(name: string): Promise<Instance> {
    const vmi = await this.untilPhase(name, "Running");
    await this.untilLog(name, READY);
    return vmi;
  }

  /** Its console, as soon as there is one: virtctl waits for a machine to run, not for it to be there. */
  async console(name: string): Promise<Talk> {
    await this.untilInstance(name, "is there", () => true);
    return new Talk(await this.virtctl.console(name, LONG_MS));
  }

  async events(name: string): Promise<readonly Event[]> {
    const { items } = await this.kubectl.get<{ items: readonly Event[] }>(
      "events",
      `--field-selector=involvedObject.name=${name}`,
    );
    return items;
  }

  async delete(kind: string, ...names: readonly string[]): Promise<void> {
    await this.kubectl.run("delete", kind, ...names, "--ignore-not-found", "--timeout=120s");
  }
}

type Socket = Awaited<ReturnType<VirtctlClient["vnc"]>>;

/** A stream of the API as virtctl has it: what has come, and more of it. */
export class Talk {
  readonly socket: Socket;
  readonly closed: Promise<number>;
  #said = Buffer.of();
  #heard = Promise.withResolvers<undefined>();

  constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) =>
      socket.once("close", (code) => {
        resolve(code);
      }),
    );
    socket.on("message", (data: Buffer) => {
      this.#said = Buffer.concat([this.#said, data]);
      this.#heard.resolve(undefined);
    });
  }

  get said(): string {
    return this.#said.toString("latin1");
  }

  send(text: string): void {
    this.socket.send(Buffer.from(text, "latin1"));
  }

  async until(wanted: string | RegExp, ms = LONG_MS): Promise<string> {
    const isThere = (): boolean =>
      typeof wanted === "string" ? this.said.includes(wanted) : wanted.test(this.said);
    const heard = async (): Promise<string> => {
      while (!isThere()) {
        await this.#heard.promise;
        this.#heard = Promise.withResolvers<undefined>();
      }
      return this.said;
    };
    return withDeadline(`the stream says ${String(wanted)}`, ms, heard());
  }

  end(): void {
    this.socket.close();
  }
}
