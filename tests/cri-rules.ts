// The rules of CRI v1 that kubelet and the upstream conformance tool rely on, each as requests to a server.
import {
  ContainerState,
  ImageService,
  NamespaceMode,
  PodSandboxState,
  RuntimeService,
} from "@trine/proto/cri/api";
import { CODES, one } from "./cri-asker.ts";
import type { Asker, Rule, Told } from "./cri-asker.ts";
import { CHANGING_RULES } from "./cri-changes.ts";

const { method: runtime } = RuntimeService;
const { method: images } = ImageService;

const NODE: readonly Rule[] = [
  {
    rule: "a version has four strings",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.version, {})),
  },
  {
    rule: "the node's status has its conditions, handlers and features",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.status, {})),
  },
  {
    rule: "the cgroup driver is the runtime's",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.runtimeConfig, {})),
  },
  {
    rule: "a pod CIDR is taken",
    wants: CODES.ok,
    ask: (at) =>
      one(
        at.ask(runtime.updateRuntimeConfig, {
          runtimeConfig: { networkConfig: { podCidr: "10.9.0.0/16" } },
        }),
      ),
  },
  {
    rule: "metrics are described, and have values for the pods",
    wants: CODES.ok,
    ask: async (at) => [
      await at.ask(runtime.listMetricDescriptors, {}),
      // Which of them have a value yet changes from one second to the next.
      { ...(await at.ask(runtime.listPodSandboxMetrics, {})), value: "" },
    ],
  },
];

const MISSING: readonly Rule[] = [
  {
    rule: "what is not there is stopped and removed",
    wants: CODES.ok,
    ask: async (at) => [
      await at.ask(runtime.stopPodSandbox, { podSandboxId: "none" }),
      await at.ask(runtime.removePodSandbox, { podSandboxId: "none" }),
      await at.ask(runtime.stopContainer, { containerId: "none" }),
      await at.ask(runtime.removeContainer, { containerId: "none" }),
      await at.ask(images.removeImage, { image: { image: "trine.test/none:1" } }),
    ],
  },
  ...[
    ["PodSandboxStatus", (at: Asker) => at.ask(runtime.podSandboxStatus, { podSandboxId: "none" })],
    ["ContainerStatus", (at: Asker) => at.ask(runtime.containerStatus, { containerId: "none" })],
    ["ContainerStats", (at: Asker) => at.ask(runtime.containerStats, { containerId: "none" })],
    ["PodSandboxStats", (at: Asker) => at.ask(runtime.podSandboxStats, { podSandboxId: "none" })],
  ].map(([name, ask]): Rule => {
    const asked = ask as (at: Asker) => Promise<Told>;
    return {
      rule: `${String(name)} of nothing: NotFound`,
      wants: CODES.notFound,
      ask: (at) => one(asked(at)),
    };
  }),
  {
    rule: "an image that is not there is no error",
    wants: CODES.ok,
    ask: (at) => one(at.ask(images.imageStatus, { image: { image: "trine.test/none:1" } })),
  },
  {
    rule: "a list of an unknown id is empty",
    wants: CODES.ok,
    ask: async (at) => [
      await at.ask(runtime.listPodSandbox, { filter: { id: "none" } }),
      await at.ask(runtime.listContainers, { filter: { id: "none" } }),
      await at.ask(runtime.listContainerStats, { filter: { id: "none" } }),
      await at.ask(images.listImages, { filter: { image: { image: "trine.test/none:1" } } }),
    ],
  },
];

const LOOKS: readonly Rule[] = [
  {
    rule: "a pod's status has address, namespaces, labels, annotations and handler",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.podSandboxStatus, { podSandboxId: at.podSandboxId })),
  },
  {
    rule: "a container's status has image, mounts, log and resources",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.containerStatus, { containerId: at.containerId })),
  },
  {
    rule: "the beginning of an id that is no other's is enough",
    wants: CODES.ok,
    ask: async (at) => [
      await at.ask(runtime.containerStatus, { containerId: at.containerId.slice(0, 13) }),
      await at.ask(runtime.podSandboxStatus, { podSandboxId: at.podSandboxId.slice(0, 13) }),
      await at.ask(runtime.listContainers, { filter: { id: at.containerId.slice(0, 13) } }),
    ],
  },
  {
    rule: "labels of a filter all have to be there, exactly",
    wants: CODES.ok,
    ask: async (at) => {
      const list = (labelSelector: Record<string, string>): Promise<Told> =>
        at.ask(runtime.listPodSandbox, { filter: { labelSelector } });
      return [
        await list({ app: "rules", "trine.test/x": "ü" }),
        await list({ app: "rules", "trine.test/x": "u" }),
        await list({ app: "rule" }),
      ];
    },
  },
  {
    rule: "a filter by state, by pod, by both",
    wants: CODES.ok,
    ask: async (at) => {
      const { podSandboxId } = at;
      return [
        await at.ask(runtime.listPodSandbox, {
          filter: { state: { state: PodSandboxState.SANDBOX_NOTREADY } },
        }),
        await at.ask(runtime.listContainers, {
          filter: { podSandboxId, state: { state: ContainerState.CONTAINER_RUNNING } },
        }),
        await at.ask(runtime.listContainers, {
          filter: { podSandboxId, state: { state: ContainerState.CONTAINER_EXITED } },
        }),
      ];
    },
  },
  {
    rule: "statistics of a container and of a pod",
    wants: CODES.ok,
    ask: async (at) => [
      await at.ask(runtime.containerStats, { containerId: at.containerId }, { figures: true }),
      await at.ask(
        runtime.listContainerStats,
        { filter: { podSandboxId: at.podSandboxId } },
        { figures: true },
      ),
      await at.ask(runtime.podSandboxStats, { podSandboxId: at.podSandboxId }, { figures: true }),
    ],
  },
];

const REFUSED: readonly Rule[] = [
  {
    rule: "a handler that is not there is refused",
    wants: "refused",
    ask: (at) =>
      one(
        at.ask(runtime.runPodSandbox, { config: at.podNamed("no"), runtimeHandler: "unheard-of" }),
      ),
  },
  {
    rule: "a user namespace of a mode that is not the pod's or the node's is refused",
    wants: "refused",
    ask: (at) => {
      const namespaceOptions = { usernsOptions: { mode: NamespaceMode.CONTAINER } };
      const config = { ...at.podNamed("ns"), linux: { securityContext: { namespaceOptions } } };
      return one(at.ask(runtime.runPodSandbox, { config }));
    },
  },
  {
    rule: "a container in no sandbox is refused",
    wants: CODES.notFound,
    ask: (at) => one(at.create("lost", {}, "none")),
  },
  {
    rule: "a container of an image that is not there is refused",
    wants: CODES.notFound,
    ask: (at) => at.refuse({ image: { image: "trine.test/none:1" } }),
  },
  {
    rule: "a group without a user is refused",
    wants: "refused",
    ask: (at) => at.refuse({ linux: { securityContext: { runAsGroup: { value: 7n } } } }),
  },
  {
    rule: "a user that the image does not have is refused",
    wants: "refused",
    ask: (at) => at.refuse({ linux: { securityContext: { runAsUsername: "nobody-there" } } }),
  },
  {
    rule: "a recursive read-only mount that is not read-only is refused",
    wants: "refused",
    ask: (at) =>
      at.refuse({
        mounts: [{ containerPath: "/x", hostPath: at.containerd.dir, recursiveReadOnly: true }],
      }),
  },
  {
    rule: "a volume of an image that is not there is refused",
    wants: "refused",
    ask: (at) =>
      at.refuse({
        mounts: [{ containerPath: "/x", readonly: true, image: { image: "trine.test/none:1" } }],
      }),
  },
  {
    rule: "exec and attach want a container, a stream, and no stderr beside a terminal",
    wants: CODES.invalid,
    ask: async (at) => {
      const { containerId } = at;
      return [
        await at.ask(runtime.exec, { cmd: ["true"], stdout: true }),
        await at.ask(runtime.attach, { stdout: true }),
        await at.ask(runtime.exec, { containerId, cmd: ["true"] }),
        await at.ask(runtime.attach, { containerId }),
        await at.ask(runtime.attach, { containerId, tty: true, stdout: true, stderr: true }),
        await at.ask(runtime.exec, {
          ...{ containerId, cmd: ["true"], tty: true, stdout: true, stderr: true },
        }),
      ];
    },
  },
];

export const RULES: readonly Rule[] = [
  ...NODE,
  ...MISSING,
  ...LOOKS,
  ...REFUSED,
  ...CHANGING_RULES,
];
