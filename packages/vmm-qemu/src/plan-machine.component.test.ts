import { chown, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withDeadline } from "@trine/base";
import { VMM_KEY } from "@trine/vmm";
import type { DiskSpec, MachineSpec } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { BUTTON_GUEST_GREETING, buttonGuestDisk } from "./button-guest.ts";
import { planMachine } from "./plan-machine.ts";
import { findQemuEnvironment } from "./qemu-environment.ts";
import { JAIL_UID, SpawnedProcessHost } from "./testing.ts";

const run = promisify(execFile);
const MIB = 1024 * 1024;
const UEFI = { code: "/usr/share/OVMF/OVMF_CODE_4M.fd" };

let dir: string;
let root: DiskSpec;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-vmm-plan-"));
  await writeFile(join(dir, "boot.img"), buttonGuestDisk());
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(dir, "root.qcow2"), "1M"]);
  await run("qemu-img", ["create", "-q", "-f", "raw", join(dir, "data.raw"), "4M"]);
  for (const name of ["v", "s", "s2", "a", "a2"]) {
    await run("qemu-img", ["create", "-q", "-f", "raw", join(dir, `data-${name}.raw`), "4M"]);
  }
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(dir, "over.qcow2"), "4M"]);
  await run("cp", ["/usr/share/OVMF/OVMF_VARS_4M.fd", join(dir, "vars.fd")]);
  root = {
    ...{ name: "root", bus: "virtio", format: "qcow2", readOnly: false, bootIndex: 1 },
    path: join(dir, "root.qcow2"),
    backing: { format: "raw", path: join(dir, "boot.img") },
  };
});

afterAll(() => rm(dir, { recursive: true }));

/** A disk of a file of its own. */
function data(name: string): Omit<DiskSpec, "bus"> {
  return { name, format: "raw", path: join(dir, `data-${name}.raw`), readOnly: false };
}

/** A disk of one file for all who want it. */
function shared(name: string): Omit<DiskSpec, "bus"> {
  return { name, format: "raw", path: join(dir, "data.raw"), readOnly: true };
}

async function hostFor(name: string): Promise<SpawnedProcessHost> {
  const machineDir = join(dir, name);
  await mkdir(machineDir, { recursive: true });
  return new SpawnedProcessHost(machineDir);
}

async function plan(changes: Partial<MachineSpec>): Promise<ReturnType<typeof planMachine>> {
  const environment = await findQemuEnvironment({
    qemuPath: "/usr/bin/qemu-system-x86_64",
    uefi: UEFI,
  });
  return planMachine(machineSpec({ disks: [root], ...changes }), environment);
}

const features: Record<string, () => Partial<MachineSpec>> = {
  "nothing but a disk": () => ({ guestAgent: false }),
  "the guest agent": () => ({}),
  "a virtio console": () => ({ console: "virtio" }),
  "a display": () => ({ display: true }),
  "several CPUs and much memory": () => ({ cpus: 3, memoryBytes: 2048 * MIB }),
  "a CPU model": () => ({ cpuModel: "Nehalem,+aes" }),
  "a read-only raw disk": () => ({
    disks: [
      root,
      { name: "data", bus: "virtio", format: "raw", path: join(dir, "data.raw"), readOnly: true },
    ],
  }),
  "disks on every bus, with all that can be said of them": () => ({
    disks: [
      root,
      { ...data("v"), bus: "virtio", serial: "DATA-1", cache: "none", io: "native" },
      { ...data("s"), bus: "scsi", cache: "writethrough", io: "threads", discard: false },
      { ...data("s2"), bus: "scsi", media: "cdrom", readOnly: true },
      { ...data("a"), bus: "sata", serial: "A.1", bootIndex: 2 },
      { ...data("a2"), bus: "sata", media: "cdrom", readOnly: true, bootIndex: 3 },
      { ...data("o"), path: join(dir, "over.qcow2"), format: "qcow2", bus: "virtio" },
    ],
  }),
  "as many disks as there is room for": () => ({
    disks: [
      root,
      ...Array.from({ length: 13 }, (_, index) => ({
        ...shared(`v${index}`),
        bus: "virtio" as const,
      })),
      ...Array.from({ length: 30 }, (_, index) => ({
        ...shared(`s${index}`),
        bus: "scsi" as const,
      })),
      ...Array.from({ length: 6 }, (_, index) => ({
        ...shared(`a${index}`),
        media: "cdrom" as const,
        bus: "sata" as const,
      })),
    ],
  }),
  "a network interface": () => ({
    nics: [{ name: "eth0", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1450 }],
  }),
  uefi: () => ({
    firmware: "uefi",
    firmwareVarsPath: join(dir, "vars.fd"),
    memoryBytes: 128 * MIB,
  }),
};

for (const [name, changes] of Object.entries(features)) {
  test(`QEMU takes a machine with ${name}`, async () => {
    const host = await hostFor(name.replaceAll(" ", "-"));
    const { argv, ...rest } = await plan(changes());
    // -S: the machine is built and waits; SIGTERM ends QEMU in order.
    await host.spawn({ ...rest, argv: [...argv, "-S"] });
    try {
      await host.monitorAnswers(VMM_KEY);
      await host.signal(VMM_KEY, 15);
      const end = await withDeadline("end", 10_000, host.ended(VMM_KEY));
      expect(end).toEqual({ exitStatus: 143, reason: "host-signal" });
    } finally {
      await host.close();
    }
    expect(await host.logTail(VMM_KEY)).toMatch(/^\S+ \S+: terminating on signal 15.*\n$/);
  });
}

async function booted(
  name: string,
  changes: Partial<MachineSpec> = {},
): Promise<SpawnedProcessHost> {
  const host = await hostFor(name);
  await host.spawn(await plan(changes));
  await host.said(BUTTON_GUEST_GREETING);
  return host;
}

test.each([
  { does: "powers off", order: "q", exitStatus: 0, reason: "guest-shutdown" },
  { does: "panics", order: "p", exitStatus: 1, reason: "guest-panic" },
])(
  "a guest that $does ends with status $exitStatus",
  async ({ does, order, exitStatus, reason }) => {
    const host = await booted(does.replace(" ", "-"));
    try {
      await host.channel("console").write(new TextEncoder().encode(order));
      expect(await withDeadline("end", 10_000, host.ended(VMM_KEY))).toEqual({
        exitStatus,
        reason,
      });
    } finally {
      await host.close();
    }
  },
);

test("the jail holds all that QEMU needs, and the machine runs there unprivileged", async () => {
  const machineDir = join(dir, "jailed");
  await mkdir(machineDir);
  await chown(machineDir, JAIL_UID, JAIL_UID);
  await mkdir(join(dir, "jail-root"));
  const host = new SpawnedProcessHost(machineDir, { jail: join(dir, "jail-root") });
  try {
    await host.spawn(await plan({ display: true, console: "serial" }));
    await host.said(BUTTON_GUEST_GREETING);
    expect(await readdir(machineDir)).toEqual(["qmp.sock", "vnc.sock"]);
    await host.signal(VMM_KEY, 15);
    await withDeadline("end", 10_000, host.ended(VMM_KEY));
  } finally {
    await host.close();
  }
  expect(await host.logTail(VMM_KEY)).toMatch(/^\S+ \S+: terminating on signal 15.*\n$/);
});

test("a guest that resets goes on in the same process", async () => {
  const host = await booted("reset");
  try {
    const before = host.console.length;
    await host.channel("console").write(new TextEncoder().encode("r"));
    await host.said(BUTTON_GUEST_GREETING, 10_000, before);
    expect(host.running).toBe(1);
  } finally {
    await host.close();
  }
});

test("a guest that resets has ended where that was asked for", async () => {
  const host = await booted("ends", { hardware: { endsOnReboot: true, watchdog: "pause" } });
  try {
    await host.channel("console").write(new TextEncoder().encode("r"));
    expect(await withDeadline("end", 10_000, host.ended(VMM_KEY))).toEqual({
      exitStatus: 0,
      reason: "guest-reset",
    });
  } finally {
    await host.close();
  }
});

test("two machines share a read-only image, and a writable one belongs to one machine", async () => {
  const [first, second] = [await booted("first"), await hostFor("second")];
  try {
    await second.spawn(await plan({}));
    await withDeadline("refusal", 10_000, second.ended(VMM_KEY));
    expect(await second.logTail(VMM_KEY)).toContain('Failed to get "write" lock');

    const other = join(dir, "other.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", other, "1M"]);
    const third = await hostFor("third");
    await third.spawn(await plan({ disks: [{ ...root, path: other }] }));
    await third.said(BUTTON_GUEST_GREETING);
    await third.close();
  } finally {
    await first.close();
    await second.close();
  }
});
