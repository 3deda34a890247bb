import { TrineError, messageOf } from "@trine/base";
import { Event } from "@trine/proto/nri";
import type {
  Container,
  LinuxResources,
  Mount,
  Plugin,
  PodSandbox,
  SynchronizeRequest,
} from "@trine/proto/nri";
import type { ServiceHandlers } from "@trine/ttrpc";

/** Pods and containers of one node: a runtime that claims more is not believed. */
const MAX_SYNCHRONIZED = 100_000;
/** Before it runs and after: the earlier has the id of the process in newer runtimes only. */
const STARTS: readonly Event[] = [Event.START_CONTAINER, Event.POST_START_CONTAINER];
const ENDS: readonly Event[] = [Event.STOP_CONTAINER, Event.REMOVE_CONTAINER];
/** Bit N - 1 stands for event N. */
const EVENTS = [Event.CREATE_CONTAINER, Event.UPDATE_CONTAINER, ...STARTS, ...ENDS].reduce(
  (mask, event) => mask | (1 << (event - 1)),
  0,
);

export interface NriLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export type AddedMount = Pick<Mount, "destination" | "source" | "type" | "options">;

interface Adjustment {
  readonly mounts: readonly AddedMount[];
  /** CPUs it is to run on, as cpuset(7) writes them; absent: as it is asked for. */
  readonly cpus?: string | undefined;
}

/** What a plugin of ours does. A handler that throws leaves the container as it was: no plugin breaks a pod. */
export interface NriPlugin {
  /** As NRI orders and names it: two digits, and a name. */
  readonly index: string;
  readonly name: string;
  /** All there is when the plugin connects, and again after each loss of the connection. */
  synchronize(pods: readonly PodSandbox[], containers: readonly Container[]): void;
  /** What is added to one that is being created. */
  create(pod: PodSandbox, container: Container): Adjustment;
  /** Its first process is there, with its id. */
  started(pod: PodSandbox, container: Container): void;
  /** Its limits change to these; answers the CPUs it is to run on then, undefined: as the change says. */
  updated(
    pod: PodSandbox,
    container: Container,
    resources: LinuxResources | undefined,
  ): string | undefined;
  removed(containerId: string): void;
}

const NOTHING: Adjustment = { mounts: [] };

interface OnCpus {
  readonly resources: { readonly cpu: { readonly cpus: string } };
}

interface Subject {
  readonly pod?: PodSandbox | undefined;
  readonly container?: Container | undefined;
}

/** NRI's calls of one connection, as they come to the plugin. `onSynchronized`: it was told of all there is. */
export function pluginHandlers(
  plugin: NriPlugin,
  log: NriLog,
  onSynchronized: () => void,
): ServiceHandlers<typeof Plugin> {
  const calls = new PluginCalls(plugin, log);
  const on = (event: Event) => (subject: Subject) => {
    calls.on(event, subject);
    return Promise.resolve({});
  };
  return {
    configure: () => Promise.resolve({ events: EVENTS }),
    // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is the call's error
    synchronize: async (part) => {
      if (calls.synchronize(part)) onSynchronized();
      return { more: part.more };
    },
    shutdown: () => Promise.resolve({}),
    createContainer: (subject) => Promise.resolve(calls.create(subject)),
    startContainer: on(Event.START_CONTAINER),
    postStartContainer: on(Event.POST_START_CONTAINER),
    updateContainer: ({ linuxResources, ...subject }) =>
      Promise.resolve(calls.update(subject, linuxResources)),
    stopContainer: on(Event.STOP_CONTAINER),
    removeContainer: on(Event.REMOVE_CONTAINER),
    stateChange: ({ event, ...subject }) => on(event)(subject),
  };
}

class PluginCalls {
  readonly #plugin: NriPlugin;
  readonly #log: NriLog;
  readonly #pods: PodSandbox[] = [];
  readonly #containers: Container[] = [];

  constructor(plugin: NriPlugin, log: NriLog) {
    this.#plugin = plugin;
    this.#log = log;
  }

  /** True with the last part. */
  synchronize({ pods, containers, more }: SynchronizeRequest): boolean {
    if (this.#pods.length + this.#containers.length > MAX_SYNCHRONIZED) {
      throw new TrineError("exhausted", "NRI: more pods and containers than a node has");
    }
    this.#pods.push(...pods);
    this.#containers.push(...containers);
    if (more) return false;
    const all = [this.#pods.splice(0), this.#containers.splice(0)] as const;
    this.#quietly("Synchronize", {}, () => {
      this.#plugin.synchronize(...all);
    });
    return true;
  }

  create({ pod, container }: Subject): { adjust?: { mounts: AddedMount[]; linux?: OnCpus } } {
    if (pod === undefined || container === undefined) return {};
    const create = (): Adjustment => this.#plugin.create(pod, container);
    const { mounts, cpus } = this.#quietly("CreateContainer", { container }, create) ?? NOTHING;
    if (mounts.length === 0 && cpus === undefined) return {};
    return { adjust: { mounts: [...mounts], ...(cpus !== undefined && { linux: onCpus(cpus) }) } };
  }

  update(
    { pod, container }: Subject,
    resources: LinuxResources | undefined,
  ): { update?: { containerId: string; linux: OnCpus }[] } {
    if (pod === undefined || container === undefined) return {};
    const cpus = this.#quietly("UpdateContainer", { container }, () =>
      this.#plugin.updated(pod, container, resources),
    );
    return cpus === undefined
      ? {}
      : { update: [{ containerId: container.id, linux: onCpus(cpus) }] };
  }

  on(event: Event, { pod, container }: Subject): void {
    if (container === undefined) return;
    this.#quietly(Event[event], { container }, () => {
      if (ENDS.includes(event)) this.#plugin.removed(container.id);
      else if (pod !== undefined && STARTS.includes(event)) this.#plugin.started(pod, container);
    });
  }

  /** What the plugin cannot do it leaves undone: a call that fails would fail the container. */
  #quietly<T>(what: string, { container }: Subject, work: () => T): T | undefined {
    try {
      return work();
    } catch (cause) {
      const err = messageOf(cause);
      this.#log.warn({ what, container: container?.id, err }, "NRI: left as it was");
      return undefined;
    }
  }
}

function onCpus(cpus: string): OnCpus {
  return { resources: { cpu: { cpus } } };
}
