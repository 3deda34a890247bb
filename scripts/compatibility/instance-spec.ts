// The spec of a VirtualMachineInstance. What of it is inert is not said here: INERT_FIELDS of packages/controllers says it.
import { group } from "./field-group.ts";
import type { FieldGroup } from "./field-group.ts";
import {
  besides,
  firstBoot,
  hardware,
  inGuest,
  inHardware,
  inPod,
  onBoot,
  onNetworks,
  qemu,
  reconcilesInstance,
  renders,
  withDisks,
  withShares,
} from "./proof.ts";

const HARDWARE = qemu(
  "a machine with all that needs no help of the host is built as it was asked for",
);
const UNDER_KVM = qemu(
  "QEMU knows each enlightenment, and the clocks, by the names that it is told under KVM",
);
const OF_LESS = qemu("a board of less, with a clock that stands while its guest does");
const RESOURCES = renders("resources: %s");
const SECOND = renders("a second disk: %s");
const DISKS = withDisks(
  "block volumes, files, empty disks, overlays, images and cd-roms: each as it was asked for, and kept or not",
);
const PLACE = renders("where it runs and what it is called");
const SECURE = inHardware(
  "secure boot, a TPM and names are the guest's, whatever becomes of the daemon",
);
const MULTUS = renders("networks by Multus, with their MACs and bindings");
const CARDS = onNetworks(
  "a machine has a NIC for each of the pod's networks, and DHCP answers on those with addresses",
);
const SAID = renders("a network %j and its interface %j are said to the node");
const DIRECTORY = renders("is a directory of the guest's where a file system names it");
const FILES = renders("is a disk of files: %s");
const SHARED = withShares(
  "volumes are where the container says, shared both ways with others, live, and read-only where said",
);
const SEED = inGuest(
  "brings host name, keys, user-data and network in its seed, and the guest reads it",
);

const domain = (...names: readonly string[]): string[] =>
  names.map((name) => `spec.domain.${name}`);
const devices = (...names: readonly string[]): string[] =>
  names.map((name) => `spec.domain.devices.${name}`);
const volumes = (...names: readonly string[]): string[] =>
  names.map((name) => `spec.volumes[].${name}`);
const spec = (...names: readonly string[]): string[] => names.map((name) => `spec.${name}`);

export const INSTANCE_SPEC: readonly FieldGroup[] = [
  group("processors", domain("cpu.sockets", "cpu.cores", "cpu.threads", "cpu.maxSockets"), [
    RESOURCES,
    hardware,
    inGuest("gives as many processors, as much memory and as many queues as was asked for"),
  ]),
  group("processor model and features", domain("cpu.model", "cpu.features"), [hardware, HARDWARE]),
  group(
    "processors of its own",
    domain("cpu.dedicatedCpuPlacement", "cpu.isolateEmulatorThread", "cpu.numa", "cpu.realtime"),
    [
      RESOURCES,
      qemu("each virtual CPU has its own of the host, and the rest of the VMM the others"),
    ],
  ),
  group("memory", domain("memory"), [
    RESOURCES,
    hardware,
    inGuest("gives as many processors, as much memory and as many queues as was asked for"),
  ]),
  group("requests and limits", domain("resources"), [RESOURCES]),
  group("board", domain("machine"), [hardware]),
  group("architecture", spec("architecture"), [PLACE]),
  group("firmware: BIOS, UEFI, secure boot, identity", domain("firmware"), [
    hardware,
    inGuest("boots by UEFI, and goes on when the daemon restarts"),
    SECURE,
  ]),
  group("kernel of an image", domain("firmware.kernelBoot"), [
    renders("is a volume of the pod, and needs no disk"),
    inGuest(
      "boots a kernel and an initrd of its image, without any disk, with a command line that nobody reads but it",
    ),
    onBoot(
      "a machine starts a kernel and an initrd of an image, with the arguments that it is given",
    ),
  ]),
  group("ACPI tables of a user's", domain("firmware.acpi"), []),
  group("chassis", domain("chassis"), [hardware, SECURE]),
  group("clock and timers", domain("clock"), [hardware, UNDER_KVM, OF_LESS]),
  group("features of the processor and the board", domain("features"), [
    hardware,
    UNDER_KVM,
    OF_LESS,
    inGuest("has no seed where it opted out, and no ACPI tables of the VMM where that is off"),
  ]),
  group("confidential machines", domain("launchSecurity"), [], {
    refused: "there are no confidential machines here",
  }),
  group("reboot policy", domain("rebootPolicy"), [
    [
      "packages/vmm-qemu/src/plan-machine.component.test.ts",
      "a guest that resets goes on in the same process",
    ],
    hardware,
    [
      "packages/vmm-qemu/src/plan-machine.component.test.ts",
      "a guest that resets has ended where that was asked for",
    ],
    inGuest("has a display where it was asked for, and ends when it reboots where that was"),
  ]),
  group("disks", devices("disks"), [SECOND, DISKS]),
  group(
    "threads and queues of disks",
    [...domain("ioThreadsPolicy", "ioThreads"), ...devices("blockMultiQueue")],
    [
      hardware,
      qemu("disks have threads, and queues, as they were dealt"),
      inGuest("gives as many processors, as much memory and as many queues as was asked for"),
    ],
  ),
  group("volumes: images", volumes("name", "containerDisk"), [
    renders("of an image with a path is a file of an image volume"),
    SECOND,
    DISKS,
  ]),
  group("volumes: claims", volumes("persistentVolumeClaim", "dataVolume", "ephemeral"), [
    SECOND,
    renders("is a claim's where it comes first, and the container's image is empty"),
    DISKS,
  ]),
  group("volumes: empty disks and files of the node", volumes("emptyDisk", "hostDisk"), [
    SECOND,
    DISKS,
  ]),
  group("volumes: cloud-init", volumes("cloudInitNoCloud", "cloudInitConfigDrive"), [
    renders("user-data in the spec, plain or base64"),
    renders("a Secret is a volume below /trine.dev, and never in the pod"),
    SEED,
  ]),
  group("volumes: answers of Windows' setup", volumes("sysprep"), [
    renders("answers of Windows' setup"),
    firstBoot(
      "an Ignition config is in the firmware's files, Windows' answers on a CD, and both go with the machine",
    ),
  ]),
  group(
    "volumes: ConfigMaps, Secrets, downward API, service accounts",
    volumes("configMap", "secret", "downwardAPI", "serviceAccount"),
    [FILES, DIRECTORY, DISKS, SHARED],
  ),
  group("volumes: memory dumps", [...volumes("memoryDump"), ...spec("utilityVolumes")], []),
  group(
    "volumes: figures of the node",
    [...volumes("downwardMetrics"), ...devices("downwardMetrics")],
    [],
  ),
  group("volumes: paths of the container", volumes("containerPath"), []),
  group("file systems", devices("filesystems"), [
    DIRECTORY,
    withShares("a volume with a tag is a file system of its own, mounted wherever the guest likes"),
    onBoot("a guest mounts a ConfigMap by the name of its file system"),
  ]),
  group("networks", spec("networks"), [MULTUS, SAID, CARDS]),
  group(
    "network cards",
    devices("interfaces", "networkInterfaceMultiqueue", "autoattachPodInterface"),
    [
      MULTUS,
      SAID,
      renders("passt listens at the ports of the spec"),
      renders("a card is of its model, and one that is masqueraded has its own MAC"),
      qemu("QEMU has every model of network card, beside each other"),
      CARDS,
      onNetworks(
        "a machine has its networks by passt and a macvtap, and keeps them when trined or passt dies",
      ),
    ],
  ),
  group("network cards by slirp", devices("interfaces[].slirp"), [], {
    refused: "KubeVirt itself gave it up: use passtBinding or masquerade",
  }),
  group(
    "serial console and display",
    devices(
      "autoattachSerialConsole",
      "autoattachGraphicsDevice",
      "logSerialConsole",
      "video",
      "inputs",
      "autoattachInputDevice",
    ),
    [
      hardware,
      inPod("attach is the serial console; the log rotates without a lost line"),
      inGuest("has a display where it was asked for, and ends when it reboots where that was"),
    ],
  ),
  group(
    "watchdog, random numbers, balloon, sound, panic device, USB slots, vsock",
    devices(
      "watchdog",
      "rng",
      "autoattachMemBalloon",
      "sound",
      "panicDevices",
      "clientPassthrough",
      "autoattachVSOCK",
    ),
    [hardware, HARDWARE],
  ),
  group("TPM", devices("tpm"), [hardware, SECURE]),
  group(
    "GPUs and devices of the node",
    [...devices("gpus", "hostDevices"), ...spec("resourceClaims")],
    [RESOURCES],
  ),
  group("old virtio", devices("useVirtioTransitional"), [
    hardware,
    qemu("virtio devices have the interface of before 1.0 where that is asked for, and it alone"),
    inGuest("boots from a raw disk, which stays as it was, by virtio of before 1.0"),
  ]),
  group("no hot plug", devices("disableHotplug"), []),
  group(
    "where it runs",
    spec(
      "nodeSelector",
      "affinity",
      "tolerations",
      "topologySpreadConstraints",
      "priorityClassName",
      "schedulerName",
    ),
    [PLACE],
  ),
  group("host name, DNS", spec("hostname", "subdomain", "dnsPolicy", "dnsConfig"), [PLACE, SEED]),
  group("service account", spec("serviceAccountName"), [DIRECTORY]),
  group("grace period", spec("terminationGracePeriodSeconds"), [
    PLACE,
    inPod("stop presses the power button; the exit status is the guest's doing"),
  ]),
  group("probes", spec("livenessProbe", "readinessProbe"), [renders("probes are kubelet's")]),
  group("eviction", spec("evictionStrategy"), [
    ["packages/virt-api/src/admission/admission.test.ts", "with strategy %s and status %j: %s"],
    ["tests/virt-api.component.test.ts", "a machine that must move first is not evicted"],
  ]),
  group("paused from the start", spec("startStrategy"), [
    reconcilesInstance("one that starts paused runs, and is told as paused"),
    renders("a machine that is to start paused is one for its node"),
  ]),
  group("keys and passwords", spec("accessCredentials"), [
    renders("public keys of Secrets come with the seed, from any of their keys"),
    renders(
      "keys and passwords that an agent brings are volumes of Secrets, named for their users",
    ),
    [
      "packages/engine/src/machine/machine-credentials.test.ts",
      "keys and passwords of Secrets reach the guest, and follow their changes",
    ],
    [
      "tests/guest-credentials.component.test.ts",
      "keys and passwords of volumes reach the guest, and follow them through a restart of trined",
    ],
  ]),
  group(
    "containers beside the machine (annotation trine.dev/containers)",
    [],
    [
      renders("are added, with no privilege of the node"),
      besides("machine and containers run side by side, none in a namespace of the host"),
    ],
  ),
];
