import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { allowedCpus } from "./allowed-cpus.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-cg-"));
});
afterEach(() => rm(dir, { recursive: true }));

async function say(cgroup: string, file: string, cpus: string): Promise<void> {
  await mkdir(join(dir, cgroup), { recursive: true });
  await writeFile(join(dir, cgroup, file), `${cpus}\n`);
}

test("cgroup v1: of the pod's own, or the nearest above it", async () => {
  const file = "cpuset.effective_cpus";
  await say("cpuset", file, "0-7");
  await say("cpuset/kubepods", file, "0-5");
  await say("cpuset/kubepods/pod1", file, "2-3");
  expect(allowedCpus("/kubepods/pod1", dir)).toEqual([2, 3]);
  expect(allowedCpus("/kubepods/pod2", dir)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(allowedCpus("", dir)).toHaveLength(8);
  await say("cpuset/kubepods/empty", file, "");
  expect(allowedCpus("/kubepods/empty", dir)).toEqual([0, 1, 2, 3, 4, 5]);
});

test("cgroup v2: by systemd's names too", async () => {
  const file = "cpuset.cpus.effective";
  await say("", file, "0-3");
  await say("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod_1.slice", file, "1");
  expect(allowedCpus("kubepods-burstable-pod_1.slice", dir)).toEqual([1]);
  expect(allowedCpus("kubepods-besteffort-pod_2.slice", dir)).toEqual([0, 1, 2, 3]);
});

test("where nothing says, and out of the tree, there are none", () => {
  expect(() => allowedCpus("/kubepods", dir)).toThrow(/no cgroup says/);
  expect(() => allowedCpus("/../x", dir)).toThrow(/leads out/);
});

test("on this machine", () => {
  expect(allowedCpus("").length).toBeGreaterThan(0);
});
