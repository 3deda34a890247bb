import { mkdtemp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ContainerSchema, LinuxResourcesSchema, PodSandboxSchema } from "@trine/proto/nri";
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MAX_CHOICES } from "./cpu-record.ts";
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

const kept = (): Promise<string> => readFile(join(dir, "sets.json"), "utf8");

/** One without an id, as the gateway sees it before it is made. */
const planned = (name: string, resources: LinuxResources): Container =>
  create(ContainerSchema, { name, linux: { resources } });

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
  expect(said).toEqual([
    JSON.stringify({ pod: "ns/pod", container: "kubelets", cpus: "2" }), // left alone
  ]);
});

test("of a container that is made anew, the end of the one before lets nothing go", async () => {
  const sets = open();
  sets.offer("old", pod(), container("", limits(1)));
  sets.made("a-0", pod(), { name: "" });
  sets.offer("old", pod(), container("", limits(1)));
  sets.made("a-1", pod(), { name: "" });
  sets.removed("a-0");
  expect(await kept()).toContain('"cpus":"0"');
  sets.removed("a-1");
  expect(await kept()).not.toContain("cpus");
});

test("of one whose next attempt is on its way, the end of the one before lets nothing go", async () => {
  const sets = open();
  sets.offer("old", pod(), planned("a", limits(1)));
  sets.made("a-0", pod(), { name: "a" });
  expect(sets.offer("old", pod(), planned("a", limits(1)))).toBe("0");
  sets.removed("a-0");
  sets.synchronized("old", []);
  expect(await kept()).toContain('"cpus":"0"');
  sets.made("a-1", pod(), { name: "a" });
  const [now, wanted] = [container("a-1", limits(1, "0")), limits(2)];
  expect(sets.resized("old", pod(), now, wanted)).toBe("0-1");
});

test("what is made while a source is asked stays, and so does what is there and was not looked at", async () => {
  const before = open();
  for (const name of ["started", "silent", "gone"]) {
    before.offer("old", pod(), planned(name, limits(1)));
  }
  const sets = open();
  const synchronize = sets.synchronizing("old");
  sets.offer("old", pod(), planned("made", limits(1)));
  sets.made("made", pod(), { name: "made" });
  sets.offer("old", pod(), planned("offered", limits(1)));
  // It was looked at before it was given another set.
  const started = container("started", limits(1, "0"));
  expect(sets.resized("old", pod(), started, limits(2))).toBe("0-1");
  synchronize(
    [{ pod: pod(), container: started }],
    [{ pod: { id: "p" }, container: { name: "silent" } }],
  );
  const { choices } = JSON.parse(await kept()) as { choices: Record<string, object> };
  expect(Object.keys(choices).sort()).toEqual(["p/made", "p/offered", "p/silent", "p/started"]);
  expect(choices["p/started"]).toMatchObject({ cpus: "0-1", earlier: "0" });
  expect(said).toEqual([]);
});

test("CPUs of a creation that is refused, and of a pod that is gone, are free again", () => {
  const sets = open();
  const asked = planned("a", limits(3));
  expect(sets.offer("old", pod(), asked)).toBe("0-2");
  sets.refused(pod(), asked);
  // Nobody knows what became of this one: it may be made yet.
  expect(sets.offer("old", pod("p2"), asked)).toBe("0-2");
  expect(sets.offer("old", pod("p3"), planned("b", limits(1)))).toBe("3");
  sets.refused(pod("p3"), { name: "b" });
  sets.podRemoved("p2");
  expect(sets.offer("old", pod("p4"), planned("c", limits(1)))).toBe("0");
});

test("a second try that is refused frees nothing of the first, of which nobody knows", () => {
  const sets = open();
  const asked = planned("a", limits(3));
  sets.offer("old", pod(), asked);
  sets.offer("old", pod(), asked);
  sets.refused(pod(), asked);
  expect(sets.offer("old", pod("p2"), planned("b", limits(1)))).toBe("3");
});

test("sets that others give count as used, of as many containers as have them", () => {
  const sets = open();
  for (const name of ["x", "y"]) sets.offer("old", pod(), planned(name, limits(1, "0-2")));
  expect(sets.offer("old", pod(), planned("a", limits(1)))).toBe("0"); // they are not made yet
  sets.refused(pod(), { name: "a" });
  for (const [id, cpus] of [
    ["x", "0-1"],
    ["y", "2"],
  ] as const) {
    sets.seen(pod(), container(id, limits(1, cpus)));
  }
  expect(sets.offer("old", pod(), planned("a", limits(1)))).toBe("3");
  sets.seen(pod(), container("x", limits(1, "no list")));
  expect(said).toHaveLength(1);
});

test("where too many are kept already one more is refused, and none is forgotten", async () => {
  const each = { source: NRI, cpus: "0" };
  const choices = new Map(Array.from({ length: MAX_CHOICES }, (_, index) => [`p/${index}`, each]));
  const text = JSON.stringify({ version: 1, choices: Object.fromEntries(choices) });
  await writeFile(join(dir, "sets.json"), text);
  const sets = open();
  expect(sets.offer(NRI, pod("q"), container("one-more", limits(1)))).toBeUndefined();
  expect(said).toHaveLength(1);
  expect(await kept()).toBe(text);
  // One that has its place keeps it, also for other CPUs.
  expect(sets.offer(NRI, pod(), container("0", limits(2)))).toBe("0-1");
});

test("what cannot be written throws nothing, and what is let go is free all the same", async () => {
  const sets = open();
  sets.offer(NRI, pod(), container("a", limits(3)));
  sets.offer(NRI, pod(), container("b", limits(1)));
  sets.resized(NRI, pod(), container("b", limits(1, "3")), limits(2));
  await mkdir(join(dir, "sets.json.new"));
  sets.removed("a");
  sets.synchronized(NRI, [{ pod: pod(), container: container("b", limits(1, "3")) }]);
  sets.podRemoved("p");
  expect(said.length).toBeGreaterThanOrEqual(2);
  await rm(join(dir, "sets.json.new"), { recursive: true });
  expect(sets.offer(NRI, pod("q"), container("c", limits(3)))).toBe("0-2");
  expect(Object.keys((JSON.parse(await kept()) as { choices: object }).choices)).toEqual(["q/c"]);
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
