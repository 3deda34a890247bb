import { createHash } from "node:crypto";
import { chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pollUntil, withDeadline } from "@trine/base";
import { GuestShell, runCommand, shellGuest } from "@trine/testkit";
import { VMM_KEY } from "@trine/vmm";
import type { BootSpec, Machine, MachineSpec, NicSpec, SlotImage, Template } from "@trine/vmm";
import { lightSpec } from "@trine/vmm/testing";
import { QemuDriver } from "./qemu-driver.ts";
import { JAIL_UID, SpawnedProcessHost } from "./testing.ts";

const MIB = 1024 * 1024;
const BOOT_MS = 120_000;
const driver = new QemuDriver({ qemuPath: "/usr/bin/qemu-system-x86_64" });

let dir: string;
let boot: BootSpec & { readonly kind: "direct" };

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-vmm-light-"));
  boot = await shellGuest(dir);
  const slots = join(dir, "slots");
  await mkdir(slots);
  // What is mounted there later reaches the jails.
  await runCommand("mount", ["--bind", slots, slots]);
  await runCommand("mount", ["--make-shared", slots]);
}, 900_000);

afterAll(async () => {
  await runCommand("umount", ["--recursive", join(dir, "slots")]);
  await rm(dir, { recursive: true });
});

interface Guest extends AsyncDisposable {
  readonly host: SpawnedProcessHost;
  readonly machine: Machine;
  readonly spec: MachineSpec;
  readonly shell: GuestShell;
  /** When its start was called, and how long that took. */
  readonly began: number;
  readonly startMs: number;
}

function nic(name: string): NicSpec {
  return { name: "eth0", tap: `tap-${name}`, mac: "02:00:00:00:00:01", mtu: 1400 };
}

function bootedSpec(name: string, changes: Partial<MachineSpec> = {}): MachineSpec {
  return lightSpec(dir, {
    id: name,
    boot,
    disks: [],
    nics: [nic(name)],
    memoryBytes: 160 * MIB,
    memoryMaxBytes: 288 * MIB,
    ...changes,
  });
}

function cloneSpec(name: string, template: Template): MachineSpec {
  const spec = { ...bootedSpec(name), origin: { template } };
  Reflect.deleteProperty(spec, "isTemplate");
  return spec;
}

async function startGuest(spec: MachineSpec): Promise<Guest> {
  const [machineDir, jail] = [join(dir, `${spec.id}-machine`), join(dir, `${spec.id}-jail`)];
  await mkdir(jail);
  await mkdir(machineDir);
  await chown(machineDir, JAIL_UID, JAIL_UID);
  const host = new SpawnedProcessHost(machineDir, { jail });
  const began = performance.now();
  try {
    const machine = await driver.start(spec, host, AbortSignal.timeout(60_000));
    const startMs = Math.round(performance.now() - began);
    const shell = new GuestShell(host);
    return {
      host,
      machine,
      spec,
      shell,
      began,
      startMs,
      [Symbol.asyncDispose]: () => host.close(),
    };
  } catch (cause) {
    await host.close();
    throw cause;
  }
}

function signal(ms = 60_000): AbortSignal {
  return AbortSignal.timeout(ms);
}

/** A raw image that begins with `text`, elsewhere than where the slots are. */
async function makeImage(name: string, text: string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, Buffer.concat([Buffer.from(text), Buffer.alloc(MIB - text.length)]));
  await chown(path, JAIL_UID, JAIL_UID);
  return path;
}

/** Mounts the image into the slots' directory, as the shim does for a machine that runs. */
async function mounted(name: string, text: string, readOnly: boolean): Promise<SlotImage> {
  const image = await makeImage(name, text);
  const path = join(dir, "slots", name);
  await writeFile(path, "");
  await runCommand("mount", ["--bind", image, path]);
  return { path, format: "raw", readOnly };
}

/** The disk's device in the guest. */
const DEVICE = (name: string): string =>
  `/dev/$(for d in /sys/block/vd*; do grep -qx ${name} $d/serial && echo \${d##*/}; done)`;

/** First bytes of a slot, as the guest reads them from the disk itself. */
function readSlot(guest: Guest, name: string): Promise<string> {
  const read = `dd if=${DEVICE(name)} bs=4096 count=1 iflag=direct 2>/dev/null | tr -d '\\0'`;
  return guest.shell.run(read, signal());
}

test("boots a kernel without a boot loader; slots filled later are read and written by the guest", async () => {
  await using guest = await startGuest(bootedSpec("cold", { nics: [] }));
  await guest.shell.ready(signal(BOOT_MS));
  const { machine } = guest;

  await machine.fillSlot("slot-ro-0", await mounted("one", "first image", true), signal());
  await machine.fillSlot("slot-rw-0", await mounted("own", "to be written", false), signal());
  expect(await readSlot(guest, "slot-ro-0")).toBe("first image");
  expect(await readSlot(guest, "slot-ro-1")).toBe("");
  await machine.emptySlot("slot-ro-0", signal());
  expect(await readSlot(guest, "slot-ro-0")).toBe("");
  await machine.fillSlot("slot-ro-0", await mounted("two", "second image", true), signal());
  expect(await readSlot(guest, "slot-ro-0")).toBe("second image");

  const disk = DEVICE("slot-rw-0");
  await guest.shell.run(`printf written | dd of=${disk} conv=notrunc,fsync 2>/dev/null`, signal());
  expect(await readFile(join(dir, "own"), "latin1")).toMatch(/^written/);
  const beyond = `dd if=/dev/zero of=${disk} bs=1M seek=5 count=1 conv=fsync 2>/dev/null`;
  await expect(guest.shell.run(beyond, signal())).rejects.toThrow("status 1");
  expect((await stat(join(dir, "own"))).size).toBe(MIB);
});

test("a guest whose kernel panics ends its machine as a failure, with its last words on the console", async () => {
  const dies = { ...boot, initrd: boot.kernel }; // no initramfs, no disk: no root to mount
  await using guest = await startGuest(bootedSpec("panic", { boot: dies, nics: [] }));
  const end = await withDeadline("its end", BOOT_MS, guest.host.ended(VMM_KEY));
  expect(end).toEqual({ exitStatus: 1, reason: "guest-reset" });
  expect(guest.host.console).toContain("Kernel panic - not syncing");
});

/** Shows the guest's own tap in its network namespace, which only its VMM is in. */
function tapsOf(guest: Guest): Promise<string> {
  const net = `/proc/${guest.host.pid(VMM_KEY)}/net/dev`;
  return readFile(net, "utf8");
}

test("two machines go on from one template at once, each with its own tap, slots and writes", async () => {
  await using source = await startGuest(bootedSpec("source")); // keeps the template's memory
  await source.shell.ready(signal(BOOT_MS));
  const readyMs = Math.round(performance.now() - source.began);
  await source.shell.run("value=template; sleep 0", signal());
  const template = await source.machine.saveTemplate(join(dir, "light.state"), signal());
  const memoryBefore = await hashOf(template.memoryPath);

  const specs = ["left", "right"].map((name) => cloneSpec(name, template));
  const [left, right] = await Promise.all(specs.map((spec) => startGuest(spec)));
  if (left === undefined || right === undefined) throw new Error("two clones");
  await using both = new AsyncDisposableStack();
  both.use(left);
  both.use(right);
  for (const guest of [left, right]) {
    const { id } = guest.spec;
    expect(await guest.shell.run("echo $value; value=" + id, signal())).toBe("template");
    const image = await mounted(id, `image of ${id}`, true);
    await guest.machine.fillSlot("slot-ro-0", image, signal());
    expect(await tapsOf(guest)).toContain(`tap-${id}:`);
  }
  for (const guest of [left, right]) {
    const { id } = guest.spec;
    expect(await guest.shell.run("echo $value", signal())).toBe(id);
    expect(await readSlot(guest, "slot-ro-0")).toBe(`image of ${id}`);
    expect(await guest.shell.run("cat /sys/class/net/eth0/address", signal())).toMatch(/^02:/);
  }
  const answeredMs = `cold boot ${readyMs} ms to the shell, clones ${left.startMs} and ${right.startMs} ms to run`;
  process.stdout.write(`${answeredMs}\n`);
  // What clones write is theirs: the template is as it was.
  expect(await hashOf(template.memoryPath)).toBe(memoryBefore);

  left.machine.detach();
  const again = await driver.recover(left.spec, left.host, signal());
  expect(await again.status(signal())).toBe("running");
  await again.resizeMemory(288 * MIB, signal());
  await pollUntil("the guest takes the memory", { ms: 60_000, everyMs: 100 }, async () =>
    (await again.stats(signal())).memory.totalBytes === 288 * MIB ? true : undefined,
  );
  // Given back and given again: QEMU's emulation would not survive that the CPU is taken away.
  const cpu = "/sys/devices/system/cpu/cpu1";
  for (let round = 0; round < 3; round++) {
    expect(await again.resizeCpus(2, signal())).toBe(2);
    await left.shell.run(`while [ ! -e ${cpu}/online ]; do sleep 0.1; done`, signal());
    await left.shell.run(`echo 1 >${cpu}/online; grep -q 0-1 ${cpu}/../online`, signal());
    expect(await again.resizeCpus(1, signal())).toBe(2);
    await left.shell.run(`echo 0 >${cpu}/online`, signal());
  }
});

test("a guest that began with several CPUs is given no more where QEMU would not survive that", async () => {
  await using guest = await startGuest(bootedSpec("several", { nics: [], cpus: 2, maxCpus: 3 }));
  await guest.machine.resizeCpus(2, signal());
  await expect(guest.machine.resizeCpus(3, signal())).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringContaining("3 CPUs: under emulation") as string,
  });
  expect(await guest.machine.status(signal())).toBe("running");
});

async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}
