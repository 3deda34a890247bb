import { DEVICE_ANNOTATIONS } from "./device-annotations.ts";
import { CHASSIS_FIELDS, SMBIOS_FIELDS } from "./hardware-fields.ts";
import { PLATFORM_ANNOTATIONS } from "./platform-annotations.ts";
import type { AnnotationSpec } from "./value-types.ts";

const MI = 1024n ** 2n;
const TI = 1024n ** 4n;
const MAX_CPUS = 255;

/** The machine's own hardware: its processors and memory, its board and firmware and what they keep; then its devices. */
export const HARDWARE_ANNOTATIONS = [
  {
    key: "trine.dev/cpu-topology",
    setting: "topology",
    level: "vm",
    type: "fields",
    fields: {
      sockets: { type: "integer", min: 1, max: MAX_CPUS, description: "Processors. Default 1." },
      cores: { type: "integer", min: 1, max: MAX_CPUS, description: "Of a socket. Default 1." },
      threads: { type: "integer", min: 1, max: 2, description: "Of a core. Default 1." },
    },
    description:
      "How the guest sees its CPUs: as many as sockets × cores × threads. Unset: trine.dev/cpus cores of one socket.",
    reason: "Licences count sockets, and schedulers know siblings.",
    example: "{sockets: 1, cores: 2, threads: 2}",
    virtlet: [],
  },
  {
    key: "trine.dev/max-cpus",
    setting: "maxCpus",
    level: "vm",
    type: "integer",
    min: 1,
    max: MAX_CPUS,
    description:
      "What the CPUs may grow to while the machine runs, in whole sockets where there is a topology. Unset: they do not.",
    reason: "A machine has places for CPUs from its start or never.",
    example: "8",
    virtlet: [],
  },
  {
    key: "trine.dev/max-memory",
    setting: "maxMemoryBytes",
    level: "vm",
    type: "quantity",
    min: 32n * MI,
    max: 16n * TI,
    description:
      "What the memory may grow to while the machine runs (virtio-mem, in steps of 2 MiB). Unset: it does not.",
    reason:
      "A machine has room for memory from its start or never; the guest needs a driver for it.",
    example: "8Gi",
    virtlet: [],
  },
  {
    key: "trine.dev/cpu-features",
    setting: "cpuFeatures",
    level: "vm",
    type: "choices",
    choices: ["force", "require", "optional", "disable", "forbid"],
    pattern: /^[a-z0-9][a-z0-9._-]{0,31}$/,
    names: "CPU features",
    maxCount: 128,
    description:
      "CPU features as the VMM names them. force and optional: shown where the host has it; require: no start without; disable: not shown; forbid: no start where the host has it.",
    reason: "A model alone is rarely what a guest or a mitigation asks for.",
    example: "{vmx: require, hle: disable}",
    virtlet: [],
  },
  {
    key: "trine.dev/machine-type",
    setting: "machineType",
    level: "vm",
    type: "word",
    pattern: /^(q35|pc-q35-\d{1,2}\.\d{1,2})$/,
    allowed: '"q35", or one of its versions such as "pc-q35-7.2"',
    description: "The board. Unset: the newest q35 of the node's VMM.",
    reason: "A guest that is bound to its hardware sees the same board after the VMM was updated.",
    example: "pc-q35-7.2",
    virtlet: [],
  },
  {
    key: "trine.dev/smbios",
    setting: "smbios",
    level: "vm",
    type: "fields",
    fields: SMBIOS_FIELDS,
    description: "SMBIOS strings of the system (type 1). The UUID is trine.dev/uuid.",
    reason: "Licences, inventory and cloud-init's data sources go by them.",
    example: '{manufacturer: "Example, Inc.", serial: SN-1}',
    virtlet: [],
  },
  {
    key: "trine.dev/chassis",
    setting: "chassis",
    level: "vm",
    type: "fields",
    fields: CHASSIS_FIELDS,
    description: "SMBIOS strings of the chassis (type 3).",
    reason: "Inventories keep asset tags there.",
    example: "{asset: A-17}",
    virtlet: [],
  },
  {
    key: "trine.dev/firmware-serial",
    setting: "firmwareSerial",
    level: "vm",
    type: "switch",
    default: "off",
    description: "Whether the BIOS prints on the serial port, and takes keys from it.",
    reason: "Choosing what boots needs a display otherwise.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/secure-boot",
    setting: "secureBoot",
    level: "vm",
    type: "switch",
    default: "off",
    description:
      "Whether UEFI starts only what is signed: with Microsoft's keys enrolled, and variables that only the firmware's system management mode writes.",
    reason: "Windows 11 and hardened images ask for it; many images are not signed.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/firmware-persistent",
    setting: "firmwarePersistent",
    level: "vm",
    type: "switch",
    default: "off",
    description:
      "Whether the UEFI variables are kept in trine.dev/state. Off: each container begins with the node's template.",
    reason: "What an installer enters into the boot menu is lost with the container otherwise.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/tpm",
    setting: "tpm",
    level: "vm",
    type: "choice",
    choices: ["off", "on", "persistent"],
    default: "off",
    description:
      "A TPM 2.0 (CRB). on: a new one for each container; persistent: its secrets are kept in trine.dev/state.",
    reason: "Windows 11 asks for one, and disk encryption is bound to it.",
    example: "persistent",
    virtlet: [],
  },
  {
    key: "trine.dev/state",
    setting: "statePath",
    level: "vm",
    type: "word",
    pattern: /^(\/(?!\.\.?(\/|$))[^/\0-\x1f\x7f]{1,255}){1,16}$/, // eslint-disable-line no-control-regex -- those are what is refused
    allowed: "an absolute path in the container, of a directory on a volume",
    description:
      "Where UEFI variables and a TPM's state are kept that are to outlive the container.",
    reason: "Only the Pod knows which of its volumes is the machine's for good.",
    example: "/state",
    virtlet: [],
  },
  ...PLATFORM_ANNOTATIONS,
  ...DEVICE_ANNOTATIONS,
] as const satisfies readonly AnnotationSpec[];
