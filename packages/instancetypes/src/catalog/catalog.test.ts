import { checkObject } from "@trine/kube-types";
import { expect, test } from "vitest";
import { unmetRequirement } from "../requirements.ts";
import type { InstancetypeSpec } from "../specs.ts";
import { expanded, machineWith } from "../testing.ts";
import { clusterInstancetypes } from "./instancetypes.ts";
import { clusterPreferences } from "./preferences.ts";

const types = clusterInstancetypes();
const preferences = clusterPreferences();
const nameOf = ({ metadata }: (typeof types)[number] | (typeof preferences)[number]): string =>
  metadata?.name ?? "";

test("there are all that users of KubeVirt expect, each once", () => {
  expect(new Set(types.map(nameOf)).size).toBe(65);
  expect(types.length).toBe(65);
  expect(new Set(preferences.map(nameOf)).size).toBe(57);
  expect(preferences.length).toBe(57);
});

test.each([...types, ...preferences].map((each) => [nameOf(each), each] as const))(
  "%s is a good object",
  (_, object) => {
    expect(checkObject(object).causes).toEqual([]);
  },
);

test.each(types.map((type) => [nameOf(type), type.spec] as const))(
  "an empty machine of %s passes the checks of machines",
  (_, instancetype) => {
    const { machine } = expanded({ instancetype }, machineWith());
    expect(checkObject(machine).causes).toEqual([]);
    const domain = machine?.spec.template.spec?.domain;
    const { sockets = 0, cores = 0, threads = 0 } = domain?.cpu ?? {};
    expect(sockets * cores * threads).toBe(instancetype.cpu.guest);
    expect(domain?.memory?.guest).toBe(instancetype.memory.guest);
    expect(machine?.spec.instancetype).toBeUndefined();
  },
);

/** Large enough for every preference, and divisible for those that spread. */
const LARGE: InstancetypeSpec = { cpu: { guest: 8 }, memory: { guest: "8Gi" } };

test.each(preferences.map((preference) => [nameOf(preference), preference.spec] as const))(
  "a machine with a disk and a network as %s prefers passes the checks of machines",
  (_, preference) => {
    const root = { name: "root", containerDisk: { image: "disks/any:1" } };
    const said = machineWith({}, { volumes: [root] });
    const { machine } = expanded({ instancetype: LARGE, preference }, said);
    expect(checkObject(machine).causes).toEqual([]);
    const spec = machine?.spec.template.spec;
    const { disks, interfaces } = spec?.domain.devices ?? {};
    expect(disks?.[0]?.disk?.bus).toBe(preference.devices?.preferredDiskBus);
    expect(interfaces?.[0]?.model).toBe(preference.devices?.preferredInterfaceModel);
    if (spec === undefined) throw new Error("nothing was expanded");
    expect(unmetRequirement(preference, { type: LARGE, spec })).toBeUndefined();
  },
);
