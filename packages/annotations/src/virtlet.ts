/** Annotations of Virtlet that mean nothing here yet, each with what to do instead. */
export const UNSUPPORTED_VIRTLET: Readonly<Record<string, string>> = {
  VirtletCPUModel: "use trine.dev/cpu-model",
  VirtletLibvirtCPUSetting: "use trine.dev/cpu-model",
  VirtletDiskDriver: "remove it: disks are virtio",
  VirtletChown9pfsMounts: "remove it",
  VirtletCloudInitImageType: "remove it: the seed is NoCloud",
  VirtletCloudInitUserDataOverwrite: "remove it: trine.dev/user-data is the whole user-data",
  VirtletCloudInitUserDataScript: "use trine.dev/user-data, which takes a script",
  VirtletCloudInitUserDataSource: "put the text into trine.dev/user-data",
  VirtletCloudInitUserDataSourceKey: "put the text into trine.dev/user-data",
  VirtletCloudInitUserDataSourceEncoding: "put the plain text into trine.dev/user-data",
  VirtletSSHKeySource: "put the keys into trine.dev/ssh-keys",
  VirtletFilesFromDataSource: "use write_files in trine.dev/user-data",
};
