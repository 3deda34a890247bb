import { isOn } from "./kernel-config.ts";
import type { KernelConfig } from "./kernel-config.ts";

/**
 * What a guest loads where its kernel has it as a module, in the order in which it is wanted: first what
 * reaches the host, then disks, network and file systems.
 */
const WANTED: readonly { readonly config: string; readonly modules: readonly string[] }[] = [
  { config: "VIRTIO_PCI", modules: ["virtio_pci"] },
  { config: "VIRTIO_MMIO", modules: ["virtio_mmio"] },
  { config: "VIRTIO_CONSOLE", modules: ["virtio_console"] },
  { config: "HW_RANDOM_VIRTIO", modules: ["virtio_rng"] },
  { config: "VIRTIO_BLK", modules: ["virtio_blk"] },
  { config: "VIRTIO_NET", modules: ["virtio_net"] },
  { config: "PACKET", modules: ["af_packet"] },
  { config: "UNIX", modules: ["unix"] },
  { config: "IPV6", modules: ["ipv6"] },
  { config: "NET_9P_FD", modules: ["9pnet_fd"] },
  { config: "9P_FS", modules: ["9p"] },
  { config: "OVERLAY_FS", modules: ["overlay"] },
  // File systems find this checksum by name, not by a symbol: what they need does not say so.
  { config: "CRYPTO_CRC32C", modules: ["crc32c_generic"] },
  { config: "EROFS_FS", modules: ["erofs"] },
  { config: "SQUASHFS", modules: ["squashfs"] },
  { config: "EXT4_FS", modules: ["ext4"] },
  { config: "VIRTIO_FS", modules: ["virtiofs"] },
  { config: "VIRTIO_VSOCKETS", modules: ["vmw_vsock_virtio_transport"] },
  { config: "VIRTIO_BALLOON", modules: ["virtio_balloon"] },
  { config: "VIRTIO_MEM", modules: ["virtio_mem"] },
  { config: "TUN", modules: ["tun"] },
  { config: "BINFMT_MISC", modules: ["binfmt_misc"] },
];

/** Those that this kernel has as modules. */
export function wantedModules(config: KernelConfig): string[] {
  return WANTED.filter(
    ({ config: name }) => isOn(config, name) && config.get(name) === "m",
  ).flatMap(({ modules }) => modules);
}
