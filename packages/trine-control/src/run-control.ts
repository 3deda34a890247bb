import { TrineError } from "@trine/base";
import {
  EventRecorder,
  KubeClient,
  type KubeConnection,
  Leader,
  SECRETS,
} from "@trine/kube-client";
import { KUBEVIRTS } from "@trine/controllers";
import type { Logger } from "pino";
import { CacheSet } from "./caches.ts";
import { type Config, parseListen } from "./config.ts";
import { serveHealth } from "./health.ts";
import { lead } from "./lead.ts";
import { ControlMetrics } from "./metrics.ts";
import { metricsPart } from "./metrics-part.ts";
import { type ControlProcess, together } from "./process.ts";
import { serveApi } from "./serve-api.ts";
import { Settings } from "./settings.ts";

const LEASE = "trine-control";

/** Runs the program until `signal` aborts; rejects with what it cannot go on without. */
export async function runControl(
  of: {
    readonly config: Config;
    readonly connection: KubeConnection;
    readonly logger: Logger;
    readonly version: string;
  },
  signal: AbortSignal,
): Promise<void> {
  const { config, logger, version } = of;
  const client = new KubeClient(of.connection);
  const leader = leaderOf(client, config, logger);
  const metrics = new ControlMetrics(() => leader.isLeading, version);
  const caches = new CacheSet({ client, metrics, logger });
  const secrets = caches.make(SECRETS, {}, { namespace: config.namespace });
  const events = recorderOf(client, config, logger);
  const settings = new Settings(caches.make(KUBEVIRTS), logger);
  const own = { config, client, secrets, events, metrics, logger, version };
  const process: ControlProcess = { ...own, settings };
  const ready = { secrets: false, api: config.role === "controllers" };
  // Who is asked before the configuration is read would answer by another one.
  Promise.all([secrets.whole, settings.kubeVirts.whole]).then(
    () => {
      ready.secrets = true;
    },
    () => undefined,
  );
  const health = await serveHealth({
    listen: parseListen("--health-listen", config.healthListen),
    notReady: () => whyNotReady(ready),
  });
  logger.info({ healthPort: health.port, role: config.role }, "started");
  try {
    await together(partsOf(process, { leader, caches, ready }), signal);
  } finally {
    await health.close();
    client.close();
  }
}

interface Ready {
  secrets: boolean;
  api: boolean;
}

function whyNotReady({ secrets, api }: Ready): string | undefined {
  if (!secrets) return "the API server has not been read yet";
  return api ? undefined : "the API is not served yet: its certificate is made by the leader";
}

function partsOf(
  process: ControlProcess,
  of: { readonly leader: Leader; readonly caches: CacheSet; readonly ready: Ready },
): ((signal: AbortSignal) => Promise<void>)[] {
  const { role } = process.config;
  const onServing = (isServing: boolean): void => {
    of.ready.api = isServing;
  };
  return [
    (abort) => of.caches.run(abort),
    (abort) => process.events.run(abort),
    (abort) => metricsPart(process, abort),
    ...(role === "api"
      ? []
      : [(abort: AbortSignal) => of.leader.run(abort, (led) => lead(process, led))]),
    ...(role === "controllers"
      ? []
      : [(abort: AbortSignal) => serveApi(process, onServing, abort)]),
  ];
}

function leaderOf(client: KubeClient, config: Config, logger: Logger): Leader {
  const { namespace, identity } = config;
  return new Leader(client, {
    namespace,
    name: LEASE,
    identity,
    onProblem: (err) => {
      logger.warn({ err }, "lease is not renewed");
    },
  });
}

function recorderOf(client: KubeClient, config: Config, logger: Logger): EventRecorder {
  return new EventRecorder(client, {
    component: "trine-control",
    instance: config.identity,
    onProblem: (err) => {
      const isFull = err instanceof TrineError && err.kind === "exhausted";
      logger[isFull ? "debug" : "warn"]({ err }, "event is not written");
    },
  });
}
