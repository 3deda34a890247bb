import { type KubeApi, PODS } from "@trine/kube-client";
import { serveMetrics } from "@trine/virt-api";
import { Doors, doorCredentials } from "./doors.ts";
import { type NodePod, nodeSamples } from "./node-samples.ts";
import { CONTROL_CLIENT } from "./own-certificates.ts";
import type { ControlProcess } from "./process.ts";
import { ServingCertificates, untilAborted } from "./serving-certificates.ts";

/** Serves metrics, its own and those of nodes, once the leader has made a certificate, until `signal` aborts. */
export async function metricsPart(process: ControlProcess, signal: AbortSignal): Promise<void> {
  const { client, secrets, config, metrics, logger } = process;
  const doors = new Doors(client, () => doorCredentials(secrets, config.namespace, CONTROL_CLIENT));
  const certificates = new ServingCertificates(secrets, config.namespace);
  try {
    const serving = await certificates.first(signal);
    if (serving === undefined) return;
    const server = await serveMetrics({
      reviewer: client,
      listen: config.metricsListen,
      serving,
      own: () => metrics.render(),
      ofNode: async (node, left) => {
        const told = await (await doors.of(node, left)).metrics(left);
        return nodeSamples(told, node, await podsOf(client, node, left));
      },
      logger,
    });
    certificates.onNext((next) => {
      server.setCertificate(next);
    });
    logger.info({ metricsPort: server.port }, "serving metrics");
    await untilAborted(signal);
    await server.close();
  } finally {
    certificates.close();
    doors.close();
  }
}

/** Without those that the node itself has told the API server of. */
async function podsOf(
  api: Pick<KubeApi, "list">,
  node: string,
  signal: AbortSignal,
): Promise<readonly NodePod[]> {
  const fieldSelector = `spec.nodeName=${node}`;
  const { items } = await api.list(PODS, { fieldSelector }, signal);
  return items
    .filter(({ metadata }) => metadata.annotations?.["kubernetes.io/config.mirror"] === undefined)
    .map(({ metadata: { namespace = "", name } }) => ({ namespace, name }));
}
