import { describe, expect, test } from "vitest";
import { pollUntil } from "@trine/base";
import { describeLightMachines } from "./contract-light.ts";
import { DEADLINE_MS, ended, noneRunning, signal, take } from "./contract-rig.ts";
import type { MachineRig } from "./contract-rig.ts";
import { describeTemplates } from "./contract-templates.ts";

export type { MachineRig } from "./contract-rig.ts";

/** What every driver promises; run it against the fake and against the real thing. */
export function describeMachineDriver(name: string, makeRig: () => Promise<MachineRig>): void {
  describe(`${name}: machine driver`, () => {
    describeStart(makeRig);
    describeRunning(makeRig);
    describeEnd(makeRig);
    describeRecovery(makeRig);
    describeLightMachines(makeRig);
    describeTemplates(makeRig);
  });
}

function describeStart(makeRig: () => Promise<MachineRig>): void {
  test("starts a machine, which runs", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    expect(await machine.status(signal())).toBe("running");
    expect(rig.running()).toBe(1);
  });

  test("one that is to start paused waits for its resume, whichever driver gives it", async () => {
    await using rig = await makeRig();
    const spec = { ...rig.spec, startsPaused: true };
    const machine = await rig.driver().start(spec, rig.host, signal());
    expect(await machine.status(signal())).not.toBe("running");
    machine.detach();
    const after = await rig.driver().recover(spec, rig.host, signal());
    expect(await after.status(signal())).not.toBe("running");
    await after.resume(signal());
    expect(await after.status(signal())).toBe("running");
    after.detach();
    const last = await rig.driver().recover(spec, rig.host, signal());
    expect(await last.status(signal())).toBe("running");
  });

  test("a repeated start finds the machine that runs", async () => {
    await using rig = await makeRig();
    const first = await rig.driver().start(rig.spec, rig.host, signal());
    first.detach();
    const again = await rig.driver().start(rig.spec, rig.host, signal());
    expect(await again.status(signal())).toBe("running");
    expect(rig.running()).toBe(1);
  });

  test("a start that fails says why and leaves no process", async () => {
    await using rig = await makeRig();
    await expect(rig.driver().start(rig.brokenSpec, rig.host, signal())).rejects.toThrow(
      rig.brokenLog,
    );
    await noneRunning(rig);
  });

  test("a start that is aborted leaves no process", async () => {
    await using rig = await makeRig();
    rig.stall();
    const abort = new AbortController();
    const started = rig.driver().start(rig.spec, rig.host, abort.signal);
    started.catch(() => undefined);
    await pollUntil(
      "spawned",
      { ms: DEADLINE_MS, everyMs: 5 },
      () => rig.running() === 1 || undefined,
    );
    abort.abort(new Error("called off"));
    await expect(started).rejects.toThrow("called off");
    await noneRunning(rig);
  });
}

function describeRunning(makeRig: () => Promise<MachineRig>): void {
  test("pauses and resumes, and both may be repeated", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    const events = machine.events(signal());
    await machine.pause(signal());
    await machine.pause(signal());
    expect(await machine.status(signal())).toBe("paused");
    await machine.resume(signal());
    await machine.resume(signal());
    expect(await machine.status(signal())).toBe("running");
    expect(await take(events, 2)).toEqual(["paused", "running"]);
  });

  test("is reset as often as it is asked to be, and runs on", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    const events = machine.events(signal());
    await machine.reset(signal());
    expect(await take(events, 1)).toEqual(["reset"]);
    await machine.reset(signal());
    expect(await machine.status(signal())).toBe("running");
  });

  test("says who the guest is, as often as it is asked to", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await machine.announce(signal());
    await machine.announce(signal());
    expect(await machine.status(signal())).toBe("running");
  });

  test("statistics have the machine's memory and its disks by name, and the VMM reports of itself", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await rig.guestReady();
    const stats = await machine.stats(signal());
    expect(stats.cpuNs).toBeGreaterThan(0n);
    expect(stats.vcpus.map(({ id }) => id)).toEqual([...Array(stats.cpus).keys()]);
    expect(stats.vcpus.reduce((sum, { ns }) => sum + ns, 0n)).toBeLessThanOrEqual(stats.cpuNs);
    expect(stats.memory.totalBytes).toBe(rig.spec.memoryBytes);
    expect(stats.disks.map((disk) => disk.name)).toEqual(rig.spec.disks.map((disk) => disk.name));
    for (const disk of stats.disks) expect(disk.readBytes).toBeGreaterThanOrEqual(0n);
    const { answers, failures } = await machine.report(signal());
    expect(Object.keys(answers).length).toBeGreaterThan(0);
    expect(JSON.parse(JSON.stringify(answers))).toEqual(answers);
    expect(failures).toEqual({});
  });

  test("events end when their signal aborts, and the machine runs on", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    const abort = new AbortController();
    const events = take(machine.events(abort.signal), Infinity);
    abort.abort();
    await events;
    expect(await machine.status(signal())).toBe("running");
  });
}

function describeEnd(makeRig: () => Promise<MachineRig>): void {
  test("the power button ends a guest that obeys with status 0", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await rig.guestReady();
    const events = take(machine.events(signal()), Infinity);
    await machine.powerDown(signal());
    expect((await ended(rig)).exitStatus).toBe(0);
    expect(await events).toContain("shutdown");
    await machine.powerDown(signal());
    expect(await machine.status(signal())).toBe("off");
  });

  test("a guest that powers itself off stays when it is to, begins anew, and ends when it no longer is to", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await rig.guestReady();
    expect(await machine.startAgain(signal())).toBe(false);
    const first = take(machine.events(signal()), 1);
    await machine.onPowerOff("stay", signal());
    await machine.powerDown(signal());
    await pollUntil("off", { ms: DEADLINE_MS, everyMs: 10 }, async () =>
      (await machine.status(signal())) === "off" ? true : undefined,
    );
    expect(rig.running()).toBe(1);
    expect(await first).toEqual(["shutdown"]);
    machine.detach();
    const after = await rig.driver().recover(rig.spec, rig.host, signal());
    expect(await after.startAgain(signal())).toBe(true);
    expect(await after.startAgain(signal())).toBe(false);
    expect(await after.status(signal())).toBe("running");
    await after.onPowerOff("end", signal());
    // Its guest hears the button when it has come up again.
    await pollUntil("ended", { ms: DEADLINE_MS, everyMs: 100 }, async () => {
      await after.powerDown(signal());
      return rig.running() === 0 ? true : undefined;
    });
    expect((await ended(rig)).exitStatus).toBe(0);
  });

  test("kill ends the machine at once and may be repeated", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await machine.kill(signal());
    expect((await ended(rig)).exitStatus).toBe(137);
    await machine.kill(signal());
    expect(rig.running()).toBe(0);
  });
}

function describeRecovery(makeRig: () => Promise<MachineRig>): void {
  test("a new driver takes over a machine whose monitor was dropped", async () => {
    await using rig = await makeRig();
    const before = await rig.driver().start(rig.spec, rig.host, signal());
    await rig.guestReady();
    await before.pause(signal());
    before.detach();
    const after = await rig.driver().recover(rig.spec, rig.host, signal());
    expect(await after.status(signal())).toBe("paused");
    await after.resume(signal());
    await after.powerDown(signal());
    expect((await ended(rig)).exitStatus).toBe(0);
  });

  test("detaching ends the events and leaves the machine running", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    const events = take(machine.events(signal()), Infinity);
    machine.detach();
    await events;
    expect(rig.running()).toBe(1);
  });

  test("recovering a machine whose process is gone is notFound", async () => {
    await using rig = await makeRig();
    await expect(rig.driver().recover(rig.spec, rig.host, signal())).rejects.toMatchObject({
      kind: "notFound",
    });
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await machine.kill(signal());
    await ended(rig);
    await expect(rig.driver().recover(rig.spec, rig.host, signal())).rejects.toMatchObject({
      kind: "notFound",
    });
  });
}
