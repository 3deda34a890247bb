import { mkdtemp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ContainerSchema, LinuxResourcesSchema, PodSandboxSchema } from "@trine/proto/nri";
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CpuSets } from "./cpu-sets.ts";

const NRI = "nri";

let dir: string;
let said: string[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-cpus-"));
  said = [];
});
afterEach(() => rm(dir, { recursive: true }));

function open(allowed: (parent: string) => readonly number[] = () => [0, 1, 2, 3]): CpuSets {
  const note = (fields: object): void => {
    said.push(JSON.stringify(fields));
  };
  return new CpuSets({
    rules: { handlers: [""], byDefault: "on", isMachine: () => false },
    ...{ file: join(dir, "sets.json"), allowed, log: { info: note, warn: note } },
  });
}

const pod = (id = "p"): PodSandbox =>
  create(PodSandboxSchema, { id, name: "pod", namespace: "ns", linux: { cgroupParent: "/x" } });

const limits = (cpuCount: number, cpus = ""): LinuxResources =>
  create(LinuxResourcesSchema, {
    cpu: {
      ...(cpuCount !== 0 && { quota: { value: BigInt(cpuCount) * 100_000n } }),
      ...{ period: { value: 100_000n }, cpus },
    },
  });

const container = (id: string, resources: LinuxResources): Container =>
  create(ContainerSchema, { id, name: id.replace(/-.*/, ""), linux: { resources } });

test("each is put on as many as its limit, apart from others as long as there are such", () => {
  const sets = open();
  expect(sets.offer(NRI, pod(), container("a", limits(2)))).toBe("0-1");
  expect(sets.offer(NRI, pod(), container("b", limits(2)))).toBe("2-3");
  expect(sets.offer(NRI, pod("other"), container("a", limits(1)))).toBe("0");
  sets.removed("b");
  expect(sets.offer(NRI, pod(), container("c", limits(1)))).toBe("2");
});

test("who may have all of its pod's CPUs, or has no limit, is left as it is", () => {
  const sets = open((parent) => (parent === "/x" ? [2, 3] : []));
  expect(sets.offer(NRI, pod(), container("a", limits(2)))).toBeUndefined();
  expect(sets.offer(NRI, pod(), container("b", limits(0)))).toBeUndefined();
  expect(sets.offer(NRI, pod(), container("c", limits(1)))).toBe("2");
});

test("a limit that changes takes CPUs along, also to all of them, where there was no set, and back", () => {
  const sets = open();
  sets.offer(NRI, pod(), container("a", limits(1)));
  expect(sets.resized(NRI, pod(), container("a", limits(1, "0")), limits(3))).toBe("0-2");
  // Memory alone changes.
  expect(sets.resized(NRI, pod(), container("a", limits(3, "0-2")), limits(0))).toBeUndefined();
  expect(sets.resized(NRI, pod(), container("a", limits(3, "0-2")), limits(9))).toBe("0-3");
  expect(sets.resized(NRI, pod(), container("a", limits(9, "0-3")), limits(-1))).toBe("0-3");
  expect(sets.resized(NRI, pod(), container("a", limits(-1, "0-3")), limits(2))).toBe("0-1");

  expect(sets.offer(NRI, pod(), container("b", limits(4)))).toBeUndefined();
  expect(sets.resized(NRI, pod(), container("b", limits(4)), limits(2))).toBe("2-3");
});

test("what kubelet gives wins: at the creation, in a change, and behind our back", () => {
  const sets = open();
  expect(sets.offer(NRI, pod(), container("k", limits(1, "0")))).toBeUndefined();
  expect(sets.offer(NRI, pod(), container("a", limits(1)))).toBe("1"); // theirs count as used
  expect(sets.resized(NRI, pod(), container("a", limits(1, "1")), limits(1, "3"))).toBeUndefined();
  expect(sets.resized(NRI, pod(), container("a", limits(1, "3")), limits(2))).toBeUndefined();
  expect(sets.offer(NRI, pod(), container("b", limits(1)))).toBe("1");
  expect(sets.resized(NRI, pod(), container("b", limits(1, "2")), limits(2))).toBeUndefined();
});

test("the next daemon goes on with what the last one chose, and with a change that it did not see done", () => {
  const first = open();
  first.offer(NRI, pod(), container("a", limits(1)));
  first.offer(NRI, pod(), container("b", limits(1)));
  first.offer(NRI, pod(), container("gone", limits(1)));
  first.offer("old", pod("elsewhere"), container("c", limits(1)));
  first.resized(NRI, pod(), container("b", limits(1, "1")), limits(2));

  const next = open();
  next.synchronized(NRI, [
    { pod: pod(), container: container("a", limits(1, "0")) },
    { pod: pod(), container: container("b", limits(1, "1")) },
    { pod: pod(), container: container("kubelets", limits(1, "2")) },
  ]);
  expect(next.resized(NRI, pod(), container("a", limits(1, "0")), limits(2))).toBe("0-1");
  expect(next.resized(NRI, pod(), container("b", limits(1, "1")), limits(2))).toBe("0-1");
  expect(
    next.resized(NRI, pod(), container("kubelets", limits(1, "2")), limits(2)),
  ).toBeUndefined();
  // Of another source: not among NRI's, and not gone for that. `gone` is.
  expect(next.resized("old", pod("elsewhere"), container("c", limits(1, "3")), limits(2))).toMatch(
    /3/,
  );
  expect(said).toEqual([]);
});

test("of a container that is made anew, the end of the one before lets nothing go", async () => {
  const sets = open();
  sets.offer("old", pod(), container("", limits(1)));
  sets.made("a-0", pod(), { name: "" });
  sets.offer("old", pod(), container("", limits(1)));
  sets.made("a-1", pod(), { name: "" });
  const kept = (): Promise<string> => readFile(join(dir, "sets.json"), "utf8");
  sets.removed("a-0");
  expect(await kept()).toContain('"cpus":"0"');
  sets.removed("a-1");
  expect(await kept()).not.toContain("cpus");
});

test("a record that is none is told, and what cannot be kept is not given", async () => {
  await writeFile(join(dir, "sets.json"), '{"version": 7}');
  const sets = open();
  expect(said).toHaveLength(1);
  expect(sets.offer(NRI, pod(), container("a", limits(1)))).toBe("0");
  expect((await stat(join(dir, "sets.json"))).mode & 0o777).toBe(0o600);
  await mkdir(join(dir, "sets.json.new"));
  expect(sets.offer(NRI, pod(), container("b", limits(1)))).toBeUndefined();
  expect(said).toHaveLength(2);
  await rm(join(dir, "sets.json.new"), { recursive: true });
  expect(sets.offer(NRI, pod(), container("b", limits(1)))).toBe("1");
});
