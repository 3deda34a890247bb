import { join } from "node:path";
import { messageOf, sleep } from "@trine/base";
import type { Gateway, UrlImages, ViewsGiver } from "@trine/cri-gateway";
import type { GatewaySummary, NodeMetrics, RouteSummary } from "@trine/node-api";
import type { Logger } from "pino";
import type { Config } from "./config.ts";

const RETRY_MS = 5_000;

/** The CRI gateway of this daemon, which runs on also while the gateway cannot start. */
export interface KeptGateway {
  /** Why it does not serve; undefined = it does. */
  readonly notReady: () => string | undefined;
  readonly summary: () => GatewaySummary;
  readonly routes: () => readonly RouteSummary[];
  readonly stop: () => Promise<void>;
}

export interface GatewayDeps {
  readonly config: Config["gateway"];
  readonly metrics: Pick<NodeMetrics, "watchGateway">;
  readonly log: Logger;
  /** On disk: where images by URL are made. */
  readonly rootDir: string;
  /** This program; absent: as it was started. */
  readonly program?: readonly string[];
  readonly retryMs?: number;
  /** Absent: no containers are given views by the gateway. */
  readonly views?: Omit<ViewsGiver, "backEnds"> | undefined;
}

/**
 * Starts it, and tries again while it cannot start: what is in its way (a group or a directory that is not there, a file at its
 * path) is no reason to leave the node's pods without their daemon. Resolves after the first attempt; undefined on nodes whose
 * configuration names no back end: nothing of the gateway is loaded there.
 */
export async function keepGateway(deps: GatewayDeps): Promise<KeptGateway | undefined> {
  if (deps.config.backEnds.length === 0) return undefined;
  let gateway: Gateway | undefined;
  const onCall = deps.metrics.watchGateway(() => gateway?.backEnds() ?? []);
  let why: string | undefined;
  const attempt = async (): Promise<void> => {
    try {
      gateway = await startGateway(deps, onCall);
      why = undefined;
    } catch (cause) {
      const now = `the gateway cannot start: ${messageOf(cause)}`;
      if (now !== why)
        deps.log.error({ err: cause }, "the gateway cannot start; it is tried again");
      why = now;
    }
  };
  const over = new AbortController();
  await attempt();
  const clearing = clearLeft(deps, over.signal);
  const trying = (async () => {
    while (why !== undefined && (await untilNext(deps, over.signal))) await attempt();
  })();
  return {
    notReady: () => why,
    summary: () => summaryOf(deps.config, gateway, why),
    routes: () => gateway?.routes() ?? [],
    stop: async () => {
      over.abort();
      await trying;
      await clearing;
      await gateway?.stop();
    },
  };
}

function summaryOf(
  { socket, backEnds }: Config["gateway"],
  gateway: Gateway | undefined,
  failure: string | undefined,
): GatewaySummary {
  const states = new Map(gateway?.backEnds().map(({ name, down }) => [name, down]));
  return {
    socket,
    ...(failure === undefined ? {} : { failure }),
    backEnds: backEnds.map(({ name, socket: at }) => {
      const down = states.get(name);
      return { name, socket: at, ...(down === undefined ? {} : { down }) };
    }),
  };
}

/** False when the daemon stops first. */
function untilNext({ retryMs = RETRY_MS }: GatewayDeps, signal: AbortSignal): Promise<boolean> {
  return sleep(retryMs, signal).then(
    () => true,
    () => false,
  );
}

async function startGateway(
  deps: GatewayDeps,
  onCall: ReturnType<NodeMetrics["watchGateway"]>,
): Promise<Gateway> {
  const { config, log } = deps;
  const { Gateway: loaded } = await import("@trine/cri-gateway");
  const gateway = await loaded.start({
    config,
    log: log.child({ component: "gateway" }),
    onCall,
    urlImages: urlImagesOf(deps),
    views: viewsOf(deps),
  });
  log.info({ socket: config.socket, backEnds: config.backEnds }, "gateway serves CRI");
  return gateway;
}

/** For the back ends whose configuration wants it. */
function viewsOf({ config, views, log }: GatewayDeps): ViewsGiver | undefined {
  const backEnds = config.backEnds.filter(({ lxcfs }) => lxcfs === true).map(({ name }) => name);
  if (backEnds.length === 0) return undefined;
  if (views !== undefined) return { ...views, backEnds };
  log.warn({ backEnds }, "no views for their containers: lxcfs.enabled is false");
  return undefined;
}

/** What killed imports have left, also of a configuration that has none any more. */
async function clearLeft(
  { config, rootDir, log }: GatewayDeps,
  signal: AbortSignal,
): Promise<void> {
  const { backEnds, urlImages } = config;
  const backEnd = backEnds.find(({ name }) => name === urlImages.backEnd) ?? backEnds[0];
  const { clearImports } = await import("./url-images/clear-imports.ts");
  await clearImports(backEnd?.socket ?? "", importsIn(rootDir), log, signal);
}

function importsIn(rootDir: string): string {
  return join(rootDir, "imports");
}

/** Undefined where nothing says what a name leads to. The import is a process of its own: this program's, told what to be. */
function urlImagesOf({ config, rootDir, program }: GatewayDeps): UrlImages | undefined {
  const { prefix, mappings, kubeconfig, hosts, protocol, backEnd, snapshotter } = config.urlImages;
  if (mappings === "" && kubeconfig === "" && hosts.length === 0) return undefined;
  const kept = join(rootDir, "image-mappings.json");
  const { execPath, argv } = process;
  const command = [...(program ?? [execPath, argv[1] ?? ""]), "import-image"];
  return {
    prefix,
    backEnd,
    pull: async ({ name, auth: credentials, socket }, signal) => {
      const { pullByUrl } = await import("./url-images/pull-by-url.ts");
      return pullByUrl(
        command,
        {
          ...{ name, mappings, socket, snapshotter, credentials },
          ...(kubeconfig !== "" && { api: { kubeconfig, kept } }),
          rules: { prefix, hosts, protocol },
          workDir: importsIn(rootDir),
        },
        signal,
      );
    },
  };
}
