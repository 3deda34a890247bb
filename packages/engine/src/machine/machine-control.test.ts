import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createOverlay } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Engine } from "../engine.ts";
import type { Pod } from "../pod.ts";
import { OnePod } from "../testing/test-engine.ts";

const MIB = 1024 * 1024;
const WAIT = { ms: 20_000, everyMs: 5 };
const signal = AbortSignal.timeout(60_000);

let one: OnePod;
let engine: Engine;
let pod: Pod;

function configOf(annotations: Record<string, string>): object {
  return {
    annotations: {
      ...{ "io.kubernetes.cri.sandbox-name": "pod1", "trine.dev/guest-agent": "off" },
      ...annotations,
    },
    linux: {},
  };
}

/** As it is noted for a later daemon. */
function isNoted(): boolean {
  return Buffer.from(one.shim.state).toString().includes("rebootUntil");
}

beforeEach(async () => {
  one = await OnePod.make(configOf({ "io.kubernetes.cri.container-type": "sandbox" }));
  engine = one.engine();
  const bundle = await one.bundle("c1", configOf({}));
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  pod = await engine.pod(one.ref);
  await pod.create({ id: "c1", bundle, rootfs: [], terminal: false, stdin: false });
  await pod.start({ id: "c1", execId: "" }, signal);
});

afterEach(() => one[Symbol.asyncDispose]());

/** The daemon dies, and another finds the machine. */
async function nextDaemon(): Promise<Pod> {
  await engine.detach();
  engine = one.engine();
  pod = await engine.pod(one.ref);
  return pod;
}

const isOver = (): Promise<true> =>
  pollUntil("the guest has begun anew", WAIT, () => (isNoted() ? undefined : true));

test("a guest without an agent is rebooted by the power button, and its machine does not end", async () => {
  let before: string | undefined;
  one.driver.onPowerDown = () => {
    before = one.driver.onGuestOff;
    one.driver.isOff = true;
  };
  await pod.control?.softReboot();
  expect(isNoted()).toBe(true);
  await isOver();
  expect([before, one.driver.isOff, one.driver.onGuestOff]).toEqual(["stay", false, "end"]);
  expect(pod.control?.report()).toMatchObject({ phase: "running" });
});

test("a daemon that comes back goes on with a reboot, wherever the one before it died", async () => {
  await pod.control?.softReboot();
  await pollUntil("the button", WAIT, () => (one.driver.powerDowns > 0 ? true : undefined));
  one.driver.isOff = true;
  await nextDaemon();
  await isOver();
  expect([one.driver.isOff, one.driver.onGuestOff]).toEqual([false, "end"]);
});

test("a stop calls the reboot off, and ends a guest that is off already", async () => {
  await pod.control?.softReboot();
  await pollUntil("the button", WAIT, () => (one.driver.powerDowns > 0 ? true : undefined));
  await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
  expect([isNoted(), one.driver.onGuestOff]).toEqual([false, "end"]);
  expect(pod.summary().machine?.state).toBe("stopping");
});

test("a machine that is to end, or is paused, is not rebooted", async () => {
  await pod.pause("c1", signal);
  await expect(pod.control?.softReboot()).rejects.toMatchObject({ kind: "wrongState" });
  await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
  await expect(pod.control?.softReboot()).rejects.toMatchObject({ kind: "wrongState" });
  expect([isNoted(), one.driver.onGuestOff]).toEqual([false, "end"]);
});

test("a guest that powers itself off as it is stopped ends", async () => {
  await pod.control?.softReboot();
  one.driver.onPowerDown = () => {
    one.driver.isOff = true;
  };
  one.driver.failStartAgain = new Error("not now");
  await pollUntil("off", WAIT, () => (one.driver.isOff ? true : undefined));
  await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
  await pollUntil("ended", WAIT, () =>
    pod.summary().machine?.state === "ended" ? true : undefined,
  );
});

test("a machine that is to start paused is, also for a daemon that comes back, until it is resumed", async () => {
  const bundle = await one.bundle("c2", configOf({ "trine.dev/start": "paused" }));
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  one.shim.end("vmm", { exitStatus: 0 });
  await pollUntil("ended", WAIT, () =>
    pod.summary().machine?.state === "ended" ? true : undefined,
  );
  await pod.delete({ id: "c1", execId: "" });
  await pod.create({ id: "c1", bundle, rootfs: [], terminal: false, stdin: false });
  await pod.start({ id: "c1", execId: "" }, signal);
  expect(pod.control?.report()).toMatchObject({ phase: "paused" });
  await nextDaemon();
  // The one before died as it was to answer.
  await pod.start({ id: "c1", execId: "" }, signal);
  expect(pod.control?.report()).toMatchObject({ phase: "paused" });
  await pod.resume("c1", signal);
  expect(pod.control?.report()).toMatchObject({ phase: "running" });
});

test("a guest that its VMM has stopped is told as paused, with why, and goes on when it is resumed", async () => {
  one.driver.halted = "io-error";
  const { control } = await nextDaemon();
  await pollUntil("told", WAIT, () => (control?.isHalted === true ? true : undefined));
  expect(control?.report()).toMatchObject({
    phase: "paused",
    reason: "a disk could not be read or written",
  });
  await pod.resume("c1", signal);
  expect(one.driver.halted).toBeUndefined();
  expect(control?.report()).toMatchObject({ phase: "running" });
  expect(control?.report()).not.toHaveProperty("reason");
});

test.each([
  ["crashed", 0],
  ["io-error", 1],
] as const)(
  "a machine that is %s and cannot go on is stopped all the same",
  async (halted, resumes) => {
    one.driver.halted = halted;
    one.driver.failResume = new Error("Resetting the Virtual Machine is required");
    const { control } = await nextDaemon();
    await pollUntil("told", WAIT, () => (control?.isHalted === true ? true : undefined));
    await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    expect(pod.summary().machine?.state).toBe("stopping");
    expect(one.driver.resumes).toBe(resumes);
  },
);

test("disks have their sizes before anybody has looked at the machine", async () => {
  one.driver.diskBytes.set("root", 8 * MIB);
  const { control } = await nextDaemon();
  await pollUntil("told", WAIT, () =>
    Promise.resolve(control?.report()?.disks[0]?.bytes === undefined ? undefined : true),
  );
  expect(control?.report()?.disks).toMatchObject([{ name: "root", bytes: 8 * MIB }, {}]);
});

test("disks are told with their sizes as the VMM says them", async () => {
  one.driver.diskBytes.set("root", 8 * MIB);
  await pod.control?.look();
  expect(pod.control?.report()?.disks).toMatchObject([{ name: "root", bytes: 8 * MIB }, {}]);
});
