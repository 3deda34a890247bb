import { create } from "@bufbuild/protobuf";
import { LinuxResourcesSchema, PodSandboxSchema } from "@trine/proto/nri";
import { expect, test } from "vitest";
import { chooseCpus, cpuCount } from "./choose-cpus.ts";

const rules = { handlers: ["", "runc"], byDefault: "on", isMachine: () => false } as const;

interface Asks {
  readonly quota?: bigint;
  readonly period?: bigint;
  readonly cpus?: string;
  readonly handler?: string;
  readonly annotations?: Record<string, string>;
}

test.each<[count: number | undefined, asks: Asks]>([
  [1, { quota: 100_000n, period: 100_000n }],
  [2, { quota: 150_000n, period: 100_000n }],
  [1, { quota: 1_000n, period: 100_000n }],
  [3, { quota: 60_000n, period: 20_000n }],
  [2, { quota: 200_000n }], // the kernel's own period
  [undefined, {}],
  [undefined, { quota: -1n, period: 100_000n }],
  [undefined, { quota: 100_000n, period: 100_000n, cpus: "3" }],
  [undefined, { quota: 100_000n, handler: "kata" }],
  [undefined, { quota: 100_000n, annotations: { "trine.dev/cpuset": "off" } }],
  [1, { quota: 1n, annotations: { "trine.dev/cpuset": "off", "trine.dev/cpuset.main": "on" } }],
  [undefined, { quota: 1n, annotations: { "trine.dev/cpuset.main": "off" } }],
])("%s CPUs, case %#", (count, { quota, period, cpus = "", handler = "", annotations = {} }) => {
  const pod = create(PodSandboxSchema, { runtimeHandler: handler, annotations });
  const resources = create(LinuxResourcesSchema, {
    cpu: {
      cpus,
      ...(quota !== undefined && { quota: { value: quota } }),
      ...(period !== undefined && { period: { value: period } }),
    },
  });
  expect(cpuCount(pod, { name: "main" }, resources, rules)).toBe(count);
});

test("where the default is off, who asks has them", () => {
  const off = { ...rules, byDefault: "off" } as const;
  const resources = create(LinuxResourcesSchema, { cpu: { quota: { value: 1n } } });
  const count = (annotations: Record<string, string>): number | undefined =>
    cpuCount(create(PodSandboxSchema, { annotations }), { name: "main" }, resources, off);
  expect(count({})).toBeUndefined();
  expect(count({ "trine.dev/cpuset": "on" })).toBe(1);
});

interface Node {
  readonly count: number;
  readonly allowed?: readonly number[];
  readonly sets?: readonly (readonly number[])[];
  readonly held?: readonly number[];
}

test.each<[why: string, node: Node, cpus: readonly number[]]>([
  ["the first of those alike", { count: 2 }, [0, 1]],
  ["least used first", { count: 2, sets: [[0, 1], [0]] }, [2, 3]],
  ["the less used of those in use", { count: 3, sets: [[0, 1], [0]] }, [1, 2, 3]],
  ["none but the pod's", { count: 1, allowed: [2, 3], sets: [[2]] }, [3]],
  ["what it has stays as it grows", { count: 2, sets: [[0, 1, 3], [3]], held: [3] }, [2, 3]],
  ["it gives up the more used", { count: 1, sets: [[1]], held: [1, 2] }, [2]],
  ["what it may not have any more goes", { count: 1, allowed: [2, 3], held: [0] }, [2]],
  ["all, where as many or more are wanted", { count: 9 }, [0, 1, 2, 3]],
  ["never none", { count: 0 }, [0]],
])("%s", (_, { count, allowed = [0, 1, 2, 3], sets = [], held = [] }, cpus) => {
  const used = new Map<number, number>();
  for (const cpu of sets.flat()) used.set(cpu, (used.get(cpu) ?? 0) + 1);
  expect(chooseCpus({ count, allowed, used, held })).toEqual(cpus);
});
