import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { TrineError, messageOf } from "@trine/base";
import { type KubeConnection, inClusterConnection, readKubeconfig } from "@trine/kube-client";

export interface Config {
  readonly role: "controllers" | "api" | "all";
  /** Left out: the pod's service account. */
  readonly kubeconfig?: string;
  /** Where the Secrets and the lease are. */
  readonly namespace: string;
  /** `HOST:PORT`: /livez, /readyz over HTTP. */
  readonly healthListen: string;
  /** `HOST:PORT`: the aggregated API and the webhooks over HTTPS. */
  readonly apiListen: string;
  /** `HOST:PORT`: /metrics over HTTPS. */
  readonly metricsListen: string;
  /** `HOST:PORT`: the upload proxy over HTTPS. */
  readonly uploadListen: string;
  /** The Service that leads to `apiListen`, in `namespace`. */
  readonly service: string;
  /** Of its pod where it has a Service; the API server reaches us by it. */
  readonly servicePort: number;
  /** Another one in each process. */
  readonly identity: string;
  /** Image of machines whose root is a volume. */
  readonly emptyImage: string;
  readonly logLevel: string;
}

export const USAGE = `trine-control: the control plane of Trine

  trine-control [FLAGS]

  --role controllers|api|all   what this process does; all when left out
  --kubeconfig FILE            who we are; the pod's service account when left out
  --namespace NAME             of our Secrets and the lease; trine-system when left out
  --health-listen HOST:PORT    /livez, /readyz; :8080 when left out
  --metrics-listen HOST:PORT   /metrics, over TLS and by token; :8445 when left out
  --api-listen HOST:PORT       the aggregated API and webhooks; :8443 when left out
  --upload-listen HOST:PORT    the upload proxy; :8444 when left out
  --service NAME               the Service that leads there; trine-virt-api when left out
  --service-port PORT          443 when left out
  --empty-image IMAGE          of machines whose root is a volume; trine.dev/machine when left out
  --log-level LEVEL            debug, info, warn, error; info when left out
  --version, --help

Exit codes: 0 done, 1 failed, 2 bad usage.
`;

const OPTIONS = {
  role: { type: "string", default: "all" },
  kubeconfig: { type: "string" },
  namespace: { type: "string", default: "trine-system" },
  "health-listen": { type: "string", default: ":8080" },
  "api-listen": { type: "string", default: ":8443" },
  "metrics-listen": { type: "string", default: ":8445" },
  "upload-listen": { type: "string", default: ":8444" },
  service: { type: "string", default: "trine-virt-api" },
  "service-port": { type: "string", default: "443" },
  "empty-image": { type: "string", default: "trine.dev/machine" },
  "log-level": { type: "string", default: "info" },
  version: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** What the command line says; kind `invalid` says what is wrong with it. */
export function readArguments(args: readonly string[]): Config | "version" | "help" {
  const values = parsed(args);
  if (values.help) return "help";
  if (values.version) return "version";
  const { role, kubeconfig, namespace, service } = values;
  if (role !== "controllers" && role !== "api" && role !== "all") {
    throw new TrineError("invalid", `--role ${role}: is none of controllers, api, all`);
  }
  const logLevel = values["log-level"];
  if (!["debug", "info", "warn", "error"].includes(logLevel)) {
    throw new TrineError("invalid", `--log-level ${logLevel}: is none of debug, info, warn, error`);
  }
  return {
    role,
    ...(kubeconfig !== undefined && { kubeconfig }),
    namespace,
    service,
    servicePort: portIn("--service-port", values["service-port"]),
    healthListen: values["health-listen"],
    apiListen: values["api-listen"],
    metricsListen: values["metrics-listen"],
    uploadListen: values["upload-listen"],
    emptyImage: values["empty-image"],
    identity: `${hostname()}_${randomBytes(4).toString("hex")}`,
    logLevel,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (cause) {
    throw new TrineError("invalid", messageOf(cause));
  }
}

function portIn(flag: string, text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new TrineError("invalid", `${flag} ${text}: is no port`);
}

/** `HOST:PORT`, `[V6]:PORT`, `:PORT`; port 0 takes a free one. */
export function parseListen(flag: string, text: string): { host?: string; port: number } {
  const [, host = "", port = ""] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  if (port === "" || Number(port) > 65_535) {
    throw new TrineError("invalid", `${flag} ${text}: is no HOST:PORT`);
  }
  const plain = host.replace(/^\[(.*)\]$/, "$1");
  return { port: Number(port), ...(plain !== "" && { host: plain }) };
}

export function connectionOf({ kubeconfig }: Config): Promise<KubeConnection> {
  if (kubeconfig !== undefined) return readKubeconfig(kubeconfig);
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  return inClusterConnection({ host, port });
}
