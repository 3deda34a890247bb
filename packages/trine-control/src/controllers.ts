import {
  type Controller,
  type MakeCache,
  type VolumeDeps,
  NodeMachines,
  controlCaches,
  dataSourceController,
  instanceCaches,
  installationController,
  instanceController,
  machineController,
  sourceCaches,
  volumeCaches,
  volumeController,
  replicaSetController,
} from "@trine/controllers";
import { openDoor } from "@trine/node-door";
import { Copies } from "./copies.ts";
import { copyKey } from "./copy-key.ts";
import { Doors, doorCredentials } from "./doors.ts";
import { ImportReports } from "./import-reports.ts";
import { CONTROL_CLIENT } from "./own-certificates.ts";
import type { ControlProcess } from "./process.ts";

/** The controllers of this program, over caches of their own. */
export function controllersOf(process: ControlProcess, make: MakeCache): readonly Controller[] {
  const { client: api, events, metrics, logger, settings, version } = process;
  const caches = controlCaches(make);
  const evictionStrategy = () => settings.now().defaults.evictionStrategy;
  metrics.tellMachines({ ...caches, evictionStrategy });
  metrics.followPhases(caches.instances);
  const deps = {
    api,
    caches,
    events,
    defaults: () => settings.now().defaults,
    now: () => new Date(),
    random: Math.random,
    onFailure: (controller: string, key: string, err: unknown, retryMs: number): void => {
      metrics.stepFailed(controller);
      logger.warn({ err, controller, key, retryMs }, "step failed");
    },
  };
  const own = instanceCaches(make);
  const listeners = new Set<(pod: string) => void>();
  const machines = machinesOf(process, own, listeners);
  const instances = instanceController({
    ...deps,
    caches: { ...caches, ...own },
    machines,
    emptyImage: process.config.emptyImage,
    onMachine: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  const { kubeVirts } = settings;
  return [
    machineController(deps),
    replicaSetController(deps),
    closing(instances, machines),
    volumesOf(process, { ...deps, caches: { ...caches, ...volumeCaches(make), kubeVirts } }),
    dataSourceController({ ...deps, caches: { ...caches, ...sourceCaches(make) } }),
    installationController({ ...deps, kubeVirts, version }, make),
  ];
}

function machinesOf(
  { config, secrets, logger }: ControlProcess,
  { nodes, pods }: ReturnType<typeof instanceCaches>,
  listeners: ReadonlySet<(pod: string) => void>,
): NodeMachines {
  const credentials = () => doorCredentials(secrets, config.namespace, CONTROL_CLIENT);
  return new NodeMachines({
    nodes,
    pods,
    open: ({ node, host }) => openDoor({ node, host, credentials }),
    now: () => new Date(),
    onDoor: (node, what) => {
      if (what === "heard") logger.info({ node }, "node is heard");
      else logger.warn({ node, err: what }, "node is not heard");
    },
    onChange: (pod) => {
      for (const listener of listeners) listener(pod);
    },
  });
}

/** Asks nodes how far their imports are, and joins those of two namespaces, by doors of its own. */
function volumesOf(
  { client, config, secrets, logger }: ControlProcess,
  deps: Omit<VolumeDeps, "emptyImage" | "reportOf" | "copyKey" | "join">,
): Controller {
  const doors = new Doors(client, () => doorCredentials(secrets, config.namespace, CONTROL_CLIENT));
  const reports = new ImportReports(doors);
  const { emptyImage, namespace } = config;
  const copies = new Copies({
    doors,
    onCut: (taker, err) => {
      logger.warn({ taker, err }, "a copy was cut off");
    },
  });
  const controller = volumeController({
    ...{ ...deps, emptyImage, reportOf: reports.of, join: copies.join },
    copyKey: () => copyKey(secrets, namespace),
  });
  return closing(closing(controller, copies), doors);
}

/** The same controller; the doors of its nodes are closed when it has ended. */
function closing(
  controller: Controller,
  doors: { readonly close: () => Promise<void> | void },
): Controller {
  return {
    name: controller.name,
    run: async (signal) => {
      try {
        await controller.run(signal);
      } finally {
        await doors.close();
      }
    },
  };
}
