import { readdir } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { freePort } from "./free-port.ts";
import type { KubeControlPlane } from "./kube-control-plane.ts";
import { LoggedProcess } from "./kube-process.ts";
import { DIST } from "./trine-node.ts";

const DEPLOY = join(import.meta.dirname, "../../../deploy");
const NAMESPACE = "trine-system";
const ACCOUNT = "trine-control";
const SERVICE = "trine-virt-api";
/** Of deploy/control-plane: all but its pods, which are a process here, and what leads to them. */
const RIGHTS = /^(namespace|account|roles|.*rights.*)\.yaml$/;
const APIS = ["v1", "v1alpha3"].map((version) => `${version}.subresources.kubevirt.io`);

/** Trine's control plane in a test cluster: the built program, with the rights of its account and no others. */
export class TrineControl {
  /** Where uploads go. */
  readonly uploadProxy: string;
  /** Where its metrics are. */
  readonly metrics: string;
  readonly #control: KubeControlPlane;
  readonly #process: LoggedProcess;
  readonly #healthPort: number;

  private constructor(of: {
    control: KubeControlPlane;
    process: LoggedProcess;
    healthPort: number;
    uploadPort: number;
    metricsPort: number;
  }) {
    this.#control = of.control;
    this.#process = of.process;
    this.#healthPort = of.healthPort;
    this.uploadProxy = `https://127.0.0.1:${of.uploadPort}`;
    this.metrics = `https://127.0.0.1:${of.metricsPort}/metrics`;
  }

  /** Installs kinds, rights and the way to its API, and starts it; answers when the API server has found that. */
  static async start(control: KubeControlPlane, dir: string): Promise<TrineControl> {
    const [healthPort, apiPort] = [await freePort(), await freePort()];
    const [uploadPort, metricsPort] = [await freePort(), await freePort()];
    await install(control);
    // The names that rights are given to are of accounts; how they prove who they are is the cluster's matter.
    const account = `system:serviceaccount:${NAMESPACE}:${ACCOUNT}`;
    const { authority, server } = control;
    const kubeconfig = await authority.kubeconfig(ACCOUNT, server, { user: account });
    const command = [
      ...[process.execPath, join(DIST, "trine-control.mjs"), "--role", "all"],
      ...["--kubeconfig", kubeconfig, "--namespace", NAMESPACE],
      ...["--health-listen", `127.0.0.1:${healthPort}`],
      ...["--api-listen", `127.0.0.1:${apiPort}`],
      ...["--upload-listen", `127.0.0.1:${uploadPort}`],
      ...["--metrics-listen", `127.0.0.1:${metricsPort}`],
      ...["--service", SERVICE, "--service-port", String(apiPort)],
    ];
    const program = new LoggedProcess("trine-control", command, join(dir, "trine-control.log"));
    const started = new TrineControl({
      ...{ control, process: program },
      ...{ healthPort, uploadPort, metricsPort },
    });
    try {
      await started.startProgram();
      await started.untilServing();
    } catch (cause) {
      await program.end();
      throw TrineError.during(`trine-control: ${await started.log()}`, cause);
    }
    return started;
  }

  /** Starts the program where it has ended; answers when it serves. */
  async startProgram(): Promise<void> {
    await this.#process.start();
    await this.#process.untilReady(async () => (await this.health("/readyz"))?.code === 200);
  }

  /** As a crash would. */
  async kill(): Promise<void> {
    await this.#process.end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#process.end();
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  log(lines = 30): Promise<string> {
    return this.#process.logTail(lines);
  }

  /** Of /livez and /readyz; undefined where nobody answers. */
  health(path: string): Promise<{ readonly code: number; readonly text: string } | undefined> {
    return new Promise((resolve) => {
      const sent = get({ host: "127.0.0.1", port: this.#healthPort, path }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => {
          resolve({ code: response.statusCode ?? 0, text });
        });
        response.on("error", () => {
          resolve(undefined);
        });
      });
      sent.on("error", () => {
        resolve(undefined);
      });
    });
  }

  /** Until the API server reaches our API: kubectl and virtctl do then. */
  async untilServing(): Promise<void> {
    const { kubectl } = this.#control;
    await pollUntil("the API is registered", { ms: 120_000, everyMs: 250 }, () =>
      kubectl.run("get", "apiservices", ...APIS).catch(() => undefined),
    );
    await kubectl.run(
      "wait",
      "--for=condition=Available",
      "--timeout=120s",
      "apiservices",
      ...APIS,
    );
  }
}

async function install({ kubectl }: KubeControlPlane): Promise<void> {
  const crds = join(DEPLOY, "crds");
  await kubectl.run("apply", "--server-side", "-f", crds);
  const rights = join(DEPLOY, "control-plane");
  const files = (await readdir(rights)).filter((file) => RIGHTS.test(file));
  // The namespace is among them, and comes first.
  await kubectl.run("apply", "-f", join(rights, "namespace.yaml"));
  await kubectl.run("apply", ...files.flatMap((file) => ["-f", join(rights, file)]));
  // The program is a process of this machine's, as the API server is.
  await kubectl.apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: SERVICE, namespace: NAMESPACE },
    spec: { type: "ExternalName", externalName: "127.0.0.1" },
  });
  await kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "-f", crds);
}
