import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pollUntil, withDeadline } from "@trine/base";
import { tinyGuestDisk } from "@trine/testkit";
import { VMM_KEY } from "@trine/vmm";
import type { DiskSpec, Machine, MachineEvent, MachineSpec } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { QemuDriver } from "./qemu-driver.ts";
import { SpawnedProcessHost } from "./testing.ts";

const run = promisify(execFile);
const MIB = 1024 * 1024;
const BOOT_MS = 90_000;

let dir: string;
let base: string;

beforeAll(async () => {
  base = await tinyGuestDisk();
  dir = await mkdtemp(join(tmpdir(), "trine-vmm-linux-"));
}, 1_800_000);
afterAll(() => rm(dir, { recursive: true }));

interface Guest extends AsyncDisposable {
  readonly host: SpawnedProcessHost;
  readonly machine: Machine;
  readonly events: MachineEvent[];
}

async function startGuest(name: string, changes: Partial<MachineSpec> = {}): Promise<Guest> {
  const machineDir = join(dir, name);
  await mkdir(machineDir);
  const path = join(machineDir, "root.qcow2");
  await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "256M"]);
  const host = new SpawnedProcessHost(machineDir);
  const root: DiskSpec = {
    ...{ name: "root", bus: "virtio", format: "qcow2", path, readOnly: false, bootIndex: 1 },
    backing: { format: "qcow2", path: base },
  };
  const spec = machineSpec({ memoryBytes: 128 * MIB, disks: [root], ...changes });
  const driver = new QemuDriver({ qemuPath: "/usr/bin/qemu-system-x86_64" });
  const machine = await driver.start(spec, host, AbortSignal.timeout(30_000));
  const events: MachineEvent[] = [];
  const following = follow(machine, events);
  const stop = async (): Promise<void> => {
    await host.close();
    await following;
  };
  return { host, machine, events, [Symbol.asyncDispose]: stop };
}

async function follow(machine: Machine, events: MachineEvent[]): Promise<void> {
  for await (const event of machine.events(AbortSignal.timeout(120_000))) events.push(event);
}

function signal(): AbortSignal {
  return AbortSignal.timeout(10_000);
}

test("a Linux guest tells its memory, has an agent, and powers off when asked", async () => {
  await using guest = await startGuest("obeys");
  const { host, machine, events } = guest;
  await host.said("TINY-GUEST READY", BOOT_MS);

  const stats = await pollUntil("the guest's memory", { ms: 30_000, everyMs: 250 }, async () => {
    const answer = await machine.stats(signal());
    return answer.memory.freeBytes === undefined ? undefined : answer;
  });
  expect(stats.memory.availableBytes).toBeGreaterThan(8 * MIB);
  expect(stats.memory.availableBytes).toBeLessThan(128 * MIB);
  expect(stats.disks[0]?.readBytes).toBeGreaterThan(1_000_000n);
  expect(stats.disks[0]?.readNs).toBeGreaterThan(0n);
  expect(stats.memory.seenBytes).toBeGreaterThan(64 * MIB);
  expect(stats.cpuNs).toBeGreaterThan(100_000_000n);
  expect(stats.vcpus[0]?.delayNs).toBeGreaterThan(0n);

  await pollUntil("the agent", { ms: 30_000 }, () =>
    events.some((event) => event.what === "agent-up") ? true : undefined,
  );
  await host.channel("guest-agent").write(new TextEncoder().encode('{"execute":"guest-ping"}\n'));
  const answer = await host.channel("guest-agent").read(signal());
  expect(new TextDecoder().decode(answer)).toContain('{"return": {}}');

  await machine.powerDown(signal());
  const end = await withDeadline("power-off", BOOT_MS, host.ended(VMM_KEY));
  expect(end).toEqual({ exitStatus: 0, reason: "guest-shutdown" });
});

test("a Linux guest with three CPUs on a virtio console, paused while it boots", async () => {
  await using guest = await startGuest("smp", { cpus: 3, console: "virtio", guestAgent: false });
  await guest.machine.pause(signal());
  const before = (await guest.machine.stats(signal())).cpuNs;
  expect((await guest.machine.stats(signal())).cpuNs).toBe(before);
  await guest.machine.resume(signal());
  await pollUntil("vCPU time", { ms: 30_000 }, async () =>
    (await guest.machine.stats(signal())).cpuNs > before + 100_000_000n ? true : undefined,
  );
});
