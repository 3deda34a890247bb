// Every call of CRI v1 (the 43 of cri-api 0.37) and how it finds its back end: the one place that knows.

/** What a successful call changes of what is known of its object. */
export type Effect = "started" | "stopped" | "removed";

/** Lists that are merged: the items of both answers are field 1. */
export interface ListKind {
  readonly unary: string;
  readonly stream: string;
  /** What is remembered of its items, so that those of a dead back end stay in the list. */
  readonly records?: "sandbox" | "container" | "image";
}

export type How =
  /** The default back end answers. */
  | { readonly how: "default" }
  /** The back end that has the object whose id is field 1; `masked`: an object that is nowhere is a success. */
  | {
      readonly how: "sandbox" | "container";
      readonly masked?: boolean;
      readonly effect?: Effect;
      /** The answer is a streaming URL. */
      readonly streams?: boolean;
    }
  /** A sandbox is made: the pod's configuration and the handler are these fields. */
  | {
      readonly how: "run";
      readonly config: number;
      readonly handler: number;
      readonly joins: boolean;
    }
  | { readonly how: "create" }
  | { readonly how: "list" | "stream"; readonly list: ListKind }
  /** All back ends; the call fails when one of them does. */
  | { readonly how: "broadcast" }
  | { readonly how: "events" | "status" | "descriptors" }
  | { readonly how: "imageStatus" | "pullImage" | "removeImage" | "imageFsInfo" };

const SANDBOXES: ListKind = {
  unary: "ListPodSandbox",
  stream: "StreamPodSandboxes",
  records: "sandbox",
};
const CONTAINERS: ListKind = {
  unary: "ListContainers",
  stream: "StreamContainers",
  records: "container",
};
const CONTAINER_STATS: ListKind = { unary: "ListContainerStats", stream: "StreamContainerStats" };
const SANDBOX_STATS: ListKind = { unary: "ListPodSandboxStats", stream: "StreamPodSandboxStats" };
const METRICS: ListKind = { unary: "ListPodSandboxMetrics", stream: "StreamPodSandboxMetrics" };
const IMAGES: ListKind = { unary: "ListImages", stream: "StreamImages", records: "image" };

const RUNTIME: Readonly<Record<string, How>> = {
  Version: { how: "default" },
  RuntimeConfig: { how: "default" },
  Status: { how: "status" },
  UpdateRuntimeConfig: { how: "broadcast" },
  GetContainerEvents: { how: "events" },
  ListMetricDescriptors: { how: "descriptors" },

  RunPodSandbox: { how: "run", config: 1, handler: 2, joins: true },
  RestorePod: { how: "run", config: 2, handler: 3, joins: false },
  StopPodSandbox: { how: "sandbox", masked: true, effect: "stopped" },
  RemovePodSandbox: { how: "sandbox", masked: true, effect: "removed" },
  PodSandboxStatus: { how: "sandbox" },
  PodSandboxStats: { how: "sandbox" },
  PortForward: { how: "sandbox", streams: true },
  UpdatePodSandboxResources: { how: "sandbox" },
  CheckpointPod: { how: "sandbox" },

  CreateContainer: { how: "create" },
  StartContainer: { how: "container", effect: "started" },
  StopContainer: { how: "container", masked: true, effect: "stopped" },
  RemoveContainer: { how: "container", masked: true, effect: "removed" },
  ContainerStatus: { how: "container" },
  ContainerStats: { how: "container" },
  UpdateContainerResources: { how: "container" },
  ReopenContainerLog: { how: "container" },
  ExecSync: { how: "container" },
  Exec: { how: "container", streams: true },
  Attach: { how: "container", streams: true },
  CheckpointContainer: { how: "container" },

  ...bothWays(SANDBOXES),
  ...bothWays(CONTAINERS),
  ...bothWays(CONTAINER_STATS),
  ...bothWays(SANDBOX_STATS),
  ...bothWays(METRICS),
};

const IMAGE: Readonly<Record<string, How>> = {
  ...bothWays(IMAGES),
  ImageStatus: { how: "imageStatus" },
  PullImage: { how: "pullImage" },
  RemoveImage: { how: "removeImage" },
  ImageFsInfo: { how: "imageFsInfo" },
};

export const RUNTIME_SERVICE = "/runtime.v1.RuntimeService/";
export const IMAGE_SERVICE = "/runtime.v1.ImageService/";

/** By path, `/runtime.v1.RuntimeService/Version`. */
export const METHODS: ReadonlyMap<string, How> = new Map([
  ...withPrefix(RUNTIME_SERVICE, RUNTIME),
  ...withPrefix(IMAGE_SERVICE, IMAGE),
]);

/** The path of a list's call. */
export function listPath(list: ListKind, way: "unary" | "stream"): string {
  return `${list.records === "image" ? IMAGE_SERVICE : RUNTIME_SERVICE}${list[way]}`;
}

export const LISTS = { sandbox: SANDBOXES, container: CONTAINERS, image: IMAGES } as const;

function bothWays(list: ListKind): Record<string, How> {
  return { [list.unary]: { how: "list", list }, [list.stream]: { how: "stream", list } };
}

function withPrefix(prefix: string, methods: Readonly<Record<string, How>>): [string, How][] {
  return Object.entries(methods).map(([name, how]) => [`${prefix}${name}`, how]);
}
