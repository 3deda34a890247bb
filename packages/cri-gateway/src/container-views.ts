import { messageOf } from "@trine/base";
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import type { BackEnd } from "./back-end.ts";
import { RUNTIME_SERVICE } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import {
  foundContainer,
  foundPodLinux,
  hasLimit,
  nriPod,
  plannedContainer,
  plannedPodLinux,
  wantedLimits,
} from "./nri-objects.ts";
import type { Known } from "./registry.ts";
import type { ServerCall } from "./server-call.ts";
import { bytesField, messageAt, numberAt, numberField, stringAt } from "./wire.ts";

const STATUS_PATH = `${RUNTIME_SERVICE}ContainerStatus`;
const POD_STATUS_PATH = `${RUNTIME_SERVICE}PodSandboxStatus`;
const UPDATE_PATH = `${RUNTIME_SERVICE}UpdateContainerResources`;
/** Values of ContainerState. */
const [RUNNING, EXITED] = [1, 2];
/** How often those that have ended by themselves are let go; lists say which, and kubelet asks for lists each second. */
const SWEEP_MS = 5_000;
/** Calls after which a container is another. */
const CHANGES: readonly string[] = ["StartContainer", "UpdateContainerResources"];
const ENDS: readonly string[] = [
  ...["StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"],
];

/** What puts containers on as many CPUs as their limits come to; `source` is their back end. */
interface CpuGiver {
  readonly offer: (source: string, pod: PodSandbox, container: Container) => string | undefined;
  readonly made: (id: string, pod: PodSandbox, container: Container) => void;
  readonly refused: (pod: PodSandbox, container: Container) => void;
  readonly seen: (pod: PodSandbox, container: Container) => void;
  readonly resized: (
    source: string,
    pod: PodSandbox,
    container: Container,
    wanted: LinuxResources | undefined,
  ) => string | undefined;
  /** Before the source's containers are looked at; answers what is told of them then. */
  readonly synchronizing: (
    source: string,
  ) => (all: readonly Found[], known: readonly Named[]) => void;
  readonly removed: (id: string) => void;
  readonly podRemoved: (id: string) => void;
}

/** A container that is there, and its pod. */
interface Found {
  readonly pod: PodSandbox;
  readonly container: Container;
}

/** One that is there, whatever it is like. */
interface Named {
  readonly pod: { readonly id: string };
  readonly container: { readonly name: string };
}

/** What gives containers views of their own limits, and the back ends that cannot tell it of theirs. */
export interface ViewsGiver {
  readonly backEnds: readonly string[];
  readonly offer: (
    pod: PodSandbox,
    container: Container,
  ) =>
    | {
        readonly mounts: readonly { readonly source: string; readonly destination: string }[];
        readonly keep: (id: string) => void;
      }
    | undefined;
  /** `isChanged`: it has just been started or changed; others are found as they have been. */
  readonly seen: (pod: PodSandbox, container: Container, isChanged: boolean) => void;
  readonly removed: (id: string) => void;
  /** Absent: containers run on the CPUs that are asked for. */
  readonly cpuSets?: CpuGiver | undefined;
}

/** A creation with views in it. */
interface Given {
  readonly message: Buffer;
  readonly keep: (id: string) => void;
  /** The back end has refused: there is none, and will be none. */
  readonly giveUp: () => void;
}

/** Tells of containers as they pass, in NRI's place. What goes wrong leaves a container as it was asked for. */
export class ContainerViews {
  readonly #node: NodeState;
  readonly #giver: ViewsGiver;
  /** Containers that are or may be given views: their back ends and sandboxes. */
  readonly #told = new Map<string, { readonly backEnd: string; readonly sandbox: string }>();
  readonly #sweeping: NodeJS.Timeout;

  constructor(node: NodeState, giver: ViewsGiver) {
    this.#node = node;
    this.#giver = giver;
    this.#sweeping = setInterval(() => {
      this.#sweep();
    }, SWEEP_MS).unref();
  }

  close(): void {
    clearInterval(this.#sweeping);
  }

  /** A CreateContainerRequest with the views that this container is to have; undefined: as it came. */
  creation(backEnd: string, sandbox: Known | undefined, message: Buffer): Given | undefined {
    if (sandbox === undefined || !this.#giver.backEnds.includes(backEnd)) return undefined;
    try {
      const pod = nriPod(sandbox.record, plannedPodLinux(messageAt(message, 3)));
      const container = plannedContainer(messageAt(message, 2));
      const { cpuSets } = this.#giver;
      const offer = this.#giver.offer(pod, container);
      const cpus = cpuSets?.offer(backEnd, pod, container);
      if (offer === undefined && cpus === undefined) return undefined;
      const mounts = (offer?.mounts ?? []).map(({ source, destination }) =>
        bytesField(
          7,
          Buffer.concat([bytesField(1, destination), bytesField(2, source), numberField(3, 1)]),
        ),
      );
      const keep = (id: string): void => {
        this.#told.set(id, { backEnd, sandbox: sandbox.id });
        offer?.keep(id);
        if (cpus !== undefined) cpuSets?.made(id, pod, container);
      };
      const giveUp = (): void => {
        if (cpus !== undefined) cpuSets?.refused(pod, container);
      };
      const linux = cpus === undefined ? [] : [bytesField(15, bytesField(1, onCpus(cpus)))];
      const config = bytesField(2, Buffer.concat([...mounts, ...linux]));
      return { message: Buffer.concat([message, config]), keep, giveUp };
    } catch (cause) {
      this.#warn(backEnd, stringAt(message, 2, 1, 1), cause);
      return undefined;
    }
  }

  /** A call about one object, as it is to be passed on: limits that change take the container's CPUs along. */
  async before(call: ServerCall): Promise<Buffer> {
    const { path, message } = call;
    const { cpuSets, backEnds } = this.#giver;
    if (cpuSets === undefined || path !== UPDATE_PATH) return message;
    const known = await this.#node.locate("container", stringAt(message, 1), call);
    if (known === undefined || !backEnds.includes(known.backEnd)) return message;
    try {
      const found = await this.#found(known, call);
      // What is not sent on changes nothing.
      if (found === undefined || call.isGone) return message;
      const { pod, container } = found;
      const cpus = cpuSets.resized(known.backEnd, pod, container, wantedLimits(message));
      return cpus === undefined ? message : Buffer.concat([message, bytesField(2, onCpus(cpus))]);
    } catch (cause) {
      if (!call.isGone) this.#warn(known.backEnd, known.id, cause);
      return message;
    }
  }

  /** A call about one object has succeeded. */
  after({ path, message, backEnd }: ServerCall): void {
    if (!this.#giver.backEnds.includes(backEnd)) return;
    const method = path.slice(path.lastIndexOf("/") + 1);
    const id = stringAt(message, 1);
    if (CHANGES.includes(method)) {
      const known = this.#node.registry.find("container", id);
      if (known !== undefined) void this.#look(known, true);
    } else if (ENDS.includes(method) && id !== "") {
      for (const [each, { sandbox }] of this.#told) {
        if (each.startsWith(id) || sandbox.startsWith(id)) this.#forget(each);
      }
      if (method === "RemovePodSandbox") this.#giver.cpuSets?.podRemoved(id);
    }
  }

  /** The lists of a back end have been read: it has come (back), or we have. */
  async readAll({ name }: BackEnd): Promise<void> {
    if (!this.#giver.backEnds.includes(name)) return;
    const synchronize = this.#giver.cpuSets?.synchronizing(name);
    const all: Found[] = [];
    const there = this.#node.registry
      .known("container", name)
      .filter(({ record }) => numberAt(record, 6) !== EXITED);
    for (const known of there) {
      if (numberAt(known.record, 6) !== RUNNING) continue;
      const found = await this.#look(known, false);
      if (found !== undefined) all.push(found);
    }
    // Of those that have gone meanwhile there is nothing to tell.
    synchronize?.(
      all.filter(({ container }) => this.#told.has(container.id)),
      there.map(({ record }) => ({
        pod: { id: stringAt(record, 2) },
        container: { name: stringAt(record, 3, 1) },
      })),
    );
  }

  /** Asks what it is now, and tells of it; undefined where that is not to be found out. */
  async #look(known: Known, isChanged: boolean): Promise<Found | undefined> {
    try {
      const found = await this.#found(known);
      if (found === undefined) return undefined;
      this.#giver.seen(found.pod, found.container, isChanged);
      this.#giver.cpuSets?.seen(found.pod, found.container);
      return found;
    } catch (cause) {
      this.#warn(known.backEnd, known.id, cause);
      return undefined;
    }
  }

  /**
   * What no list shows of its pod is asked for where it is needed: its limits, where the container has none itself, and its cgroup for
   * a `call` that changes limits. The call waits for it.
   */
  async #found({ id, backEnd, record }: Known, call?: ServerCall): Promise<Found | undefined> {
    const podId = stringAt(record, 2);
    const sandbox =
      call === undefined
        ? this.#node.registry.find("sandbox", podId)
        : await this.#node.locate("sandbox", podId, call);
    if (sandbox === undefined) return undefined;
    const ask = (path: string, of: string): Promise<Buffer> =>
      this.#node.ask(this.#node.backEnd(backEnd), path, verbose(of), call);
    const container = foundContainer(await ask(STATUS_PATH, id));
    const isAsked = call !== undefined || !hasLimit(container);
    const linux = isAsked ? foundPodLinux(await ask(POD_STATUS_PATH, sandbox.id)) : undefined;
    this.#told.set(id, { backEnd, sandbox: sandbox.id });
    return { pod: nriPod(sandbox.record, linux), container };
  }

  /** By the newest lists: nobody tells of a container that ends by itself. */
  #sweep(): void {
    for (const name of this.#giver.backEnds) {
      const known = this.#node.registry.known("container", name);
      const states = new Map(known.map(({ id, record }) => [id, numberAt(record, 6)]));
      for (const [id, { backEnd }] of this.#told) {
        if (backEnd !== name || (states.get(id) ?? EXITED) !== EXITED) continue;
        try {
          this.#forget(id);
        } catch (cause) {
          this.#warn(backEnd, id, cause);
        }
      }
    }
  }

  #forget(id: string): void {
    this.#told.delete(id);
    this.#giver.removed(id);
    this.#giver.cpuSets?.removed(id);
  }

  #warn(backEnd: string, container: string, cause: unknown): void {
    const err = messageOf(cause);
    this.#node.log.warn({ backEnd, container, err }, "views of limits: left as it was");
  }
}

/** A ContainerStatusRequest or PodSandboxStatusRequest that wants all there is. */
function verbose(id: string): Buffer {
  return Buffer.concat([bytesField(1, id), numberField(2, 1)]);
}

/** LinuxContainerResources that say this alone: appended they are merged into those that are there. */
function onCpus(cpus: string): Buffer {
  return bytesField(6, cpus);
}
