import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, sleep } from "@trine/base";
import type { Engine } from "@trine/engine";
import type { DoorCredentials } from "@trine/node-door";
import { listenDoor } from "@trine/node-api";
import type { DoorServer, NodeMetrics } from "@trine/node-api";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { nodeNameOf, placeOf } from "./door-config.ts";
import { givenCredentials } from "./given-credentials.ts";

const RETRY_MS = 10_000;

export interface DoorDeps {
  readonly config: Pick<Config, "nodeDoor" | "kubernetes" | "rootDir">;
  readonly engine: Pick<Engine, "machinePods" | "onChange">;
  readonly metrics: Pick<NodeMetrics, "render">;
  readonly log: Logger;
}

/**
 * The node's door, open as soon as there is a certificate and for as long as trined runs; undefined where none is wanted:
 * nothing of it is loaded there, and nothing else of trined waits for it.
 */
export function keepDoor(deps: DoorDeps): { stop: () => Promise<void> } | undefined {
  const { nodeDoor, kubernetes } = deps.config;
  if (nodeDoor.certificate === "" && kubernetes.kubeconfig === "") return undefined;
  const log = deps.log.child({ component: "door" });
  const over = new AbortController();
  const open = keepOpen({ ...deps, log }, over.signal);
  return {
    stop: async () => {
      over.abort();
      await open;
    },
  };
}

async function keepOpen(deps: DoorDeps, signal: AbortSignal): Promise<void> {
  let server: DoorServer | undefined;
  while (!signal.aborted) {
    try {
      for await (const credentials of await credentialsOf(deps, signal)) {
        if (server === undefined) server = await listen(deps, credentials);
        else server.renew(credentials);
      }
    } catch (cause) {
      if (!isAborted(signal)) deps.log.error({ err: messageOf(cause) }, "the node's door");
    }
    await sleep(RETRY_MS, signal).catch(() => undefined); // the loop's head sees it
  }
  await server?.close();
}

async function listen(
  { config, engine, metrics, log }: DoorDeps,
  credentials: DoorCredentials,
): Promise<DoorServer> {
  const { clients, listen: where } = config.nodeDoor;
  const server = await listenDoor({
    ...{ engine, log, credentials, clients, ...placeOf(where) },
    metrics: () => metrics.render(),
  });
  log.info({ port: server.port, node: nodeNameOf(config.nodeDoor) }, "the node's door is open");
  return server;
}

async function credentialsOf(
  { config, log }: DoorDeps,
  signal: AbortSignal,
): Promise<AsyncIterable<DoorCredentials>> {
  const { nodeDoor, kubernetes, rootDir } = config;
  if (nodeDoor.certificate !== "") return givenCredentials(nodeDoor, log, signal);
  const [{ clusterCredentials }, { KubeClient, readKubeconfig }] = await Promise.all([
    import("./cluster-credentials.ts"),
    import("@trine/kube-client"),
  ]);
  const kube = new KubeClient(await readKubeconfig(kubernetes.kubeconfig));
  signal.addEventListener("abort", () => {
    kube.close();
  });
  const { authority } = nodeDoor;
  const file = join(rootDir, "node-door.json");
  return clusterCredentials(
    {
      ...{ kube, file, log, node: nodeNameOf(nodeDoor) },
      ...(authority === "" ? {} : { authority: () => readFile(authority, "utf8") }),
    },
    signal,
  );
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
