import type { System } from "./system.ts";

/** An hour: updates are put in while the guest shuts down. */
const GRACE_SECONDS = 3600;

/** Tries before a waiting processor is told to the hypervisor. */
const RETRIES = 8191;

const CLOCK = {
  preferredClockOffset: { utc: {} },
  preferredTimer: {
    hpet: { present: false },
    hyperv: {},
    pit: { tickPolicy: "delay" },
    rtc: { tickPolicy: "catchup" },
  },
} as const;

const FEATURES = {
  preferredAcpi: {},
  preferredApic: {},
  preferredHyperv: {
    frequencies: {},
    ipi: {},
    reenlightenment: {},
    relaxed: {},
    reset: {},
    runtime: {},
    spinlocks: { spinlocks: RETRIES },
    synic: {},
    synictimer: { direct: {} },
    tlbflush: {},
    vapic: {},
    vpindex: {},
  },
} as const;

/** With the drivers that must be installed first. */
const VIRTIO = {
  preferredDiskBus: "virtio",
  preferredInterfaceModel: "virtio",
  preferredInputBus: "virtio",
  preferredInputType: "tablet",
  preferredVideoType: "virtio",
} as const;

interface Release {
  readonly name: string;
  readonly title: string;
  readonly needs: readonly [number, string];
  /** What the system has a driver for. */
  readonly nic?: string;
  /** Editions for desktops may use one socket or two. */
  readonly axis?: "cores" | "sockets";
  readonly firmware?: "secure" | "secure with TPM";
  /** None where virtio has no drivers for it. */
  readonly virtio?: false;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** 32-bit systems do not find devices behind a window of 64-bit addresses. */
const OLD = { "kubevirt.io/disablePCIHole64": "true" } as const;

const RELEASES: readonly Release[] = [
  {
    name: "xp",
    title: "XP",
    needs: [1, "128Mi"],
    virtio: false,
    annotations: OLD,
  },
  { name: "7", title: "7", needs: [1, "2Gi"] },
  { name: "10", title: "10", needs: [1, "2Gi"], axis: "cores", firmware: "secure" },
  { name: "11", title: "11", needs: [2, "4Gi"], axis: "cores", firmware: "secure with TPM" },
  {
    name: "2k3",
    title: "Server 2003",
    needs: [1, "256Mi"],
    nic: "rtl8139",
    virtio: false,
    annotations: OLD,
  },
  { name: "2k8", title: "Server 2008/2008 R2", needs: [1, "512Mi"], nic: "e1000" },
  { name: "2k12", title: "Server 2012/2012 R2", needs: [1, "512Mi"] },
  { name: "2k16", title: "Server 2016", needs: [1, "2Gi"], firmware: "secure" },
  { name: "2k19", title: "Server 2019", needs: [1, "2Gi"], firmware: "secure" },
  { name: "2k22", title: "Server 2022", needs: [1, "2Gi"], firmware: "secure with TPM" },
  { name: "2k25", title: "Server 2025", needs: [1, "2Gi"], firmware: "secure with TPM" },
];

export const WINDOWS_SYSTEMS: readonly System[] = RELEASES.flatMap((release) => {
  const { nic = "e1000e" } = release;
  const own = { preferredDiskBus: "sata", preferredInterfaceModel: nic } as const;
  const plain = windows(release, "", "", own);
  if (release.virtio === false) return [plain];
  return [plain, windows(release, ".virtio", " (virtio)", VIRTIO)];
});

function windows(
  { name, title, needs, axis = "sockets", firmware, annotations }: Release,
  suffix: string,
  variant: string,
  devices: System["devices"],
): System {
  const tpm = firmware === "secure with TPM";
  return {
    name: `windows.${name}${suffix}`,
    title: `Microsoft Windows ${title}${variant}`,
    icon: "icon-windows",
    type: "windows",
    needs,
    ...(annotations !== undefined && { annotations }),
    devices: {
      preferredAutoattachInputDevice: true,
      ...devices,
      ...(tpm && { preferredTPM: { persistent: true } }),
    },
    ...(firmware !== undefined && { efi: { secureBoot: true, ...(tpm && { persistent: true }) } }),
    cpu: { preferredCPUTopology: axis },
    rest: {
      clock: CLOCK,
      features: FEATURES,
      preferredTerminationGracePeriodSeconds: GRACE_SECONDS,
    },
  };
}
