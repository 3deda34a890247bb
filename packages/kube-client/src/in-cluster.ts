import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { KubeConnection } from "./connection.ts";

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** What kubelet gives a container of a pod that has a service account. */
interface InPod {
  /** `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`. */
  readonly host: string | undefined;
  readonly port: string | undefined;
  /** Where the account's files are; the usual place when left out. */
  readonly dir?: string;
}

/** The connection of a program that runs in a pod; kind `notFound` elsewhere. */
export async function inClusterConnection(of: InPod): Promise<KubeConnection> {
  const { host = "", port = "443", dir = ACCOUNT } = of;
  if (host === "") {
    throw new TrineError("notFound", "no API server: not in a pod, and no kubeconfig was given");
  }
  const address = host.includes(":") ? `[${host}]` : host;
  const server = URL.parse(`https://${address}:${port}`);
  if (server === null) throw new TrineError("invalid", "KUBERNETES_SERVICE_HOST is no address");
  return {
    server,
    namespace: await namespaceIn(dir),
    authority: { path: join(dir, "ca.crt") },
    token: { path: join(dir, "token") },
  };
}

async function namespaceIn(dir: string): Promise<string> {
  try {
    return (await readFile(join(dir, "namespace"), "utf8")).trim();
  } catch (cause) {
    throw new TrineError("notFound", `service account in ${dir}: has no namespace`, { cause });
  }
}
