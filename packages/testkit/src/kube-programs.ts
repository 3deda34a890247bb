// Command lines of a test cluster's programs. Everything listens on the pod bridge's own address or loopback.
import { join } from "node:path";
import type { KeyPair } from "./kube-certificates.ts";

export interface ControlPlane {
  /** Directory of the cluster's files. */
  readonly dir: string;
  /** Address of the node's pod bridge: reachable from the pods, from nowhere else. */
  readonly address: string;
  readonly apiPort: number;
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  readonly authority: string;
  readonly serving: KeyPair;
  readonly kubeletClient: KeyPair;
  /** Signs tokens of service accounts. */
  readonly accounts: KeyPair;
  /** How the API server makes itself known to API servers behind it: by an authority of its own. */
  readonly frontProxy: { readonly authority: string; readonly client: KeyPair };
}

/** The common name of the API server's certificate for API servers behind it. */
export const FRONT_PROXY = "front-proxy-client";

const SERVICES = "10.96.0.0/24";

export function etcdArguments({ dir, etcdPort, etcdPeerPort }: ControlPlane): string[] {
  const client = `http://127.0.0.1:${etcdPort}`;
  const peer = `http://127.0.0.1:${etcdPeerPort}`;
  return [
    "--name=test",
    `--data-dir=${join(dir, "etcd")}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=test=${peer}`,
    "--log-level=warn",
    "--logger=zap",
  ];
}

export function apiserverArguments(of: ControlPlane): string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${of.etcdPort}`,
    `--bind-address=${of.address}`,
    `--advertise-address=${of.address}`,
    `--secure-port=${of.apiPort}`,
    `--service-cluster-ip-range=${SERVICES}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${of.accounts.cert}`,
    `--service-account-signing-key-file=${of.accounts.key}`,
    `--client-ca-file=${of.authority}`,
    `--tls-cert-file=${of.serving.cert}`,
    `--tls-private-key-file=${of.serving.key}`,
    `--kubelet-certificate-authority=${of.authority}`,
    `--kubelet-client-certificate=${of.kubeletClient.cert}`,
    `--kubelet-client-key=${of.kubeletClient.key}`,
    // The node's name is in no DNS.
    "--kubelet-preferred-address-types=InternalIP",
    "--authorization-mode=Node,RBAC",
    `--requestheader-client-ca-file=${of.frontProxy.authority}`,
    `--requestheader-allowed-names=${FRONT_PROXY}`,
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${of.frontProxy.client.cert}`,
    `--proxy-client-key-file=${of.frontProxy.client.key}`,
    "--allow-privileged=true",
    "--profiling=false",
  ];
}

export function controllerManagerArguments(of: ControlPlane, kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    "--leader-elect=false",
    "--secure-port=0",
    // Each controller has its own rights; the manager itself has few.
    "--use-service-account-credentials=true",
    `--root-ca-file=${of.authority}`,
    `--service-account-private-key-file=${of.accounts.key}`,
    // A node that restarts its kubelet on a busy machine is not lost.
    "--node-monitor-grace-period=120s",
    "--profiling=false",
  ];
}

export function schedulerArguments(kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    "--leader-elect=false",
    "--secure-port=0",
    "--profiling=false",
  ];
}
