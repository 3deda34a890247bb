import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { TrineError } from "@trine/base";

const MAX_CONFIG = 4 << 20;
const gunzipAll = promisify(gunzip);

/** How a kernel was configured: CONFIG_ names without the prefix to "y", "m" or a value. */
export type KernelConfig = ReadonlyMap<string, string>;

export function parseKernelConfig(text: string): KernelConfig {
  return new Map(
    [...text.matchAll(/^CONFIG_([A-Za-z0-9_]+)=(.*)$/gm)].map(([, name = "", value = ""]) => [
      name,
      value.replace(/^"(.*)"$/, "$1"),
    ]),
  );
}

/** The configuration a kernel carries within (CONFIG_IKCONFIG); undefined when it has none. */
export async function embeddedConfig(what: string, vmlinux: Buffer): Promise<string | undefined> {
  const at = vmlinux.indexOf("IKCFG_ST");
  const end = at < 0 ? -1 : vmlinux.indexOf("IKCFG_ED", at);
  if (end < 0) return undefined;
  try {
    const text = await gunzipAll(vmlinux.subarray(at + 8, end), { maxOutputLength: MAX_CONFIG });
    return text.toString("utf8");
  } catch (cause) {
    throw TrineError.during(`${what}: read its embedded configuration`, cause);
  }
}

/** What of a guest each feature needs; a microVM asks `guest.json` for it. */
const FEATURES = {
  vmgenid: ["VMGENID"],
  "9p-fd": ["9P_FS", "NET_9P_FD"],
  erofs: ["EROFS_FS"],
  overlay: ["OVERLAY_FS"],
  squashfs: ["SQUASHFS"],
  ext4: ["EXT4_FS"],
  virtiofs: ["VIRTIO_FS"],
  vsock: ["VIRTIO_VSOCKETS"],
  "virtio-mem": ["VIRTIO_MEM"],
  "virtio-mmio": ["VIRTIO_MMIO"],
} as const;

export type GuestFeature = keyof typeof FEATURES;

/** Without these no guest of ours comes up, or none can hold a container. */
const REQUIRED = [
  ...["BLK_DEV_INITRD", "DEVTMPFS", "TMPFS", "UNIX98_PTYS", "MULTIUSER", "NET", "UNIX", "INET"],
  ...["VIRTIO_PCI", "VIRTIO_CONSOLE", "VIRTIO_BLK", "VIRTIO_NET", "9P_FS", "NET_9P_FD"],
  ...["OVERLAY_FS", "CGROUPS", "MEMCG", "CGROUP_PIDS", "CPUSETS", "BLK_CGROUP", "CFS_BANDWIDTH"],
  ...["CGROUP_BPF", "CGROUP_FREEZER", "NAMESPACES", "UTS_NS", "IPC_NS", "PID_NS", "NET_NS"],
  ...["USER_NS", "SECCOMP_FILTER", "PVH"],
];

/** Kind `invalid`, naming all that is missing, when no guest of ours can run on such a kernel. */
export function checkKernelConfig(what: string, config: KernelConfig): void {
  const missing = REQUIRED.filter((name) => !isOn(config, name));
  if (missing.length === 0) return;
  const names = missing.map((name) => `CONFIG_${name}`).join(", ");
  throw new TrineError("invalid", `${what}: the kernel was built without ${names}`);
}

export function featuresOf(config: KernelConfig): GuestFeature[] {
  return (Object.keys(FEATURES) as GuestFeature[]).filter((feature) =>
    FEATURES[feature].every((name) => isOn(config, name)),
  );
}

export function isOn(config: KernelConfig, name: string): boolean {
  return ["y", "m"].includes(config.get(name) ?? "");
}
