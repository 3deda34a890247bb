import { mkdir } from "node:fs/promises";
import { TrineError, pollUntil } from "@trine/base";
import { NamespaceMode } from "@trine/proto/cri/api";
import { TrineNode, microvmConfig, microvmGuest } from "@trine/testkit";
import type { TestImage } from "@trine/testkit";
import { firstByteOf } from "./host.ts";
import { summaryOf } from "./machine-pods.ts";

const START_MS = 300_000;
const READY_MS = 900_000;

/** From what a node's microvm pods start. */
export type Origin = "cold" | "clone" | "spare";

/** As kubelet asks for pods that do not share process ids; CRI's zero value is that they do. */
const OWN_PIDS = { namespaceOptions: { pid: NamespaceMode.CONTAINER } };

export const MICROVM = "trine-microvm";
/** Handler of containerd's own runtime, the peer. */
export const RUNC = "";

/** A node whose microvm pods start in this way, with its templates and `pool` spares ready. */
export async function nodeOf(origin: Origin, pool = 1): Promise<TrineNode> {
  const more = {
    cold: ["  templates: { most: 0 }"],
    clone: [],
    spare: [`  pool: [{ count: ${pool} }]`],
  }[origin];
  const config = [microvmConfig(await microvmGuest()), ...more].join("\n");
  const node = await TrineNode.start({ version: "2.4", config });
  try {
    await untilReady(node, origin, pool);
    return node;
  } catch (cause) {
    await node.stop();
    throw cause;
  }
}

/** Waits for what the node's next pods start from. */
export async function untilReady(node: TrineNode, origin: Origin, pool = 1): Promise<void> {
  const wanted =
    origin === "spare"
      ? { metric: /^trine_spares\{[^}]*state="ready"[^}]*\} (\d+)$/m, count: pool }
      : { metric: /^trine_templates\{state="ready"\} (\d+)$/m, count: origin === "clone" ? 1 : 0 };
  await pollUntil(`the node's ${origin}s`, { ms: READY_MS, everyMs: 50 }, async () => {
    const count = wanted.metric.exec((await node.api("/metrics")).body)?.[1] ?? "0";
    return Number(count) >= wanted.count ? true : undefined;
  });
}

export interface Program {
  readonly name: string;
  readonly image: TestImage;
  readonly command: readonly string[];
}

/** Milliseconds from RunPodSandbox to the first byte of the container's output; the pod is gone again. */
export async function firstOutputMs(
  node: TrineNode,
  program: Program,
  handler: string,
  origin?: Origin,
): Promise<number> {
  const { runtime } = node.containerd.cri;
  const plain = node.containerd.podConfig({ name: program.name });
  const config = { ...plain, linux: { ...plain.linux, securityContext: OWN_PIDS } };
  await mkdir(config.logDirectory, { recursive: true });
  const started = performance.now();
  const seen = firstByteOf(config.logDirectory, "main.log", START_MS).then(
    () => performance.now() - started,
  );
  const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler: handler });
  const pod = { podSandboxId };
  try {
    const { containerId } = await runtime.createContainer({
      podSandboxId,
      sandboxConfig: config,
      config: {
        metadata: { name: "main", attempt: 0 },
        image: { image: program.image.name },
        command: [...program.command],
        linux: { securityContext: OWN_PIDS },
        logPath: "main.log",
      },
    });
    await runtime.startContainer({ containerId });
    const ms = await seen;
    if (origin !== undefined) await requireOrigin(node, pod, origin);
    return ms;
  } finally {
    await node.remove(pod);
    await seen.catch(() => undefined);
  }
}

/** A figure of a clone that was none would be worth nothing. */
export async function requireOrigin(
  node: TrineNode,
  pod: { readonly podSandboxId: string },
  origin: Origin,
): Promise<void> {
  const { machine } = await summaryOf(node, pod);
  if (machine?.start?.how === origin) return;
  throw new TrineError(
    "wrongState",
    `the pod is to be a ${origin} and is ${JSON.stringify(machine?.start)}`,
  );
}
