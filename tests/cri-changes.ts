// Rules of CRI v1 about commands, images and what changes a pod or a container.
import { ImageService, RuntimeService } from "@trine/proto/cri/api";
import { CODES, one } from "./cri-asker.ts";
import type { Asker, Rule, Told } from "./cri-asker.ts";

const { method: runtime } = RuntimeService;
const { method: images } = ImageService;

const COMMANDS: readonly Rule[] = [
  {
    rule: "an exit code other than 0 is an answer",
    wants: CODES.ok,
    ask: (at) =>
      one(
        at.ask(runtime.execSync, {
          ...{ containerId: at.containerId, cmd: ["sh", "-c", "echo o; echo e >&2; exit 7"] },
        }),
      ),
  },
  {
    rule: "a program that is not there is refused",
    wants: "refused",
    ask: (at) => one(at.ask(runtime.execSync, { containerId: at.containerId, cmd: ["/none"] })),
  },
  {
    rule: "a command whose time is up: DeadlineExceeded",
    wants: CODES.late,
    ask: (at) =>
      one(
        at.ask(runtime.execSync, {
          ...{ containerId: at.containerId, cmd: ["sleep", "9"], timeout: 1n },
        }),
      ),
  },
  {
    rule: "exec, attach and port-forward answer a URL",
    wants: CODES.ok,
    ask: async (at) => {
      const { containerId, podSandboxId } = at;
      return [
        await at.ask(runtime.exec, { containerId, cmd: ["true"], stdout: true }),
        await at.ask(runtime.attach, { containerId, stdout: true }),
        await at.ask(runtime.portForward, { podSandboxId, port: [80] }),
      ];
    },
  },
];

const IMAGES: readonly Rule[] = [
  {
    rule: "an image is the same by its name and by its id",
    wants: CODES.ok,
    ask: async (at) => {
      const byName = await at.ask(images.imageStatus, { image: { image: at.image } });
      return [byName, await at.ask(images.listImages, { filter: { image: { image: at.image } } })];
    },
  },
  {
    rule: "where images lie is told, and how much they take",
    wants: CODES.ok,
    ask: (at) => one(at.ask(images.imageFsInfo, {}, { figures: true })),
  },
  {
    rule: "a pull from nobody fails",
    wants: "refused",
    ask: (at) => one(at.ask(images.pullImage, { image: { image: "127.0.0.1:1/none:1" } })),
  },
  {
    rule: "a pull whose deadline has passed: DeadlineExceeded",
    wants: CODES.late,
    ask: (at) =>
      one(at.ask(images.pullImage, { image: { image: "127.0.0.1:1/none:1" } }, { timeout: "1n" })),
  },
];

const CHANGES: readonly Rule[] = [
  {
    rule: "limits are changed all or none",
    wants: CODES.ok,
    ask: async (at) => {
      const { containerId } = at;
      return [
        await at.ask(runtime.updateContainerResources, { containerId, linux: { cpuShares: 512n } }),
        await at.ask(runtime.updateContainerResources, {
          ...{ containerId, linux: { cpuShares: 256n, cpusetCpus: "4000" } },
        }),
        await at.ask(runtime.containerStatus, { containerId }),
      ];
    },
  },
  {
    rule: "a pod's limits are taken",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.updatePodSandboxResources, { podSandboxId: at.podSandboxId })),
  },
  {
    rule: "a log is opened anew while its container runs",
    wants: CODES.ok,
    ask: (at) => one(at.ask(runtime.reopenContainerLog, { containerId: at.containerId })),
  },
  {
    rule: "a container is created, started once, stopped at once and again, removed and again",
    wants: CODES.notFound,
    ask: containersLife,
  },
  {
    rule: "a pod is stopped and again, takes no container then, is removed and again",
    wants: CODES.notFound,
    ask: podsLife,
  },
];

async function containersLife(at: Asker): Promise<Told[]> {
  const { id: containerId, ...created } = await at.create("life", {});
  const status = (): Promise<Told> => at.ask(runtime.containerStatus, { containerId });
  const stop = (): Promise<Told> => at.ask(runtime.stopContainer, { containerId, timeout: 0n });
  return [
    created,
    await status(),
    await at.ask(runtime.reopenContainerLog, { containerId }),
    await at.ask(runtime.execSync, { containerId, cmd: ["true"] }),
    await at.ask(runtime.startContainer, { containerId }),
    await at.ask(runtime.startContainer, { containerId }),
    await stop(),
    await stop(),
    await status(),
    await at.ask(runtime.startContainer, { containerId }),
    await at.ask(runtime.execSync, { containerId, cmd: ["true"] }),
    await at.ask(runtime.exec, { containerId, cmd: ["true"], stdout: true }),
    await at.ask(runtime.removeContainer, { containerId }),
    await at.ask(runtime.removeContainer, { containerId }),
    await status(),
  ];
}

async function podsLife(at: Asker): Promise<Told[]> {
  const config = at.podNamed("life");
  const { id: podSandboxId, ...made } = await at.ask(runtime.runPodSandbox, { config });
  const stop = (): Promise<Told> => at.ask(runtime.stopPodSandbox, { podSandboxId });
  const list = (): Promise<Told> =>
    at.ask(runtime.listPodSandbox, { filter: { id: podSandboxId } });
  return [
    made,
    await list(),
    await stop(),
    await stop(),
    await list(),
    await at.create("late", {}, podSandboxId),
    await at.ask(runtime.portForward, { podSandboxId, port: [80] }),
    await at.ask(runtime.removePodSandbox, { podSandboxId }),
    await at.ask(runtime.removePodSandbox, { podSandboxId }),
    await list(),
    await at.ask(runtime.podSandboxStatus, { podSandboxId }),
  ];
}

export const CHANGING_RULES: readonly Rule[] = [...COMMANDS, ...IMAGES, ...CHANGES];
