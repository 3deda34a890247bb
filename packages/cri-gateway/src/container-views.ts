import { messageOf } from "@trine/base";
import type { Container, PodSandbox } from "@trine/proto/nri";
import type { BackEnd } from "./back-end.ts";
import { RUNTIME_SERVICE } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import {
  foundContainer,
  foundPodLimits,
  hasLimit,
  nriPod,
  plannedContainer,
  plannedPodLimits,
} from "./nri-objects.ts";
import type { Known } from "./registry.ts";
import type { ServerCall } from "./server-call.ts";
import { bytesField, messageAt, numberAt, numberField, stringAt } from "./wire.ts";

const STATUS_PATH = `${RUNTIME_SERVICE}ContainerStatus`;
const POD_STATUS_PATH = `${RUNTIME_SERVICE}PodSandboxStatus`;
/** Values of ContainerState. */
const [RUNNING, EXITED] = [1, 2];
/** How often those that have ended by themselves are let go; lists say which, and kubelet asks for lists each second. */
const SWEEP_MS = 5_000;
/** Calls after which a container is another. */
const CHANGES: readonly string[] = ["StartContainer", "UpdateContainerResources"];
const ENDS: readonly string[] = [
  ...["StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"],
];

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
  readonly seen: (pod: PodSandbox, container: Container) => void;
  readonly removed: (id: string) => void;
}

/** A creation with views in it. */
interface Given {
  readonly message: Buffer;
  readonly keep: (id: string) => void;
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
      const pod = nriPod(sandbox.record, plannedPodLimits(messageAt(message, 3)));
      const offer = this.#giver.offer(pod, plannedContainer(messageAt(message, 2)));
      if (offer === undefined) return undefined;
      const mounts = offer.mounts.map(({ source, destination }) =>
        bytesField(
          7,
          Buffer.concat([bytesField(1, destination), bytesField(2, source), numberField(3, 1)]),
        ),
      );
      const keep = (id: string): void => {
        this.#told.set(id, { backEnd, sandbox: sandbox.id });
        offer.keep(id);
      };
      const config = mounts.length === 0 ? [] : [bytesField(2, Buffer.concat(mounts))];
      return { message: Buffer.concat([message, ...config]), keep };
    } catch (cause) {
      this.#warn(backEnd, stringAt(message, 2, 1, 1), cause);
      return undefined;
    }
  }

  /** A call about one object has succeeded. */
  after({ path, message, backEnd }: ServerCall): void {
    if (!this.#giver.backEnds.includes(backEnd)) return;
    const method = path.slice(path.lastIndexOf("/") + 1);
    const id = stringAt(message, 1);
    if (CHANGES.includes(method)) {
      const known = this.#node.registry.find("container", id);
      if (known !== undefined) void this.#look(known);
    } else if (ENDS.includes(method)) {
      for (const [each, { sandbox }] of this.#told) {
        if (each.startsWith(id) || sandbox.startsWith(id)) this.#forget(each);
      }
    }
  }

  /** The lists of a back end have been read: it has come (back), or we have. */
  async readAll({ name }: BackEnd): Promise<void> {
    if (!this.#giver.backEnds.includes(name)) return;
    for (const known of this.#node.registry.known("container", name)) {
      if (numberAt(known.record, 6) === RUNNING) await this.#look(known);
    }
  }

  /** Asks what it is now. */
  async #look({ id, backEnd, record }: Known): Promise<void> {
    try {
      const sandbox = this.#node.registry.find("sandbox", stringAt(record, 2));
      if (sandbox === undefined) return;
      const ask = (path: string, of: string): Promise<Buffer> =>
        this.#node.ask(this.#node.backEnd(backEnd), path, verbose(of));
      const container = foundContainer(await ask(STATUS_PATH, id));
      // Its pod's, which no list shows, count where it has none itself.
      const limits = hasLimit(container)
        ? undefined
        : foundPodLimits(await ask(POD_STATUS_PATH, sandbox.id));
      this.#told.set(id, { backEnd, sandbox: sandbox.id });
      this.#giver.seen(nriPod(sandbox.record, limits), container);
    } catch (cause) {
      this.#warn(backEnd, id, cause);
    }
  }

  /** By the newest lists: nobody tells of a container that ends by itself. */
  #sweep(): void {
    for (const name of this.#giver.backEnds) {
      const known = this.#node.registry.known("container", name);
      const states = new Map(known.map(({ id, record }) => [id, numberAt(record, 6)]));
      for (const [id, { backEnd }] of this.#told) {
        if (backEnd === name && (states.get(id) ?? EXITED) === EXITED) this.#forget(id);
      }
    }
  }

  #forget(id: string): void {
    this.#told.delete(id);
    this.#giver.removed(id);
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
