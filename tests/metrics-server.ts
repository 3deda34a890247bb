// The real metrics-server on a test's cluster: a process of this machine with the rights of its account, behind the API server.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type KubeCluster, LoggedProcess, freePort, metricsServerBinary } from "@trine/testkit";

const NAME = "metrics-server";
const NAMESPACE = "kube-system";
const API = "v1beta1.metrics.k8s.io";

/** Registers and starts it; answers, when the API server reaches it, who ends it. */
export async function startMetricsServer(cluster: KubeCluster): Promise<() => Promise<void>> {
  const { plane, kubectl } = cluster;
  const { authority } = plane;
  const binaries = await metricsServerBinary();
  await kubectl.run("apply", "-f", join(binaries, "rbac.yaml"));
  const port = await freePort();
  const user = `system:serviceaccount:${NAMESPACE}:${NAME}`;
  const kubeconfig = await authority.kubeconfig(NAME, plane.server, { user });
  const names = [`${NAME}.${NAMESPACE}.svc`];
  const serving = await authority.sign(`${NAME}-serving`, { user: NAME, names });
  const words = [
    ...["--bind-address=127.0.0.1", `--secure-port=${port}`, "--metric-resolution=10s"],
    "--kubelet-request-timeout=8s", // less than that
    ...[`--tls-cert-file=${serving.cert}`, `--tls-private-key-file=${serving.key}`],
    ...["", "authentication-", "authorization-"].map((of) => `--${of}kubeconfig=${kubeconfig}`),
    // Nodes are known by the cluster's authority, and their names are in no DNS.
    `--kubelet-certificate-authority=${authority.cert}`,
    ...["--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port"],
  ];
  const log = join(authority.dir, `${NAME}.log`);
  const program = new LoggedProcess(NAME, [join(binaries, NAME), ...words], log);
  await program.start();
  try {
    await kubectl.apply(...(await registration(authority.cert, port)));
    const isAvailable = ["wait", "--for=condition=Available", `apiservices/${API}`];
    await program.untilReady(() =>
      kubectl.run(...isAvailable, "--timeout=5s").then(
        () => true,
        () => false, // not yet
      ),
    );
  } catch (cause) {
    await program.end();
    throw new Error(`${NAME}: ${await program.logTail()}`, { cause });
  }
  return async () => {
    // Namespaces are not deleted while an API that is registered answers nothing.
    await kubectl.run("delete", "apiservice", API);
    await program.end();
  };
}

async function registration(authority: string, port: number): Promise<readonly object[]> {
  return [
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: NAME, namespace: NAMESPACE },
      spec: { type: "ExternalName", externalName: "127.0.0.1" },
    },
    {
      apiVersion: "apiregistration.k8s.io/v1",
      kind: "APIService",
      metadata: { name: API },
      spec: {
        ...{ group: "metrics.k8s.io", version: "v1beta1" },
        ...{ groupPriorityMinimum: 100, versionPriority: 100 },
        service: { name: NAME, namespace: NAMESPACE, port },
        caBundle: (await readFile(authority)).toString("base64"),
      },
    },
  ];
}
