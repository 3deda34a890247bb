import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { KubeAuthority } from "./kube-certificates.ts";
import { LoggedProcess } from "./kube-process.ts";
import {
  type ControlPlane,
  FRONT_PROXY,
  apiserverArguments,
  controllerManagerArguments,
  etcdArguments,
  schedulerArguments,
} from "./kube-programs.ts";
import { Kubectl } from "./kubectl.ts";

/** etcd, kube-apiserver, kube-controller-manager and kube-scheduler of one test cluster. */
export class KubeControlPlane {
  readonly authority: KubeAuthority;
  readonly server: string;
  /** As a user who may do everything. */
  readonly kubectl: Kubectl;
  readonly kubeconfig: string;
  readonly #processes: readonly [etcd: LoggedProcess, api: LoggedProcess, ...LoggedProcess[]];

  private constructor(of: {
    authority: KubeAuthority;
    server: string;
    kubeconfig: string;
    kubectl: Kubectl;
    processes: readonly [etcd: LoggedProcess, api: LoggedProcess, ...LoggedProcess[]];
  }) {
    this.authority = of.authority;
    this.server = of.server;
    this.kubeconfig = of.kubeconfig;
    this.kubectl = of.kubectl;
    this.#processes = of.processes;
  }

  /** Starts them, or etcd and the API server only; ready when the API server says so. */
  static async start(of: {
    dir: string;
    binaries: string;
    address: string;
    apiOnly?: boolean;
  }): Promise<KubeControlPlane> {
    await mkdir(of.dir, { recursive: true });
    const authority = await KubeAuthority.create(join(of.dir, "pki"));
    const options = await controlPlane(of.dir, of.address, authority);
    const server = `https://${of.address}:${options.apiPort}`;
    const config = (user: string, group?: string): Promise<string> =>
      authority.kubeconfig(user, server, { user, ...(group === undefined ? {} : { group }) });
    const kubeconfig = await config("admin", "system:masters");
    const manager = await config("system:kube-controller-manager");
    const scheduler = await config("system:kube-scheduler");
    const program = (name: string, words: readonly string[], path = join(of.binaries, name)) =>
      new LoggedProcess(name, [path, ...words], join(of.dir, `${name}.log`));
    const processes = [
      program("etcd", etcdArguments(options), "/usr/bin/etcd"),
      program("kube-apiserver", apiserverArguments(options)),
      program("kube-controller-manager", controllerManagerArguments(options, manager)),
      program("kube-scheduler", schedulerArguments(scheduler)),
    ] as const;
    const kubectl = new Kubectl({ program: join(of.binaries, "kubectl"), kubeconfig, dir: of.dir });
    const plane = new KubeControlPlane({ authority, server, kubeconfig, kubectl, processes });
    try {
      const [etcd, , ...others] = processes;
      await etcd.start();
      await plane.startApi();
      if (of.apiOnly !== true) for (const other of others) await other.start();
    } catch (cause) {
      await plane.stop();
      throw cause;
    }
    return plane;
  }

  /** Starts the API server, where `endApi` has ended it; ready when it says so. */
  async startApi(): Promise<void> {
    const [, api] = this.#processes;
    await api.start();
    await api.untilReady(() =>
      this.kubectl.run("get", "--raw", "/readyz").then(
        (said) => said === "ok",
        () => false,
      ),
    );
  }

  /** Ends the API server as a crash would: what it has stored stays. */
  endApi(): Promise<void> {
    const [, api] = this.#processes;
    return api.end("SIGKILL");
  }

  async stop(): Promise<void> {
    for (const process of [...this.#processes].reverse()) await process.end();
  }
}

async function controlPlane(
  dir: string,
  address: string,
  authority: KubeAuthority,
): Promise<ControlPlane> {
  const front = await KubeAuthority.create(join(dir, "front-proxy"));
  return {
    dir,
    address,
    apiPort: await freePort(),
    etcdPort: await freePort(),
    etcdPeerPort: await freePort(),
    authority: authority.cert,
    serving: await authority.sign("apiserver", {
      user: "kube-apiserver",
      ips: [address, "10.96.0.1"],
      names: ["kubernetes", "kubernetes.default", "kubernetes.default.svc"],
    }),
    kubeletClient: await authority.sign("kubelet-client", {
      user: "kube-apiserver-kubelet-client",
      group: "system:masters",
    }),
    accounts: await authority.sign("accounts", { user: "accounts" }),
    frontProxy: {
      authority: front.cert,
      client: await front.sign("client", { user: FRONT_PROXY }),
    },
  };
}
