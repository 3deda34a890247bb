import type { System } from "./system.ts";

type Devices = System["devices"];

const VIRTIO: Devices = {
  preferredDiskBus: "virtio",
  preferredInterfaceModel: "virtio",
  preferredRng: {},
};
const THREAD: Devices = { preferredDiskDedicatedIoThread: true };
const MULTIQUEUE: Devices = { preferredNetworkInterfaceMultiQueue: true };
const TABLET: Devices = {
  preferredAutoattachInputDevice: true,
  preferredInputBus: "virtio",
  preferredInputType: "tablet",
};
const WITHOUT_SCREEN: Devices = {
  preferredAutoattachGraphicsDevice: false,
  preferredAutoattachMemBalloon: false,
  preferredAutoattachSerialConsole: true,
};
const SPREAD = {
  preferredCPUTopology: "spread",
  spreadOptions: { across: "SocketsCoresThreads" },
} as const;
const SPREAD_BY_4 = {
  ...SPREAD,
  spreadOptions: { ...SPREAD.spreadOptions, ratio: 4 },
} as const;

interface Rest extends Partial<Omit<System, "devices">> {
  readonly devices?: Devices;
}

function linux(name: string, title: string, icon: string, rest: Rest = {}): System {
  const devices = { ...VIRTIO, ...rest.devices };
  return { ...rest, name, title, icon: `icon-${icon}`, type: "linux", devices };
}

const GIB_1_5 = [1, "1.5Gi"] as const;

/** The same system for each architecture; with secure boot where the PC has it. */
function everywhere(name: string, title: string, icon: string, rest: Rest): readonly System[] {
  const on = (suffix: string, what: string, architecture: string, more: Rest = {}): System =>
    linux(`${name}${suffix}`, `${title} (${what})`, icon, { ...rest, architecture, ...more });
  const sealed = { rest: { preferredLaunchSecurity: {} } };
  return [
    on("", "amd64", "amd64", { efi: { secureBoot: true } }),
    on(".arm64", "arm64", "arm64"),
    on(".s390x", "s390x", "s390x"),
    on(".s390x.secex", "IBM Secure Execution", "s390x", sealed),
  ];
}

function centos(version: number, suffix = "", rest: Rest = {}): System {
  const devices = { ...THREAD, ...rest.devices };
  const title = `CentOS Stream ${version}`;
  return linux(`centos.stream${version}${suffix}`, title, "centos", {
    needs: GIB_1_5,
    ...rest,
    devices,
  });
}

function rhel(version: number, suffix: string, rest: Rest): System {
  return linux(`rhel.${version}${suffix}`, `${RHEL} ${version}`, "rhel", rest);
}

const RHEL = "Red Hat Enterprise Linux";

/** Variants of the newest release that only runs on the PC. */
function rhel9(suffix: string, variant: string, rest: Rest): System {
  return linux(`rhel.9${suffix}`, `${RHEL} 9 ${variant} (amd64)`, "rhel", {
    needs: GIB_1_5,
    ...rest,
    devices: { ...THREAD, ...rest.devices },
    architecture: "amd64",
    efi: { secureBoot: true },
  });
}

export const LINUX_SYSTEMS: readonly System[] = [
  linux("linux", "Linux Guest", "linux"),
  linux("linux.efi", "Linux EFI Guest", "linux", { efi: { secureBoot: false } }),
  linux("linux.virtiotransitional", "Linux Virtio Transitional Guest", "linux", {
    devices: { preferredUseVirtioTransitional: true },
  }),
  linux("alpine", "Alpine", "alpine", { needs: [1, "512Mi"] }),
  centos(9),
  centos(9, ".desktop", { devices: TABLET }),
  centos(9, ".dpdk", { devices: MULTIQUEUE, cpu: SPREAD_BY_4, needs: [8, "1.5Gi"] }),
  centos(10),
  centos(10, ".desktop", { devices: TABLET }),
  linux("cirros", "Cirros", "cirros", { needs: [1, "256Mi"] }),
  linux("debian", "Debian", "debian", { needs: [1, "512Mi"], efi: { secureBoot: false } }),
  ...everywhere("fedora", "Fedora", "fedora", { needs: [1, "2Gi"] }),
  linux("opensuse.leap", "OpenSUSE Leap", "opensuse-leap", { needs: [1, "2Gi"] }),
  linux("opensuse.tumbleweed", "OpenSUSE Tumbleweed", "opensuse-tumbleweed", {
    needs: [1, "2Gi"],
  }),
  linux("oraclelinux", "Oracle Linux", "oracle", {
    needs: [2, "4Gi"],
    efi: { secureBoot: false },
  }),
  rhel(7, "", { needs: [1, "1Gi"] }),
  rhel(7, ".desktop", { needs: [1, "1Gi"], devices: TABLET }),
  rhel(8, "", { needs: GIB_1_5 }),
  rhel(8, ".desktop", { needs: GIB_1_5, devices: TABLET }),
  rhel(8, ".dpdk", { needs: [8, "1.5Gi"], devices: MULTIQUEUE, cpu: SPREAD_BY_4 }),
  ...everywhere("rhel.9", `${RHEL} 9`, "rhel", { needs: GIB_1_5, devices: THREAD }),
  rhel9(".desktop", "Desktop", { devices: TABLET }),
  rhel9(".dpdk", "DPDK", { devices: MULTIQUEUE, cpu: SPREAD_BY_4, needs: [8, "1.5Gi"] }),
  rhel9(".realtime", "Realtime", {
    devices: { ...MULTIQUEUE, ...WITHOUT_SCREEN },
    cpu: SPREAD,
    needs: [4, "4Gi"],
  }),
  ...everywhere("rhel.10", `${RHEL} 10`, "rhel", { needs: GIB_1_5, devices: THREAD }),
  linux("sles", "SUSE Linux Enterprise Server", "sles", { needs: [1, "2Gi"] }),
  linux("ubuntu", "Ubuntu", "ubuntu", { needs: [1, "2Gi"] }),
];
