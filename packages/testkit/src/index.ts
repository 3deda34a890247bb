export { cacheDir, cachedDir } from "./cache.ts";
export { Containerd, startContainerd } from "./containerd.ts";
export type { StartContainerdOptions, TestPod, TestPodConfig } from "./containerd.ts";
export { containerdBinaries } from "./containerd-binaries.ts";
export type { ContainerdVersion } from "./containerd-config.ts";
export { debianGuestDisk } from "./debian-guest-disk.ts";
export { resolvePackages, unpackPackages } from "./debian-packages.ts";
export type { DebianPackage } from "./debian-packages.ts";
export { freePort } from "./free-port.ts";
export { answerOf } from "./answer-of.ts";
export { guestProbe } from "./guest-probe.ts";
export { gvisorBinaries } from "./gvisor-binaries.ts";
export {
  agnhostImage,
  busyboxImage,
  containerDisk,
  debianGuestImage,
  pauseImage,
  genericTinyGuestImage,
  idleGuestImage,
  tinyGuestImage,
} from "./images.ts";
export type { TestImage } from "./test-image.ts";
export { kubeBinaries } from "./kube-binaries.ts";
export { LoggedProcess } from "./kube-process.ts";
export { KubeAuthority } from "./kube-certificates.ts";
export { KubeCluster } from "./kube-cluster.ts";
export type { KubeClusterOptions } from "./kube-cluster.ts";
export { KubeNode } from "./kube-node.ts";
export { KubeControlPlane } from "./kube-control-plane.ts";
export { Kubectl } from "./kubectl.ts";
export type { KubeObject } from "./kubectl.ts";
export { leakCheck } from "./leak-check.ts";
export type { LeakCheck, LeakScope } from "./leak-check.ts";
export { TrineControl } from "./trine-control.ts";
export { DIST, TrineNode, parseCriLog } from "./trine-node.ts";
export type { RunOptions, RunningPod, TrineNodeOptions } from "./trine-node.ts";
export { metricsServerBinary } from "./metrics-server-binary.ts";
export { microvmConfig, microvmGuest } from "./microvm-guest.ts";
export type { MicrovmGuest } from "./microvm-guest.ts";
export { writeOciArchive } from "./oci-archive.ts";
export type { OciImage } from "./oci-archive.ts";
export { findProcesses, killProcesses } from "./processes.ts";
export type { FoundProcess } from "./processes.ts";
export { runCommand } from "./run-command.ts";
export { kernelImage } from "./kernel-image.ts";
export { GuestShell, shellGuest } from "./shell-guest.ts";
export { withTempDir } from "./temp-dir.ts";
export { signedGuestImage } from "./signed-guest-disk.ts";
export { tinyGuestDisk, tinyGuestTreeImage } from "./tiny-guest-disk.ts";
export { VirtctlClient } from "./virtctl-client.ts";
export type { ClientIdentity, VirtctlAnswer } from "./virtctl-client.ts";
export { VirtctlObjects } from "./virtctl-objects.ts";
export { VirtctlUpload } from "./virtctl-upload.ts";
