import type { DataSource, DataVolume, VirtualMachine } from "@trine/kube-types";
import { expect, test } from "vitest";
import { type VolumeSources, inferMatcher } from "./infer.ts";
import { kindOfMatcher } from "./matcher.ts";
import { machineWith } from "./testing.ts";

const NAME = "instancetype.kubevirt.io/default-instancetype";
const LABELS = { [NAME]: "u1.small", [`${NAME}-kind`]: "VirtualMachineInstancetype" };
const GIVEN = { name: "u1.small", kind: "VirtualMachineInstancetype" };

interface Cluster {
  readonly claims?: Readonly<Record<string, Record<string, string>>>;
  readonly snapshots?: Readonly<Record<string, Record<string, string>>>;
  readonly volumes?: Readonly<Record<string, Partial<DataVolume>>>;
  readonly sources?: Readonly<Record<string, Partial<DataSource>>>;
}

function sourcesOf({ claims, snapshots, volumes, sources }: Cluster): VolumeSources {
  const at = <T>(of: Readonly<Record<string, T>> | undefined) => {
    return (namespace: string, name: string): Promise<T | undefined> =>
      Promise.resolve(of?.[`${namespace}/${name}`]);
  };
  return {
    claimLabels: at(claims),
    snapshotLabels: at(snapshots),
    dataVolume: at(volumes) as VolumeSources["dataVolume"],
    dataSource: at(sources) as VolumeSources["dataSource"],
  };
}

function machine(volume: object, templates: readonly object[] = []): VirtualMachine {
  const { spec, ...rest } = machineWith({}, { volumes: [{ name: "root", ...volume }] });
  return { ...rest, spec: { ...spec, dataVolumeTemplates: templates as never } };
}

const FROM_ROOT = { inferFromVolume: "root" };
const VOLUME = { dataVolume: { name: "dv" } };
const OF_CLAIM = { source: { pvc: { namespace: "o", name: "c" } } };
const OF_SNAPSHOT = { source: { snapshot: { namespace: "o", name: "s" } } };
const OF_SOURCE = { sourceRef: { kind: "DataSource", name: "src" } };
const OF_OTHER_SOURCE = { sourceRef: { kind: "DataSource", namespace: "o", name: "src" } };
const template = (spec: object): object => ({ metadata: { name: "dv" }, spec });

test.each<[string, VirtualMachine, Cluster]>([
  [
    "a claim",
    machine({ persistentVolumeClaim: { claimName: "c" } }),
    { claims: { "n/c": LABELS } },
  ],
  [
    "a data volume",
    machine(VOLUME),
    { volumes: { "n/dv": { metadata: { labels: LABELS }, spec: {} } } },
  ],
  ["the claim of one that was cleared away", machine(VOLUME), { claims: { "n/dv": LABELS } }],
  [
    "a data volume of a claim",
    machine(VOLUME),
    { volumes: { "n/dv": { spec: OF_CLAIM } }, claims: { "o/c": LABELS } },
  ],
  [
    "a data volume of a snapshot",
    machine(VOLUME),
    { volumes: { "n/dv": { spec: OF_SNAPSHOT } }, snapshots: { "o/s": LABELS } },
  ],
  ["a template of a claim", machine(VOLUME, [template(OF_CLAIM)]), { claims: { "o/c": LABELS } }],
  [
    "a template of a source",
    machine(VOLUME, [template(OF_SOURCE)]),
    { sources: { "n/src": { metadata: { labels: LABELS }, spec: { source: {} } } } },
  ],
  [
    "a source of a claim elsewhere",
    machine(VOLUME, [template(OF_OTHER_SOURCE)]),
    { sources: { "o/src": { spec: OF_CLAIM } }, claims: { "o/c": LABELS } },
  ],
  [
    "a source of a snapshot",
    machine(VOLUME, [template(OF_SOURCE)]),
    { sources: { "n/src": { spec: OF_SNAPSHOT } }, snapshots: { "o/s": LABELS } },
  ],
])("is inferred from %s", async (_, of, cluster) => {
  const matcher = await inferMatcher(of, FROM_ROOT, "Instancetype", sourcesOf(cluster));
  expect(matcher).toEqual(GIVEN);
});

test("a preference has labels of its own", async () => {
  const labels = { "instancetype.kubevirt.io/default-preference": "fedora" };
  const of = machine({ persistentVolumeClaim: { claimName: "c" } });
  const sources = sourcesOf({ claims: { "n/c": labels } });
  expect(await inferMatcher(of, FROM_ROOT, "Preference", sources)).toEqual({ name: "fedora" });
});

const UNKNOWN = [
  [
    "without labels",
    machine({ persistentVolumeClaim: { claimName: "c" } }),
    { claims: { "n/c": {} } },
    `unable to find required ${NAME} label on the volume`,
  ],
  [
    "of another type",
    machine({ containerDisk: { image: "i" } }),
    {},
    "unable to infer defaults from volume root as type is not supported",
  ],
  [
    "that is filled otherwise",
    machine(VOLUME, [template({ source: { blank: {} } })]),
    {},
    "unable to infer defaults from DataVolumeSpec as DataVolumeSource is not supported",
  ],
  [
    "of another kind of source",
    machine(VOLUME, [template({ sourceRef: { kind: "Other", name: "x" } })]),
    {},
    "unable to infer defaults from DataVolumeSourceRef as Kind Other is not supported",
  ],
  [
    "of a source of nothing",
    machine(VOLUME, [template(OF_SOURCE)]),
    { sources: { "n/src": { spec: { source: {} } } } },
    "unable to infer defaults from DataSource that doesn't provide DataVolumeSourcePVC or DataVolumeSourceSnapshot",
  ],
] as const;

test.each(UNKNOWN)("a volume %s is refused, or let pass", async (_, of, cluster, words) => {
  const infer = (policy: object): Promise<unknown> =>
    inferMatcher(of, { ...FROM_ROOT, ...policy }, "Instancetype", sourcesOf(cluster));
  await expect(infer({})).rejects.toMatchObject({ kind: "invalid", message: words });
  expect(await infer({ inferFromVolumeFailurePolicy: "Ignore" })).toBeUndefined();
});

test("what is not there is refused whatever the policy", async () => {
  const matcher = { ...FROM_ROOT, inferFromVolumeFailurePolicy: "Ignore" };
  const infer = (of: VirtualMachine): Promise<unknown> =>
    inferMatcher(of, matcher, "Instancetype", sourcesOf({}));
  await expect(infer(machine(VOLUME))).rejects.toMatchObject({ kind: "notFound" });
  await expect(infer(machineWith())).rejects.toMatchObject({ kind: "invalid" });
});

test("a matcher that names no volume stays", async () => {
  const matcher = { name: "x", kind: "y" };
  expect(await inferMatcher(machineWith(), matcher, "Instancetype", sourcesOf({}))).toBe(matcher);
});

test.each([
  [undefined, "VirtualMachineClusterInstancetype"],
  ["virtualmachineclusterinstancetypes", "VirtualMachineClusterInstancetype"],
  ["VirtualMachineInstancetype", "VirtualMachineInstancetype"],
  ["VirtualMachineInstancetypes", "VirtualMachineInstancetype"],
])("the kind %s is %s", (kind, wanted) => {
  const matcher = kind === undefined ? {} : { kind };
  expect(kindOfMatcher(matcher, "Instancetype")).toBe(wanted);
});

test("a kind that gives nothing is refused", () => {
  expect(() => kindOfMatcher({ kind: "Pod" }, "Preference")).toThrow(
    "got unexpected kind in PreferenceMatcher: Pod",
  );
});
