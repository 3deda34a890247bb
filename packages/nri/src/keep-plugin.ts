import { createConnection } from "node:net";
import { abortable, messageOf, sleep, withDeadline } from "@trine/base";
import { Event, Plugin, Runtime } from "@trine/proto/nri";
import type { Container, LinuxResources, Mount, PodSandbox } from "@trine/proto/nri";
import { TtrpcClient, TtrpcServer } from "@trine/ttrpc";
import { Trunk } from "./trunk.ts";

/** Numbers of the two connections: what we serve, and what the runtime does. */
const PLUGIN = 1;
const RUNTIME = 2;
const REGISTER_MS = 10_000;
const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 10_000;
/** Pods and containers of one node: a runtime that claims more is not believed. */
const MAX_SYNCHRONIZED = 100_000;

/** What a plugin of ours does. A handler that throws leaves the container as it was: no plugin breaks a pod. */
export interface NriPlugin {
  /** As NRI orders and names it: two digits, and a name. */
  readonly index: string;
  readonly name: string;
  /** All there is when the plugin connects, and again after each loss of the connection. */
  synchronize(pods: readonly PodSandbox[], containers: readonly Container[]): void;
  /** Mounts to add to one that is being created. */
  create(
    pod: PodSandbox,
    container: Container,
  ): Pick<Mount, "destination" | "source" | "type" | "options">[];
  /** Its first process is there, with its id. */
  started(pod: PodSandbox, container: Container): void;
  /** Its limits change to these. */
  updated(pod: PodSandbox, container: Container, resources: LinuxResources | undefined): void;
  removed(containerId: string): void;
}

export interface KeepOptions {
  /** NRI's socket. */
  readonly socket: string;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

export interface KeptPlugin {
  /** Why it is not connected; undefined = it is. */
  readonly notConnected: () => string | undefined;
  readonly stop: () => Promise<void>;
}

/** Registers the plugin, and again with growing pauses whenever the connection is lost or cannot be made. */
export function keepPlugin(plugin: NriPlugin, options: KeepOptions): KeptPlugin {
  const over = new AbortController();
  let why: string | undefined = "it has not connected yet";
  const say = (reason: string): void => {
    if (reason !== why)
      options.log.warn({ socket: options.socket, reason }, "NRI is not connected");
    why = reason;
  };
  const isOver = (): boolean => over.signal.aborted;
  const keeping = (async () => {
    let pause = FIRST_RETRY_MS;
    while (!isOver()) {
      try {
        await connectOnce(plugin, options, over.signal, () => {
          options.log.info({ socket: options.socket }, "NRI is connected");
          [why, pause] = [undefined, FIRST_RETRY_MS];
        });
        say("the connection ended");
      } catch (cause) {
        if (!isOver()) say(messageOf(cause));
      }
      await sleep(pause, over.signal).catch(() => undefined); // it only fails when we stop
      pause = Math.min(pause * 2, LAST_RETRY_MS);
    }
  })();
  return {
    notConnected: () => why,
    stop: async () => {
      over.abort();
      await keeping;
    },
  };
}

/** Resolves when a connection that was made has ended. */
async function connectOnce(
  plugin: NriPlugin,
  { socket: path, log }: KeepOptions,
  signal: AbortSignal,
  onSynchronized: () => void,
): Promise<void> {
  const socket = createConnection(path);
  const trunk = new Trunk(socket);
  const server = new TtrpcServer({
    onError: (error, call) => {
      // Of the connection itself we hear by the other half of it.
      if (call.method !== undefined) {
        log.warn({ err: messageOf(error), ...call }, "a call of NRI failed");
      }
    },
  });
  server.register(Plugin, handlersOf(plugin, log, onSynchronized));
  server.serve(trunk.open(PLUGIN));
  const client = TtrpcClient.over(trunk.open(RUNTIME), path);
  try {
    await withDeadline(
      "registration with NRI",
      REGISTER_MS,
      client
        .service(Runtime)
        .registerPlugin({ pluginName: plugin.name, pluginIdx: plugin.index }, { signal }),
    );
    await abortable("NRI", signal, client.closed);
  } finally {
    client.close();
    await server.close();
  }
}

function handlersOf(
  plugin: NriPlugin,
  log: KeepOptions["log"],
  onSynchronized: () => void,
): Parameters<typeof TtrpcServer.prototype.register<typeof Plugin>>[1] {
  const pods: PodSandbox[] = [];
  const containers: Container[] = [];
  const quietly = <T>(
    what: string,
    container: Container | undefined,
    work: () => T,
  ): T | undefined => {
    try {
      return work();
    } catch (cause) {
      log.warn({ what, container: container?.id, err: messageOf(cause) }, "NRI: left as it was");
      return undefined;
    }
  };
  const event = (
    kind: Event,
    pod: PodSandbox | undefined,
    container: Container | undefined,
  ): Record<string, never> => {
    quietly(Event[kind], container, () => {
      if (container === undefined) return;
      if (kind === Event.REMOVE_CONTAINER || kind === Event.STOP_CONTAINER) {
        plugin.removed(container.id);
      } else if (pod !== undefined && STARTS.includes(kind)) plugin.started(pod, container);
    });
    return {};
  };
  return {
    configure: () => Promise.resolve({ events: EVENTS }),
    synchronize: (part) => {
      pods.push(...part.pods);
      containers.push(...part.containers);
      if (pods.length + containers.length > MAX_SYNCHRONIZED) {
        return Promise.reject(new Error("NRI: more pods and containers than a node has"));
      }
      if (!part.more) {
        quietly("Synchronize", undefined, () => {
          plugin.synchronize(pods.splice(0), containers.splice(0));
        });
        onSynchronized();
      }
      return Promise.resolve({ more: part.more });
    },
    shutdown: () => Promise.resolve({}),
    createContainer: ({ pod, container }) => {
      if (pod === undefined || container === undefined) return Promise.resolve({});
      const mounts = quietly("CreateContainer", container, () => plugin.create(pod, container));
      return Promise.resolve(mounts?.length ? { adjust: { mounts } } : {});
    },
    startContainer: ({ pod, container }) =>
      Promise.resolve(event(Event.START_CONTAINER, pod, container)),
    postStartContainer: ({ pod, container }) =>
      Promise.resolve(event(Event.POST_START_CONTAINER, pod, container)),
    updateContainer: ({ pod, container, linuxResources }) => {
      quietly("UpdateContainer", container, () => {
        if (pod !== undefined && container !== undefined) {
          plugin.updated(pod, container, linuxResources);
        }
      });
      return Promise.resolve({});
    },
    stopContainer: ({ pod, container }) =>
      Promise.resolve(event(Event.STOP_CONTAINER, pod, container)),
    removeContainer: ({ pod, container }) =>
      Promise.resolve(event(Event.REMOVE_CONTAINER, pod, container)),
    stateChange: ({ event: kind, pod, container }) => Promise.resolve(event(kind, pod, container)),
  };
}

/** Before it runs and after: the earlier has the id of the process in newer runtimes only. */
const STARTS: readonly Event[] = [Event.START_CONTAINER, Event.POST_START_CONTAINER];
const EVENTS = [
  Event.CREATE_CONTAINER,
  ...STARTS,
  Event.UPDATE_CONTAINER,
  Event.STOP_CONTAINER,
  Event.REMOVE_CONTAINER,
].reduce((mask, event) => mask | (1 << (event - 1)), 0);
