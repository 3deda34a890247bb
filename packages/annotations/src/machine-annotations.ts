import { FIRST_BOOT_ANNOTATIONS } from "./first-boot-annotations.ts";
import { HARDWARE_ANNOTATIONS } from "./hardware-annotations.ts";
import { KERNEL_ANNOTATIONS } from "./kernel-annotations.ts";
import type { AnnotationSpec, SettingsOf } from "./value-types.ts";

const MI = 1024n ** 2n;
const TI = 1024n ** 4n;

/** Every pod annotation of the vm level: validation, types and the reference page come from here. */
export const MACHINE_ANNOTATIONS = [
  {
    key: "trine.dev/machine",
    setting: "machine",
    level: "vm",
    type: "word",
    pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    allowed: "the name of a container of the pod (a DNS label)",
    description:
      "Which container is the machine. Unset: the one whose image is labelled as a machine image or holds one disk under /disk.",
    reason: "Saves looking into images, and says it for a machine whose root disk is a volume.",
    example: "machine",
    virtlet: [],
  },
  {
    key: "trine.dev/imports",
    setting: "imports",
    level: "vm",
    type: "word",
    pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(,[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,15}$/,
    allowed: "names of containers of the pod (DNS labels), at most 16, with commas between them",
    description:
      "Containers whose process is the node's importer, which fills a volume of the pod: written by trine-control for DataVolumes. The last argument of each is its order.",
    reason:
      "A DataVolume is filled in the pod that uses it, before its machine starts; the program comes from the node and not from an image.",
    example: "import-root",
    virtlet: [],
  },
  {
    key: "trine.dev/disks",
    setting: "disks",
    level: "vm",
    type: "disks",
    maxBytes: 16 * 1024,
    maxCount: 16,
    default: "[]",
    description:
      "The machine's disks beside its image's, in the order the guest sees them; an entry named root says what that one is.",
    reason:
      "A Pod says which volumes a container has, not which of them is a disk, on which bus, and what the guest may do with it.",
    example:
      "- {name: data, device: /dev/data, serial: DATA-1}\n- {name: scratch, empty: true, size: 2Gi}\n",
    virtlet: [],
  },
  {
    key: "trine.dev/root",
    setting: "root",
    level: "vm",
    type: "choice",
    choices: ["disk", "none"],
    default: "disk",
    description:
      "Whether the machine has a disk of its image's, or one that trine.dev/disks calls root. none: it starts with what else there is, or with nothing to boot.",
    reason:
      "KubeVirt starts machines without a disk; an image that holds none by mistake is refused.",
    example: "none",
    virtlet: [],
  },
  {
    key: "trine.dev/disk-bus",
    setting: "diskBus",
    level: "vm",
    type: "choice",
    choices: ["virtio", "scsi", "sata"],
    default: "virtio",
    description:
      "The bus of disks for which trine.dev/disks says none: the root, and the seed. A cdrom is on sata unless it says scsi.",
    reason: "Guests without a driver for virtio's disks.",
    example: "scsi",
    virtlet: [
      {
        name: "VirtletDiskDriver",
        translate: (text) => (text === "sata" ? "" : text),
        allowed: '"scsi" or "virtio"',
      },
    ],
  },
  {
    key: "trine.dev/shares",
    setting: "shares",
    level: "vm",
    type: "choice",
    choices: ["virtiofs", "9p", "off"],
    default: "virtiofs",
    description:
      "How the guest has the container's volumes that are directories. virtiofs: as a file system with the tag trine, a directory for each; with cloud-init they are mounted where the container says. 9p: for kernels without virtiofs, over the link of Trine's agent, which mounts them there (trine.dev/agent: on). off: not at all.",
    reason:
      "Guests without the driver, and machines that are not to see the pod's volumes or tokens.",
    example: "off",
    virtlet: [],
  },
  {
    key: "trine.dev/share-tags",
    setting: "shareTags",
    level: "vm",
    type: "words",
    names: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,35}$/,
    words: /^(\/(?!\.\.?(\/|$))[^/\0-\x1f\x7f]{1,255}){1,16}$/, // eslint-disable-line no-control-regex -- those are what is refused
    allowed:
      "a tag (1 to 36 of letters, digits, _ . -) to the mountPath of a volume, none of them twice",
    maxCount: 8,
    default: "{}",
    description:
      "Volumes, directories all, of which each is a virtiofs file system of its own with that tag: mount -t virtiofs TAG /PLACE in the guest. With cloud-init they are mounted where the container says as well.",
    reason:
      "Guests that are set up to mount a volume by its tag, wherever they like, as KubeVirt's are. One server more for each costs memory of the pod.",
    example: "{app: /etc/app}",
    virtlet: [],
  },
  {
    key: "trine.dev/cpus",
    setting: "cpus",
    level: "vm",
    type: "integer",
    min: 1,
    max: 255,
    description:
      "Virtual CPUs. Unset: what trine.dev/cpu-topology comes to, else one. The pod's CPU limit bounds how much of them may run at a time.",
    reason:
      "A CPU limit may be a fraction and may change; a guest counts whole CPUs. 255 is what one-byte APIC ids address.",
    example: "2",
    virtlet: [{ name: "VirtletVCPUCount" }],
  },
  {
    key: "trine.dev/memory",
    setting: "memoryBytes",
    level: "vm",
    type: "quantity",
    min: 16n * MI,
    max: 16n * TI,
    description:
      "The guest's memory. Unset: the machine container's memory limit, else its request, else the node's default.",
    reason: "A guest may be given less than the pod's limit, to leave room for volumes in memory.",
    example: "2Gi",
    virtlet: [],
  },
  {
    key: "trine.dev/cpu-model",
    setting: "cpuModel",
    level: "vm",
    type: "word",
    pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    allowed:
      "host-passthrough, host-model or a CPU model name of the VMM: letters, digits, '.', '_', '-', at most 64",
    description:
      "CPU model shown to the guest. host-passthrough: all the host has; host-model: less what would bind the guest to this very host. Without KVM both are the best that emulation has. Unset: host-model.",
    reason: "Guests that must see the same CPU on every node, and nested virtualization.",
    example: "EPYC-v4",
    virtlet: [],
  },
  {
    key: "trine.dev/firmware",
    setting: "firmware",
    level: "vm",
    type: "choice",
    choices: ["bios", "uefi"],
    default: "bios",
    description: "Firmware that boots the disk.",
    reason: "The disk decides: one made for UEFI has no boot sector.",
    example: "uefi",
    virtlet: [],
  },
  {
    key: "trine.dev/console",
    setting: "console",
    level: "vm",
    type: "choice",
    choices: ["serial", "virtio", "none"],
    default: "serial",
    description:
      "The device behind kubectl logs and attach: first serial port, virtio console, or none.",
    reason:
      "Nearly every guest has a serial console; a guest without the port's driver needs the other.",
    example: "virtio",
    virtlet: [],
  },
  {
    key: "trine.dev/root-size",
    setting: "rootSizeBytes",
    level: "vm",
    type: "quantity",
    min: MI,
    max: 64n * TI,
    description:
      "Virtual size of the root disk. Only enlarges: less than the image's own is an error. Unset: the image's.",
    reason: "An image's disk is as small as its maker could get it.",
    example: "20Gi",
    virtlet: [{ name: "VirtletRootVolumeSize" }],
  },
  ...FIRST_BOOT_ANNOTATIONS,
  {
    key: "trine.dev/network-binding",
    setting: "networkBindings",
    level: "vm",
    type: "bindings",
    maxCount: 8,
    default: "tap",
    description:
      "How the guest has the pod's interfaces, all or by name. tap: with the pod's MAC and addresses, frame by frame. masquerade: behind the pod's addresses, with 10.0.2.2 and fd10:0:2::2 of its own (10.0.3.2 … for further interfaces); connections to the pod are the guest's unless a container waits for them. passt: with the pod's addresses, carried by a program without privileges; of the pod's ports those that trine.dev/ports gives to the machine, the first interface only. macvtap: with the pod's MAC and addresses, by the kernel's macvtap.",
    reason:
      "Some guests must keep one address wherever they run, and some pods share theirs with other containers.",
    example: "net1=masquerade",
    virtlet: [],
  },
  {
    key: "trine.dev/interfaces",
    setting: "interfaces",
    level: "vm",
    type: "interfaces",
    maxCount: 8,
    default: "{}",
    description:
      "What is said of single interfaces, by the pod's names. ipv4 and ipv6, of masquerade: the network of the guest and its gateway, which has the first address, the guest the second. ports, of masquerade: those of the pod's addresses that are the machine's; unset: all that no container waits at, and ping. link: down is a card whose cable is out.",
    reason:
      "A guest that is moved from elsewhere may have its address written down; a machine need not be called at more ports than it is for.",
    example: "{eth0: {ipv4: 10.11.12.0/24, ports: '22,8000-8010,53/udp'}}",
    virtlet: [],
  },
  {
    key: "trine.dev/network-models",
    setting: "networkModels",
    level: "vm",
    type: "choices",
    choices: ["virtio", "e1000e", "e1000", "rtl8139", "pcnet", "ne2k_pci"],
    pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/,
    names: "interfaces of the pod",
    maxCount: 8,
    default: "{}",
    description:
      "What the guest's network cards are, by the pod's name of the interface; virtio where nothing is said. All others are slower, and have one queue.",
    reason: "Systems without a driver for virtio's cards, such as a Windows that is being set up.",
    example: "{eth0: e1000e}",
    virtlet: [],
  },
  {
    key: "trine.dev/network-mac",
    setting: "networkMac",
    level: "vm",
    type: "word",
    pattern: /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/,
    allowed: "a MAC of one card, six pairs of 0-9 and a-f with colons between them",
    description:
      "MAC of the guest's first card. Where it is a tap the pod's own interface takes it, before anything runs; not for macvtap.",
    reason:
      "A guest's licence or its rules of names may hang on it. Unset it is the pod's, which the network plugin gives: one that lets only that MAC through carries no other.",
    example: "02:00:00:00:00:01",
    virtlet: [],
  },
  {
    key: "trine.dev/network-multiqueue",
    setting: "networkMultiqueue",
    level: "vm",
    type: "switch",
    default: "off",
    description:
      "As many queues for each network card as the machine has virtual CPUs at its start, at most 16. Not for passt, which has one.",
    reason: "One queue is one CPU's work; more cost memory and descriptors that few guests need.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/ports",
    setting: "ports",
    level: "vm",
    type: "ports",
    maxCount: 64,
    default: "",
    description:
      "Ports of the pod's address that belong to the machine or to a container beside it whoever listens, each to one. Every other port is the container's that listens there, else the machine's. Needs trine.dev/machine.",
    reason:
      "A container that happens to listen on the machine's port would take it, and a mistake should be said before anything runs.",
    example: "machine=22,web=443",
    virtlet: [],
  },
  {
    key: "trine.dev/start",
    setting: "start",
    level: "vm",
    type: "choice",
    choices: ["running", "paused"],
    default: "running",
    description:
      "paused: nothing of the guest runs until somebody resumes it; its container runs meanwhile.",
    reason: "To look at a guest from its first instruction on, or to start several at once.",
    example: "paused",
    virtlet: [],
  },
  {
    key: "trine.dev/guest-agent",
    setting: "guestAgent",
    level: "vm",
    type: "switch",
    default: "on",
    description: "The channel to a guest agent: kubectl exec, file system freeze, guest addresses.",
    reason: "A guest that is not to be entered from outside.",
    example: "off",
    virtlet: [],
  },
  {
    key: "trine.dev/display",
    setting: "display",
    level: "vm",
    type: "switch",
    default: "off",
    description: "A graphics adapter with a VNC display.",
    reason: "Costs memory on each machine, and servers have a console.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/uuid",
    setting: "uuid",
    level: "vm",
    type: "uuid",
    description: "SMBIOS system UUID. Unset: made from the pod's uid and the container's id.",
    reason: "Licences and guests moved from elsewhere are bound to it.",
    example: "4c4c4544-0043-3510-8052-b4c04f4e3432",
    virtlet: [{ name: "VirtletSystemUUID" }],
  },
  {
    key: "trine.dev/hostname",
    setting: "hostname",
    level: "vm",
    type: "word",
    pattern:
      /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
    allowed: "a DNS name in lower case, at most 253 characters",
    description: "The guest's host name. Unset: the pod's.",
    reason: "spec.hostname takes one label; a guest may need its full name.",
    example: "db1.example.com",
    virtlet: [],
  },
  ...KERNEL_ANNOTATIONS,
  ...HARDWARE_ANNOTATIONS,
] as const satisfies readonly AnnotationSpec[];

/** The parsed annotations; a setting without a default is undefined when its annotation is unset. */
export type MachineSettings = SettingsOf<(typeof MACHINE_ANNOTATIONS)[number]>;
