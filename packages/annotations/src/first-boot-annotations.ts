import type { AnnotationSpec } from "./value-types.ts";

const MAX_SEED_BYTES = 128 * 1024;

/** What a machine is told at its first boot (cloud-init, Ignition, Windows' setup), and of its users while it runs. */
export const FIRST_BOOT_ANNOTATIONS = [
  {
    key: "trine.dev/cloud-init",
    setting: "cloudInit",
    level: "vm",
    type: "choice",
    choices: ["nocloud", "configdrive", "off"],
    default: "nocloud",
    description:
      "The seed disk: cloud-init's NoCloud, OpenStack's ConfigDrive with the same contents, or none.",
    reason:
      "Guests that know only one of them, and images that configure themselves and want no second disk.",
    example: "configdrive",
    virtlet: [{ name: "VirtletCloudInitImageType", translate: (text) => text.toLowerCase() }],
  },
  {
    key: "trine.dev/agent",
    setting: "agent",
    level: "vm",
    type: "switch",
    default: "off",
    description:
      "The seed starts Trine's own agent in the guest: exec with a terminal and input, cp, signals, and output as it comes. Needs Linux with control groups of version 2. Without it exec goes through qemu-guest-agent.",
    reason: "A program of ours in somebody's machine is for its owner to ask for.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/user-data",
    setting: "userData",
    level: "vm",
    type: "userData",
    maxBytes: MAX_SEED_BYTES,
    secret: true,
    description:
      "cloud-init user-data as it is: cloud-config, a script, a MIME message. Anyone who may read the Pod may read it.",
    reason:
      "Annotations are text, and so is all user-data but a compressed one, which the size limit makes needless: so there is no second, base64 form.",
    example: "#cloud-config\npackages: [nginx]\n",
    virtlet: [
      { name: "VirtletCloudInitUserData", translate: toCloudConfig },
      { name: "VirtletCloudInitUserDataScript", translate: withoutMountScript },
    ],
  },
  {
    key: "trine.dev/user-data-from",
    setting: "userDataFrom",
    level: "vm",
    type: "source",
    description:
      "user-data from a volume of the machine's container. A file is all of it; of a directory each file is a key of the cloud-config, its text the key's value in YAML. trine.dev/user-data is merged over it.",
    reason: "Secrets have no place in a Pod's annotations, and machines may have a part in common.",
    example: "configmap/web-user-data",
    virtlet: [{ name: "VirtletCloudInitUserDataSource" }],
  },
  {
    key: "trine.dev/user-data-key",
    setting: "userDataKey",
    level: "vm",
    type: "word",
    pattern: /^(?!\.\.?$)[A-Za-z0-9._-]{1,253}$/,
    allowed: "a key of a ConfigMap or Secret: letters, digits, '.', '_', '-', at most 253",
    description:
      "The file in the directory of trine.dev/user-data-from that is all of the user-data: cloud-config, a script or another.",
    reason: "Where a ConfigMap holds a script, its other keys are none of the guest's business.",
    example: "user-data",
    virtlet: [{ name: "VirtletCloudInitUserDataSourceKey" }],
  },
  {
    key: "trine.dev/user-data-encoding",
    setting: "userDataEncoding",
    level: "vm",
    type: "choice",
    choices: ["plain", "base64"],
    default: "plain",
    description: "How the file that is all of the user-data is written.",
    reason: "Generators that only write base64, and text that a YAML manifest would change.",
    example: "base64",
    virtlet: [{ name: "VirtletCloudInitUserDataSourceEncoding" }],
  },
  {
    key: "trine.dev/user-data-merge",
    setting: "userDataMerge",
    level: "vm",
    type: "choice",
    choices: ["merge", "replace"],
    default: "merge",
    description:
      "What trine.dev/user-data does to that of trine.dev/user-data-from. merge: mappings key by key, lists one after the other, else the annotation's; needs cloud-config in both. replace: it takes its place, as trine.dev/ssh-keys does of those from trine.dev/ssh-keys-from.",
    reason: "A machine that is to be without what the others have in common.",
    example: "replace",
    virtlet: [
      {
        name: "VirtletCloudInitUserDataOverwrite",
        translate: (text) => toWord(text, { true: "replace", false: "merge" }),
        allowed: '"true" or "false"',
      },
    ],
  },
  {
    key: "trine.dev/meta-data",
    setting: "metaData",
    level: "vm",
    type: "mapping",
    maxBytes: MAX_SEED_BYTES,
    secret: true,
    description: "cloud-init meta-data, YAML or JSON. Its keys replace the generated ones.",
    reason: "Guests that read more than instance-id and local-hostname from it.",
    example: "region: eu-1\n",
    virtlet: [{ name: "VirtletCloudInitMetaData" }],
  },
  {
    key: "trine.dev/ssh-keys",
    setting: "sshKeys",
    level: "vm",
    type: "sshKeys",
    maxCount: 64,
    default: "",
    description:
      "Public keys for the image's default user, one a line; blank lines and lines starting with # are skipped.",
    reason: "The most common need does not deserve a cloud-config.",
    example:
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f admin@example",
    virtlet: [{ name: "VirtletSSHKeys" }],
  },
  {
    key: "trine.dev/ssh-keys-from",
    setting: "sshKeysFrom",
    level: "vm",
    type: "sources",
    maxCount: 16,
    description:
      "More of such keys, in files of volumes of the machine's container; of a directory its authorized_keys, else all of its files. Those of trine.dev/ssh-keys come after them.",
    reason: "Keys that many machines have in common are changed in one place.",
    example: "secret/admins/authorized_keys",
    virtlet: [{ name: "VirtletSSHKeySource" }],
  },
  {
    key: "trine.dev/user-keys-from",
    setting: "userKeysFrom",
    level: "vm",
    type: "userSources",
    maxCount: 256,
    description:
      "Public keys that users of the guest have while it runs, in files of volumes of the machine's container; of a directory all of its files. The node looks at the volume again and again, and qemu-guest-agent adds what is new there to the user's authorized_keys and takes away what is gone. Other keys stay.",
    reason: "Keys that change have to reach guests that run, with or without cloud-init.",
    example: "root=secret/admins,deploy=secret/robots/key",
    virtlet: [],
  },
  {
    key: "trine.dev/passwords-from",
    setting: "passwordsFrom",
    level: "vm",
    type: "sources",
    maxCount: 64,
    description:
      "Passwords that users of the guest have while it runs: directories of volumes of the machine's container, with a file for each user. qemu-guest-agent sets those that are new or have changed there.",
    reason: "As trine.dev/user-keys-from; a password has no place in a Pod.",
    example: "secret/logins",
    virtlet: [],
  },
  {
    key: "trine.dev/files-from",
    setting: "filesFrom",
    level: "vm",
    type: "source",
    description:
      "Files that cloud-init writes at the first boot, before the guest's services start: a directory of a volume of the machine's container with NAME (the contents), NAME_path (where) and NAME_encoding (base64, the default, or plain) for each.",
    reason: "Files of an image are changed without user-data of one's own.",
    example: "configmap/web-files",
    virtlet: [{ name: "VirtletFilesFromDataSource" }],
  },
  {
    key: "trine.dev/network-config",
    setting: "networkConfig",
    level: "vm",
    type: "choice",
    choices: ["on", "v1", "v2", "off"],
    default: "on",
    description:
      "Whether the seed holds the network configuration. on: version 2 (v1, v2: that version) for NoCloud, network_data.json for ConfigDrive. off: the guest asks by DHCP, which is always answered.",
    reason: "Images with a network configuration of their own, or an old cloud-init.",
    example: "off",
    virtlet: [
      {
        name: "VirtletForceDHCPNetworkConfig",
        translate: (text) => toWord(text, { true: "off", false: "on" }),
        allowed: '"true" or "false"',
      },
    ],
  },
  {
    key: "trine.dev/network-data",
    setting: "networkData",
    level: "vm",
    type: "mapping",
    maxBytes: MAX_SEED_BYTES,
    description:
      "Network configuration in place of ours, YAML or JSON: version 1 or 2 for NoCloud, network_data.json for ConfigDrive.",
    reason: "Bonds, VLANs and names that a Pod does not know about.",
    example: "version: 2\nethernets: {eth0: {match: {driver: virtio_net}, dhcp4: true}}\n",
    virtlet: [],
  },
  {
    key: "trine.dev/network-data-from",
    setting: "networkDataFrom",
    level: "vm",
    type: "source",
    description: "The same, in a file of a volume of the machine's container.",
    reason: "Keys of VPNs and wireless networks have no place in annotations.",
    example: "secret/net/network-config",
    virtlet: [],
  },
  {
    key: "trine.dev/ignition",
    setting: "ignition",
    level: "vm",
    type: "ignition",
    maxBytes: MAX_SEED_BYTES,
    secret: true,
    description:
      "An Ignition config, given to the guest as QEMU's firmware file opt/com.coreos/config. Anyone who may read the Pod may read it.",
    reason: "Fedora CoreOS and its relatives know no cloud-init.",
    example: '{"ignition": {"version": "3.4.0"}}',
    virtlet: [],
  },
  {
    key: "trine.dev/ignition-from",
    setting: "ignitionFrom",
    level: "vm",
    type: "source",
    description: "The same, in a file of a volume of the machine's container.",
    reason: "Secrets have no place in a Pod's annotations.",
    example: "secret/coreos/config.ign",
    virtlet: [],
  },
  {
    key: "trine.dev/sysprep-from",
    setting: "sysprepFrom",
    level: "vm",
    type: "source",
    description:
      "Answers for Windows' setup: a directory of a volume of the machine's container with autounattend.xml, unattend.xml or both, shown to the guest with all its files as a CD.",
    reason: "Windows' setup and sysprep look for their answers on removable media.",
    example: "secret/windows-answers",
    virtlet: [],
  },
] as const satisfies readonly AnnotationSpec[];

/** Virtlet's user-data is YAML without cloud-init's header. */
function toCloudConfig(text: string): string {
  return text.startsWith("#cloud-config") ? text : `#cloud-config\n${text}`;
}

/** Where Virtlet puts its mounts into a script: here they are mounted before any script of the user's runs. */
function withoutMountScript(text: string): string {
  return text.replaceAll("@virtlet-mount-script@", ":");
}

/** "" for what Virtlet's switch does not take: no value of ours, so refused. */
function toWord(text: string, words: { readonly true: string; readonly false: string }): string {
  if (text === "true") return words.true;
  return text === "false" ? words.false : "";
}
