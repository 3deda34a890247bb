// No field of an instance type or a preference is dropped in silence: each changes some machine, or is an error of it.
import { KINDS } from "@trine/kube-types";
import { expect, test } from "vitest";
import type { InstancetypeSpec, PreferenceSpec } from "./specs.ts";
import { expanded, machineWith } from "./testing.ts";

type Node = (typeof KINDS)[number]["schema"]["node"];

function specOf(kind: string): Node {
  const found = KINDS.find(({ name }) => name === kind)?.schema.node;
  if (found?.kind !== "object") throw new Error(`no kind ${kind}`);
  const spec = found.fields["spec"];
  if (spec === undefined) throw new Error(`${kind} has no spec`);
  return spec;
}

/** Objects in which one value is said, with its path. */
function alone(node: Node, path: string): [string, unknown][] {
  switch (node.kind) {
    case "object": {
      const fields = Object.entries(node.fields);
      if (fields.length === 0) return [[path, {}]];
      return fields.flatMap(([name, field]) =>
        alone(field, path === "" ? name : `${path}.${name}`).map(
          ([at, value]): [string, unknown] => [at, { ...least(node), [name]: value }],
        ),
      );
    }
    case "list":
      return alone(node.item, `${path}[]`).map(([at, value]): [string, unknown] => [at, [value]]);
    case "map":
      return [[path, { key: "value" }]];
    default:
      return values(node).map((value): [string, unknown] => [path, value]);
  }
}

/** Fields that must be there. */
function least(node: Node & { kind: "object" }): object {
  return Object.fromEntries(
    [...node.needed].map((name) => {
      const field = node.fields[name];
      return [
        name,
        field?.kind === "object"
          ? least(field)
          : field?.kind === "quantity"
            ? "1Gi"
            : field?.kind === "integer"
              ? 2
              : "text",
      ];
    }),
  );
}

function values(node: Node): readonly unknown[] {
  if (node.kind === "boolean") return [true, false];
  if (node.kind === "integer") return [3, 1];
  if (node.kind === "quantity") return ["3Gi"];
  return node.kind === "string"
    ? [...(node.known ?? []), ...(node.values ?? []), "text"]
    : ["text"];
}

/** Machines that leave things open, in different ways. */
const MACHINES = [
  machineWith(
    {
      memory: { guest: "1Gi" },
      devices: {
        disks: [{ name: "a" }, { name: "b", cdrom: {} }, { name: "c", lun: {} }],
        interfaces: [{ name: "n" }],
        inputs: [{ name: "i", type: "", bus: "" }],
        sound: { name: "s" },
        gpus: [{ name: "g", deviceName: "a.b/c" }],
      },
    },
    { networks: [{ name: "n", pod: {} }] },
  ),
  machineWith({
    memory: { guest: "1Gi" },
    devices: { disks: [{ name: "a", disk: { bus: "virtio" } }] },
  }),
  machineWith({
    memory: { guest: "1Gi" },
    firmware: { bootloader: { efi: {} } },
    cpu: { sockets: 2 },
  }),
  machineWith({ memory: { guest: "1Gi" }, firmware: { bootloader: { bios: {} } } }),
];

function outcome(
  of: Parameters<typeof expanded>[0],
  machine: ReturnType<typeof machineWith>,
): string {
  try {
    return JSON.stringify(expanded(of, machine));
  } catch (cause) {
    return String(cause);
  }
}

test("every field of an instance type changes a machine or contradicts it", () => {
  const base = { cpu: { guest: 2 }, memory: { guest: "2Gi" } };
  const machine = machineWith({ devices: {} });
  const plain = outcome({ instancetype: base }, machine);
  const followed = new Set<string>();
  const all = alone(specOf("VirtualMachineInstancetype"), "");
  for (const [path, value] of all) {
    const said = value as InstancetypeSpec;
    const instancetype = {
      ...base,
      ...said,
      cpu: { ...base.cpu, ...said.cpu },
      memory: { ...base.memory, ...said.memory },
    };
    const isKept = path === "cpu.guest" || path === "memory.guest";
    if (outcome({ instancetype }, machine) !== plain || isKept) followed.add(path);
  }
  expect(all.map(([path]) => path).filter((path) => !followed.has(path))).toEqual([]);
});

/** Followed elsewhere: `unmetRequirement` of what was expanded; or, as docs/compatibility.md says, nowhere. */
const ELSEWHERE =
  /^(requirements\.|volumes\.preferredStorageClassName|devices\.preferredVirtualGPUOptions)/;

test("every field of a preference changes a machine, or is followed elsewhere", () => {
  const followed = new Set<string>();
  const all = alone(specOf("VirtualMachinePreference"), "");
  const type = { cpu: { guest: 6 }, memory: { guest: "1Gi" } };
  for (const [path, value] of all) {
    const preference = value as PreferenceSpec;
    const spreads = { ...preference, cpu: { preferredCPUTopology: "spread", ...preference.cpu } };
    const isFollowed =
      MACHINES.some(
        (each) => outcome({ preference }, each) !== outcome({ preference: {} }, each),
      ) ||
      outcome({ instancetype: type, preference: spreads }, machineWith({ devices: {} })) !==
        outcome(
          { instancetype: type, preference: { cpu: { preferredCPUTopology: "spread" } } },
          machineWith({ devices: {} }),
        );
    if (isFollowed) followed.add(path);
  }
  const silent = [...new Set(all.map(([path]) => path))].filter((path) => !followed.has(path));
  expect(silent.filter((path) => !ELSEWHERE.test(path))).toEqual([]);
});
