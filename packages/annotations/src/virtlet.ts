/** Annotations of Virtlet that mean nothing here, each with what to do instead. */
export const UNSUPPORTED_VIRTLET: Readonly<Record<string, string>> = {
  VirtletConfigMapAsFiles:
    "Virtlet itself gave it up for VirtletFilesFromDataSource; use trine.dev/files-from",
  VirtletVolumes: "Virtlet itself gave it up; use trine.dev/disks",
  VirtletVMIdentitySet:
    "Virtlet never had it; a root disk on a PersistentVolumeClaim (trine.dev/disks) keeps a machine's identity",
  VirtletVMIdentityName:
    "Virtlet never had it; a root disk on a PersistentVolumeClaim (trine.dev/disks) keeps a machine's identity",
  VirtletKeepVMEnvVars:
    "Virtlet never had it; the container's environment is in the guest's /etc/cloud/environment",
};
