// No field of a machine's spec is dropped in silence: each changes the pod, is refused, is told as inert, or is named below.
import { KINDS } from "@trine/kube-types";
import type { ByPath } from "@trine/kube-types/testing";
import { expect, test } from "vitest";
import { CLAIMS, SETTINGS, instance } from "../testing.ts";
import { inertFields } from "./inert-fields.ts";
import { renderPod } from "./render-pod.ts";

type Node = (typeof KINDS)[number]["schema"]["node"];

/** What of the spec says nothing to a pod, and who acts on it instead. */
const ELSEWHERE: readonly RegExp[] = [
  // How parts of the spec refer to each other.
  /^domain\.devices\.(watchdog|sound)\.name$/,
  /^domain\.devices\.(inputs|gpus|hostDevices|disks|filesystems)\[\]\.name$/,
  /^volumes\[\]\.name$/,
  // What is so where nothing is said.
  /^domain\.devices\.interfaces\[\]\.bridge$/,
  /^domain\.devices\.rng$/,
  /^domain\.devices\.filesystems\[\]\.virtiofs$/,
  // An ephemeral disk never writes its volume.
  /^volumes\[\]\.ephemeral\.persistentVolumeClaim\.readOnly$/,
];

/** What has to stand beside a field for it to mean something. */
const BESIDE: readonly (readonly [RegExp, ByPath])[] = [
  [
    /^domain\.devices\.disks\[\]/,
    { "domain.devices.disks[0]": { name: "root" }, "volumes[0]": block() },
  ],
  [
    /disks\[\]\.(cache|io)$/,
    { "domain.devices.disks[0]": { name: "root", disk: { bus: "virtio" } } },
  ],
  [
    /^domain\.devices\.disks\[\]\.cdrom/,
    { "domain.devices.disks[0]": { name: "root", cdrom: {} } },
  ],
  [/^domain\.devices\.disks\[\]\.lun/, { "domain.devices.disks[0]": { name: "root", lun: {} } }],
  [
    /disks\[\]\.dedicatedIOThread$/,
    { "domain.devices.disks[0]": { name: "root", disk: { bus: "virtio" } } },
  ],
  [/^domain\.devices\.gpus/, { "domain.devices.gpus[0]": { name: "g", deviceName: "a.b/c" } }],
  [/gpus\[\]\.requestName/, { "domain.devices.gpus[0]": { name: "g", claimName: "c" } }],
  [
    /^domain\.devices\.hostDevices/,
    { "domain.devices.hostDevices[0]": { name: "g", deviceName: "a.b/c" } },
  ],
  [
    /hostDevices\[\]\.requestName/,
    { "domain.devices.hostDevices[0]": { name: "g", claimName: "c" } },
  ],
  [
    /^domain\.devices\.inputs/,
    { "domain.devices.inputs[0]": { name: "i", type: "tablet", bus: "usb" } },
  ],
  [
    /^domain\.devices\.interfaces/,
    { "domain.devices.interfaces[0]": { name: "default", masquerade: {} } },
  ],
  [
    /^domain\.devices\.watchdog\.i6300esb/,
    { "domain.devices.watchdog": { name: "w", i6300esb: {} } },
  ],
  [/^domain\.cpu\.isolateEmulatorThread/, { "domain.cpu.dedicatedCpuPlacement": true }],
  [
    /^domain\.features\.hyperv\.vendorid/,
    { "domain.features.hyperv.vendorid": { vendorid: "me" } },
  ],
  [
    /^domain\.devices\.interfaces\[\]\.(masquerade|macvtap|passt)/,
    { "domain.devices.interfaces[0]": { name: "default" } },
  ],
  [/autoattachPodInterface$/, { networks: undefined, "domain.devices.interfaces": undefined }],
  [/^domain\.features\.hyperv\.synictimer/, { "domain.features.hyperv.synictimer": {} }],
  [/^domain\.firmware\.bootloader\.efi/, { "domain.firmware.bootloader.efi": {} }],
  [/^networks\[\]/, { "networks[0]": { name: "default" } }],
  [/^networks\[\]\.multus\.default/, { "networks[0].multus": { networkName: "red" } }],
  [/^volumes\[\]/, { "volumes[0]": { name: "root" } }],
  [
    /^volumes\[\]\.ephemeral/,
    { "volumes[0].ephemeral.persistentVolumeClaim": { claimName: "block" } },
  ],
  [
    /^volumes\[\]\.persistentVolumeClaim/,
    { "volumes[0].persistentVolumeClaim": { claimName: "block" } },
  ],
  [/^volumes\[\]\.dataVolume/, { "volumes[0].dataVolume": { name: "block" } }],
  [
    /^volumes\[\]\.hostDisk/,
    { "volumes[0].hostDisk": { path: "/a/b", type: "DiskOrCreate", capacity: "1Gi" } },
  ],
  [/^volumes\[\]\.containerDisk/, { "volumes[0].containerDisk": { image: "i:1" } }],
  [
    /^volumes\[\]\.(?!containerDisk|hostDisk|dataVolume|persistentVolumeClaim|ephemeral|emptyDisk|name)/,
    second(),
  ],
  [/^volumes\[\]\.emptyDisk/, second()],
  [
    /^accessCredentials\[\]\.sshPublicKey\.propagationMethod/,
    { "accessCredentials[0].sshPublicKey.source.secret": { secretName: "keys" } },
  ],
  [
    /^accessCredentials\[\]\.sshPublicKey\.source/,
    { "accessCredentials[0].sshPublicKey.propagationMethod.noCloud": {} },
  ],
  [
    /^accessCredentials\[\]\.userPassword\.source/,
    { "accessCredentials[0].userPassword.propagationMethod.qemuGuestAgent": {} },
  ],
  [
    /kernelBoot\.kernelArgs$/,
    { "domain.firmware.kernelBoot.container": { image: "k", kernelPath: "/k" } },
  ],
  [/^livenessProbe(?!\.guestAgentPing)/, { "livenessProbe.exec": { command: ["true"] } }],
  [/^readinessProbe(?!\.guestAgentPing)/, { "readinessProbe.exec": { command: ["true"] } }],
];

function block(): object {
  return { name: "root", persistentVolumeClaim: { claimName: "block" } };
}

/** A volume that no machine boots from. */
function second(): ByPath {
  return {
    "volumes[0]": { name: "more" },
    "volumes[1]": { name: "root", containerDisk: { image: "i:1" } },
    "domain.devices.disks": [
      { name: "root", disk: {} },
      { name: "more", disk: {} },
    ],
  };
}

/** All paths of values, `[]` for items of lists, with what may stand there. */
function leaves(node: Node, path: string): [string, Node][] {
  switch (node.kind) {
    case "object": {
      const fields = Object.entries(node.fields);
      if (fields.length === 0) return [[path, node]];
      return fields.flatMap(([name, field]) =>
        leaves(field, path === "" ? name : `${path}.${name}`),
      );
    }
    case "list":
      return node.item.kind === "object" ? leaves(node.item, `${path}[]`) : [[path, node]];
    default:
      return [[path, node]];
  }
}

function candidates(node: Node): readonly unknown[] {
  switch (node.kind) {
    case "boolean":
      return [true, false];
    case "integer":
      return [2, 1];
    case "quantity":
      return ["3Gi", "2M"];
    case "intOrString":
      return [81];
    case "map":
      return [{ memory: "3Gi" }, { key: "value" }];
    case "list":
      return [["one"]];
    case "object":
      return [{}];
    case "string":
      return [
        ...(node.known ?? []),
        ...(node.values ?? []),
        "text",
        "02:00:00:00:00:01",
        "10.1.0.0/16",
        "dGV4dA==",
      ];
    default:
      return [{ any: "thing" }];
  }
}

function outcome(fields: ByPath): string {
  const paths = Object.entries(fields).map(([path, value]) => [`spec.${path}`, value] as const);
  const vmi = instance(Object.fromEntries(paths));
  return JSON.stringify([renderPod(vmi, CLAIMS, SETTINGS), inertFields(vmi.spec)]);
}

test("every field of the spec is followed, refused or told as inert", () => {
  const kind = KINDS.find(({ name }) => name === "VirtualMachineInstance");
  const root = kind?.schema.node as Node & { kind: "object" };
  const all = leaves(root.fields["spec"] as Node, "");
  expect(all.length).toBeGreaterThan(300);
  const plain = new Map<string, string>();
  const silent = all.filter(([path, node]) => {
    if (ELSEWHERE.some((each) => each.test(path))) return false;
    const beside = Object.assign(
      {},
      ...BESIDE.filter(([of]) => of.test(path)).map(([, fields]) => fields),
    ) as ByPath;
    const at = path.replaceAll("[]", "[0]");
    const key = JSON.stringify(beside);
    const before = plain.get(key) ?? outcome(beside);
    plain.set(key, before);
    return candidates(node).every((value) => outcome({ ...beside, [at]: value }) === before);
  });
  expect(silent.map(([path]) => path)).toEqual([]);
}, 120_000);
