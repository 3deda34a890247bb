import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createOverlay } from "@trine/disk-images";
import { afterEach, expect, test } from "vitest";
import type { Pod } from "../pod.ts";
import { OnePod } from "../testing/test-engine.ts";

const MIB = 1024 * 1024;
const signal = AbortSignal.timeout(60_000);

let one: OnePod;

afterEach(() => one[Symbol.asyncDispose]());

/** A machine of 64 MiB and one CPU, whose container may use as much. */
async function running(annotations: Record<string, string>): Promise<Pod> {
  const config = {
    hostname: "pod1",
    annotations: {
      "io.kubernetes.cri.sandbox-name": "pod1",
      "trine.dev/guest-agent": "off",
      ...annotations,
    },
    linux: {
      resources: { memory: { limit: 64 * MIB }, cpu: { quota: 100_000, period: 100_000 } },
    },
  };
  const { annotations: said } = config;
  const sandbox = { ...said, "io.kubernetes.cri.container-type": "sandbox" };
  one = await OnePod.make({ ...config, annotations: sandbox, linux: {} });
  const bundle = await one.bundle("c1", config);
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  const pod = await one.engine().pod(one.ref);
  await pod.create({ id: "c1", bundle, rootfs: [], terminal: false, stdin: false });
  await pod.start({ id: "c1", execId: "" }, signal);
  return pod;
}

const resources = (mib: number, cpus = 1): Uint8Array =>
  Buffer.from(
    JSON.stringify({ memory: { limit: mib * MIB }, cpu: { quota: cpus * 1e5, period: 1e5 } }),
  );

const ROOM = { "trine.dev/max-memory": "128Mi", "trine.dev/max-cpus": "4" };

test("a machine follows its container's limits, up and down, as far as it was made to grow", async () => {
  const pod = await running(ROOM);
  await pod.update("c1", resources(96, 3));
  expect(one.driver.size).toEqual({ cpus: 3, memoryBytes: 96 * MIB });
  await pod.update("c1", resources(80, 2));
  expect(one.driver.size).toEqual({ cpus: 2, memoryBytes: 80 * MIB });
  // Not below what it began with.
  await pod.update("c1", resources(32, 0.5));
  expect(one.driver.size).toEqual({ cpus: 1, memoryBytes: 64 * MIB });
});

test("a machine without room keeps its CPUs, and more memory than it can have is refused", async () => {
  const pod = await running({});
  await pod.update("c1", resources(64, 8));
  expect(one.driver.size).toEqual({ cpus: 1, memoryBytes: 64 * MIB });
  await expect(pod.update("c1", resources(65))).rejects.toMatchObject({
    kind: "exhausted",
    message: expect.stringMatching(/has 64 MiB and can have 64 MiB at most/) as string,
  });
});

test("a guest that does not follow goes back, and the next change begins there", async () => {
  const pod = await running(ROOM);
  one.driver.failResizes = 1;
  await expect(pod.update("c1", resources(96, 3))).rejects.toMatchObject({ kind: "timeout" });
  expect(one.driver.size).toEqual({ cpus: 1, memoryBytes: 64 * MIB });
  await pod.update("c1", resources(96, 3));
  expect(one.driver.size).toEqual({ cpus: 3, memoryBytes: 96 * MIB });
});

test("limits that are no JSON change nothing", async () => {
  const pod = await running(ROOM);
  await expect(pod.update("c1", Buffer.from("{"))).rejects.toMatchObject({ kind: "malformed" });
  expect(one.driver.size).toEqual({ cpus: 1, memoryBytes: 64 * MIB });
});

const size = (cpus: number, mib: number) => ({ cpus, memoryBytes: mib * MIB });

test("a machine is given a size, which outlives the daemon and its container's limits", async () => {
  const pod = await running(ROOM);
  await pod.giveSize("c1", size(3, 97), signal);
  // Memory comes in steps of 2 MiB.
  expect(one.driver.size).toEqual(size(3, 96));
  expect(pod.control?.report()).toMatchObject({
    cpus: { sockets: 3 },
    memory: { guestBytes: 96 * MIB },
  });
  await pod.giveSize("c1", size(3, 96), signal);
  await pod.update("c1", resources(64));
  expect(one.driver.size).toEqual(size(3, 96));
  pod.detach();
  const again = await one.engine().pod(one.ref);
  expect(again.control?.report()?.memory.guestBytes).toBe(96 * MIB);
  await expect(again.giveSize("c1", size(3, 80), signal)).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringContaining("less than the guest has, 3 CPUs and 96 MiB") as string,
  });
  expect(one.driver.size).toEqual(size(3, 96));
});

test("a limit that is no whole step is no less than it was", async () => {
  const pod = await running(ROOM);
  await pod.update("c1", resources(97));
  await pod.giveSize("c1", size(2, 97), signal);
  expect(one.driver.size).toEqual(size(2, 96));
});

test("a request whose caller has gone by its turn does nothing", async () => {
  const pod = await running(ROOM);
  const gone = AbortSignal.abort(new Error("gone"));
  await expect(pod.giveSize("c1", size(2, 80), gone)).rejects.toThrow("gone");
  expect(one.driver.size).toEqual(size(1, 64));
});

test("a guest that keeps its processors has no more of them in use than its limit says", async () => {
  const pod = await running(ROOM);
  one.driver.keepsCpus = true;
  for (const [limit, there] of [
    [3, 3],
    [1, 3],
    [2, 3],
    [4, 4],
  ] as const) {
    await pod.update("c1", resources(64, limit));
    expect(one.driver.size.cpus).toBe(there);
    expect(pod.control?.report()?.cpus.sockets).toBe(limit);
  }
});

test.each([
  ["more CPUs", ROOM, size(5, 64), /5 CPUs: the machine was started for 1 CPU to 4 CPUs/],
  ["more memory", ROOM, size(1, 130), /130 MiB: .* for 64 MiB to 128 MiB/],
  ["less memory", ROOM, size(1, 32), /32 MiB: .* for 64 MiB to 128 MiB/],
  ["no room", {}, size(2, 64), /2 CPUs: .* with 1 CPU and no room to grow/],
])("a size it was not made for is refused in words: %s", async (_, room, wanted, words) => {
  const pod = await running(room);
  await expect(pod.giveSize("c1", wanted, signal)).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringMatching(words) as string,
  });
  expect(one.driver.size).toEqual(size(1, 64));
});

test("a guest that takes one of the two keeps it, and may be asked again for the other", async () => {
  const pod = await running(ROOM);
  one.driver.failResizes = 1;
  await expect(pod.giveSize("c1", size(2, 80), signal)).rejects.toMatchObject({ kind: "timeout" });
  expect(one.driver.size).toEqual(size(2, 64));
  expect(pod.control?.report()?.cpus.sockets).toBe(2);
  one.driver.failResizes = 1;
  await expect(pod.giveSize("c1", size(3, 64), signal)).rejects.toMatchObject({ kind: "timeout" });
  expect(one.driver.size).toEqual(size(2, 64));
  await pod.giveSize("c1", size(2, 80), signal);
  expect(one.driver.size).toEqual(size(2, 80));
});

const C1 = { id: "c1", execId: "" };

test.each<[string, (pod: Pod) => Promise<void>, RegExp]>([
  ["a stop", (pod) => pod.kill(C1, { signal: 15, all: false }), /it is to stop/],
  ["a kill", (pod) => pod.kill(C1, { signal: 9, all: false }), /it is to stop/],
  ["a pause", (pod) => pod.pause("c1", signal), /it is to pause/],
])("%s does not wait for a guest that grows", async (_, act, why) => {
  const pod = await running(ROOM);
  one.driver.isDeaf = true;
  const growths = [pod.giveSize("c1", size(2, 80), signal), pod.update("c1", resources(96))].map(
    (each) =>
      expect(each).rejects.toMatchObject({
        kind: "wrongState",
        message: expect.stringMatching(why) as string,
      }),
  );
  const offered = (): true | undefined =>
    one.driver.offered.memoryBytes === 80 * MIB ? true : undefined;
  await pollUntil("the guest is offered more", { ms: 5_000, everyMs: 1 }, offered);
  await act(pod);
  await Promise.all(growths);
  // It is told to stay as it is, and not asked anew.
  expect(one.driver.offered).toEqual(size(1, 64));
  expect(pod.control?.report()?.cpus.sockets).toBe(1);
});

test("a machine goes on from a pause at once, and does not grow while it is paused", async () => {
  const pod = await running(ROOM);
  await pod.pause("c1", signal);
  one.driver.isDeaf = true;
  await expect(pod.giveSize("c1", size(2, 80), signal)).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringContaining("paused") as string,
  });
  const update = expect(pod.update("c1", resources(96))).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringContaining("to go on from a pause") as string,
  });
  await pod.resume("c1", signal);
  await update;
  one.driver.isDeaf = false;
  await pod.giveSize("c1", size(2, 80), signal);
  expect(one.driver.size).toEqual(size(2, 80));
});
