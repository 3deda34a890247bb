import { join } from "node:path";
import type { KeyPair } from "./kube-certificates.ts";

export interface KubeletOptions {
  readonly dir: string;
  readonly rootDir: string;
  readonly nodeName: string;
  readonly address: string;
  readonly port: number;
  readonly cgroupRoot: string;
  /** Of the node's CRI server. */
  readonly criSocket: string;
  readonly authority: string;
  readonly serving: KeyPair;
  readonly kubeconfig: string;
}

/** kubelet's configuration: a node among others on a machine that is not its own. */
export function kubeletConfig(of: KubeletOptions): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: of.address,
    port: of.port,
    healthzPort: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: of.authority },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: of.serving.cert,
    tlsPrivateKeyFile: of.serving.key,
    containerRuntimeEndpoint: `unix://${of.criSocket}`,
    cgroupDriver: "cgroupfs",
    cgroupRoot: of.cgroupRoot,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    podLogsDir: join(of.dir, "logs"),
    volumePluginDir: join(of.dir, "plugins"),
    // The machine's rules of iptables are not this node's.
    makeIPTablesUtilChains: false,
    featureGates: { KubeletCrashLoopBackOffMax: true },
    oomScoreAdj: 0,
    // A container that failed is started again within seconds: tests wait for it.
    crashLoopBackOff: { maxContainerRestartPeriod: "2s" },
    syncFrequency: "5s",
    nodeStatusUpdateFrequency: "5s",
    volumeStatsAggPeriod: "5s",
    // The machine's disk and memory are not this node's to free.
    evictionHard: {
      "memory.available": "1Mi",
      "nodefs.available": "1Mi",
      "imagefs.available": "1Mi",
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    shutdownGracePeriod: "0s",
    maxPods: 110,
  };
}

/**
 * A mount namespace with /var/lib and /var/log of its own, where kubelet has paths nobody can change, and where
 * the kernel's settings seem to be those that kubelet wants: it would write them for the whole machine. The mounts
 * they lie on are private first: a shared one would carry them to the machine. What is
 * mounted below kubelet's root is seen by containerd: that directory is a shared mount.
 */
const OWN_NAMESPACE = `
set -e
mount --make-private / && mount --make-private /proc
for at in /var/lib /var/log; do mount --make-private "$(findmnt -n -o TARGET -T "$at")"; done
mount -t tmpfs kubelet /var/lib && mount -t tmpfs kubelet /var/log
setting() { echo "$2" >"/var/lib/\${1##*/}" && mount --bind "/var/lib/\${1##*/}" "/proc/sys/$1"; }
setting vm/overcommit_memory 1
setting vm/panic_on_oom 0
setting kernel/panic 10
setting kernel/panic_on_oops 1
setting kernel/keys/root_maxkeys 1000000
setting kernel/keys/root_maxbytes 25000000
exec "$@"`;

/** Words of the command that runs kubelet with this configuration file. */
export function kubeletCommand(program: string, config: string, of: KubeletOptions): string[] {
  return [
    ...["unshare", "--mount", "--propagation", "unchanged"],
    ...["sh", "-c", OWN_NAMESPACE, "sh", program],
    `--config=${config}`,
    `--kubeconfig=${of.kubeconfig}`,
    `--root-dir=${of.rootDir}`,
    `--cert-dir=${join(of.dir, "pki")}`,
    `--hostname-override=${of.nodeName}`,
    `--node-ip=${of.address}`,
  ];
}
