// What a machine may have beyond what each has: QEMU builds it, and says by its monitor what it has built.
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { withDeadline } from "@trine/base";
import { QmpClient } from "@trine/qmp";
import { TPM_KEY, VMM_KEY } from "@trine/vmm";
import type { HardwareSpec, Machine, MachineSpec } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buttonGuestDisk } from "./button-guest.ts";
import { HYPERV_PROPERTIES } from "./plan-cpu.ts";
import { QMP_SOCKET, planMachine } from "./plan-machine.ts";
import { planTpm } from "./plan-tpm.ts";
import { QemuDriver } from "./qemu-driver.ts";
import { findQemuEnvironment } from "./qemu-environment.ts";
import { SpawnedProcessHost } from "./testing.ts";

const MIB = 1024 * 1024;
const FILES = {
  qemuPath: "/usr/bin/qemu-system-x86_64",
  uefi: {
    code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
    secureCode: "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
  },
  swtpmPath: "/usr/bin/swtpm",
};
const signal = AbortSignal.timeout(120_000);

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-hardware-"));
  await writeFile(join(dir, "boot.img"), buttonGuestDisk());
  await copyFile("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", join(dir, "vars.fd"));
});

afterAll(() => rm(dir, { recursive: true }));

function specWith(hardware: HardwareSpec, changes: Partial<MachineSpec> = {}): MachineSpec {
  const path = join(dir, "boot.img");
  const disk = { name: "root", bus: "virtio", format: "raw", path, readOnly: true } as const;
  return machineSpec({ disks: [disk], hardware, ...changes });
}

async function hostFor(name: string): Promise<SpawnedProcessHost> {
  const machineDir = join(dir, name);
  await mkdir(machineDir);
  return new SpawnedProcessHost(machineDir);
}

/** Builds the machine without letting it run, asks, and ends it in order. */
async function built<T>(
  name: string,
  spec: MachineSpec,
  ask: (client: QmpClient) => Promise<T>,
): Promise<T> {
  const host = await hostFor(name);
  const environment = await findQemuEnvironment(FILES);
  try {
    const { tpm } = spec.hardware ?? {};
    if (tpm !== undefined) {
      await host.spawn(planTpm(tpm, { ...environment, swtpmPath: FILES.swtpmPath }));
    }
    const plan = planMachine(spec, environment);
    await host.spawn({ ...plan, argv: [...plan.argv.filter((each) => each !== "-S"), "-S"] });
    await host.monitorAnswers(VMM_KEY);
    const client = await QmpClient.connect(join(host.machineDir, QMP_SOCKET), signal);
    const answer = await ask(client);
    client.close();
    await host.signal(VMM_KEY, 15);
    expect(await withDeadline("end", 10_000, host.ended(VMM_KEY))).toMatchObject({
      reason: "host-signal",
    });
    // Nothing is warned of but that.
    expect(await host.logTail(VMM_KEY)).toMatch(/^\S+ \S+: terminating on signal 15.*\n$/);
    if (tpm !== undefined) await withDeadline("end", 10_000, host.ended(TPM_KEY));
    return answer;
  } finally {
    await host.close();
  }
}

/** Types of the devices that have no name, and of those named. */
async function deviceTypes(client: QmpClient, ...ids: string[]): Promise<unknown[]> {
  const typeAt = (path: string): Promise<unknown> =>
    client.execute("qom-get", { path, property: "type" }, { signal });
  const types: unknown[] = [];
  for (const id of ids) types.push(await typeAt(`/machine/peripheral/${id}`));
  for (let index = 0; ; index += 1) {
    const type = await typeAt(`/machine/peripheral-anon/device[${index}]`).catch(() => undefined);
    if (type === undefined) return types;
    types.push(type);
  }
}

test("a machine with all that needs no help of the host is built as it was asked for", async () => {
  const spec = specWith(
    {
      board: "pc-q35-7.2",
      topology: { sockets: 2, cores: 2, threads: 2 },
      cpuFeatures: { vmx: "disable", aes: "require", avx2: "optional" },
      smbios: {
        system: {
          manufacturer: "Example, Inc.",
          product: "P",
          version: "1",
          serial: "S",
          sku: "K",
          family: "F",
        },
        chassis: { manufacturer: "M", version: "2", serial: "T", asset: "A-17", sku: "L" },
      },
      firmwareSerial: true,
      hyperv: {
        features: Object.keys(HYPERV_PROPERTIES).filter((name) => name !== "passthrough"),
        spinlocks: 8191,
        vendorId: "TrineMachine",
      },
      clock: {
        ...{ timezone: "Asia/Tokyo", aheadSeconds: 60, rtc: "delay", pit: "discard" },
        ...{ hpet: false, kvmClock: false, hypervClock: true },
      },
      watchdog: "reset",
      tablet: "usb",
      video: "virtio",
      usbRedirections: 2,
      sound: "ich9",
      panic: "pci",
      balloon: false,
    },
    { cpus: 4, maxCpus: 8, display: true, memoryMaxBytes: 192 * MIB, cpuModel: "Nehalem" },
  );
  const [types, places, hpet] = await built("all", spec, async (client) => [
    await deviceTypes(client, "usb", "hda", "device-usbredir-0", "device-usbredir-1"),
    await client.execute("query-hotpluggable-cpus", {}, { signal }),
    await client.execute("qom-get", { path: "/machine", property: "hpet" }, { signal }),
  ]);
  expect(types).toEqual(
    expect.arrayContaining([
      ...["i6300esb", "usb-tablet", "virtio-vga", "qemu-xhci", "usb-redir", "ich9-intel-hda"],
      ...["hda-duplex", "pvpanic-pci"],
    ]),
  );
  expect(types.join()).not.toContain("balloon");
  expect(places.length).toBe(8);
  expect(places.filter((place) => place["qom-path"] !== undefined)).toHaveLength(4);
  expect(hpet).toBe(false);
});

test("a board of less, with a clock that stands while its guest does", async () => {
  const spec = specWith({
    platform: { acpi: false, smm: false, hidden: true },
    clock: { track: "guest", pitPresent: false },
    keyboard: "usb",
  });
  const [values, types] = await built("less", spec, async (client) => [
    await Promise.all(
      ["acpi", "smm", "pit"].map((property) =>
        client.execute("qom-get", { path: "/machine", property }, { signal }),
      ),
    ),
    await deviceTypes(client),
  ]);
  expect(values).toEqual(["off", "off", "off"]);
  expect(types).toContain("usb-kbd");
});

test("virtio devices have the interface of before 1.0 where that is asked for, and it alone", async () => {
  const path = join(dir, "boot.img");
  const disks = (["virtio", "scsi"] as const).map((bus) => ({
    ...({ name: bus, bus, format: "raw", path, readOnly: true } as const),
  }));
  const nics = [{ name: "eth0", socket: "n.sock", mtu: 1500, mac: "02:00:00:00:00:01" }];
  const legacy = async (name: string, transitional: boolean): Promise<unknown[]> =>
    built(name, specWith({ transitional, keyboard: "virtio" }, { disks, nics }), (client) =>
      Promise.all(
        ["disk-virtio", "scsi", "nic-eth0", "ports", "balloon0"].map((id) =>
          client.execute(
            "qom-get",
            { path: `/machine/peripheral/${id}`, property: "disable-legacy" },
            { signal },
          ),
        ),
      ),
    );
  expect(new Set(await legacy("transitional", true))).toEqual(new Set(["off"]));
  expect(new Set(await legacy("modern", false))).toEqual(new Set(["on"]));
});

test("disks have threads, and queues, as they were dealt", async () => {
  const path = join(dir, "boot.img");
  const plain = { format: "raw", path, readOnly: true } as const;
  const disks = [
    { ...plain, name: "a", bus: "virtio" },
    { ...plain, name: "b", bus: "virtio", ownThread: true },
    { ...plain, name: "c", bus: "virtio" },
    { ...plain, name: "s", bus: "scsi" },
    { ...plain, name: "x", bus: "sata", media: "cdrom" },
  ] as const;
  const spec = specWith({ ioThreads: 2, diskQueues: true }, { disks, cpus: 3 });
  const [threads, queues] = await built("threads", spec, async (client) => {
    const get = (id: string, property: string): Promise<unknown> =>
      client.execute("qom-get", { path: `/machine/peripheral/${id}`, property }, { signal });
    const devices = ["disk-a", "disk-b", "disk-c", "scsi"];
    return [
      await Promise.all(devices.map((id) => get(id, "iothread"))),
      [await get("disk-a", "num-queues"), await get("scsi", "num_queues")],
    ];
  });
  expect(threads).toEqual(["io-0", "io-of-b", "io-1", "io-0"].map((id) => `/objects/${id}`));
  expect(queues).toEqual([3, 3]);
});

test("QEMU has every model of network card, beside each other", async () => {
  const models = ["virtio", "e1000e", "e1000", "rtl8139", "pcnet", "ne2k_pci"] as const;
  const nics = models.map((model, index) => ({
    ...{ name: `eth${index}`, socket: `nic${index}.sock`, mtu: 1500, model },
    mac: `02:00:00:00:00:0${index}`,
  }));
  const found = await built("cards", specWith({}, { nics }), (client) =>
    deviceTypes(client, ...nics.map(({ name }) => `nic-${name}`)),
  );
  const [, ...others] = models;
  expect(found.slice(0, models.length)).toEqual(["virtio-net-pci", ...others]);
});

test("QEMU knows each enlightenment, and the clocks, by the names that it is told under KVM", async () => {
  const names = [
    ...["hv-spinlocks", "hv-vendor-id", "hv-crash", "hv-time", "kvmclock", "migratable"],
    ...["kvm", "kvm-pv-eoi", "kvm-pv-unhalt"],
  ];
  const path = "/machine/unattached/device[0]";
  const values = await built("names", specWith({}), (client) =>
    Promise.all(
      [...Object.values(HYPERV_PROPERTIES), ...names].map((property) =>
        client.execute("qom-get", { path, property }, { signal }),
      ),
    ),
  );
  expect(values).not.toContain(undefined);
});

test.each<[string, HardwareSpec, Partial<MachineSpec>, string]>([
  ["vga", { video: "vga", tablet: "virtio", panic: "hyperv" }, { display: true }, "VGA"],
  ["bochs", { video: "bochs", tablet: "off", sound: "ac97" }, { display: true }, "AC97"],
  ["ramfb", { video: "ramfb", watchdog: "shutdown", panic: "off" }, { display: true }, "ramfb"],
  ["tablet", { tablet: "usb", usb: true, watchdog: "pause" }, { console: "none" }, "usb-tablet"],
])("a machine with %s is built", async (name, hardware, changes, type) => {
  const types = await built(name, specWith(hardware, changes), (client) => deviceTypes(client));
  expect(types).toContain(type);
});

test("secure boot and a TPM are built, and the TPM ends with its machine", async () => {
  const statePath = join(dir, "tpm-state");
  await writeFile(statePath, "");
  const uefi = { firmware: "uefi", firmwareVarsPath: join(dir, "vars.fd") } as const;
  const spec = specWith(
    { secureBoot: true, tpm: { statePath } },
    { ...uefi, memoryBytes: 128 * MIB },
  );
  const [smm, types] = await built("secure", spec, async (client) => [
    await client.execute("qom-get", { path: "/machine", property: "smm" }, { signal }),
    await deviceTypes(client),
  ]);
  expect(smm).toBe("on");
  expect(types).toContain("tpm-crb");
  expect((await readFile(statePath)).length).toBeGreaterThan(0);
});

async function started(name: string, spec: MachineSpec): Promise<[Machine, SpawnedProcessHost]> {
  const host = await hostFor(name);
  try {
    return [await new QemuDriver(FILES).start(spec, host, signal), host];
  } catch (cause) {
    await host.close();
    throw cause;
  }
}

test("what a machine is not started without is looked at before its guest runs", async () => {
  const start = (name: string, hardware: HardwareSpec): Promise<unknown> =>
    started(name, specWith(hardware));
  const cpuFeatures = { avx512f: "require", aes: "forbid", pni: "require" } as const;
  await expect(start("lacks", { cpuFeatures })).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringMatching(/cpu-features: emulation has no avx512f and has aes/) as string,
  });
  await expect(start("board", { board: "pc-q35-99.1" })).rejects.toMatchObject({
    kind: "invalid",
    message: expect.stringMatching(/QEMU 7\S* has no pc-q35-99\.1: pc-q35-/) as string,
  });
});

test("each virtual CPU has its own of the host, and the rest of the VMM the others", async () => {
  const pinning = { cpus: [0], others: [1] };
  const cpuFeatures = { aes: "require" } as const;
  const [machine, host] = await started("pinned", specWith({ pinning, cpuFeatures }));
  try {
    expect(await machine.status(signal)).toBe("running");
    const pid = host.pid(VMM_KEY);
    expect(await allowed(pid, pid)).toBe("1");
    const threads = await vcpuThreads(pid);
    expect(await Promise.all(threads.map((thread) => allowed(pid, thread)))).toEqual(["0"]);
  } finally {
    await host.close();
  }
});

async function allowed(pid: number, thread: number): Promise<string> {
  const status = await readFile(`/proc/${pid}/task/${thread}/status`, "utf8");
  return /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? "";
}

/** By the names that QEMU gives its threads. */
async function vcpuThreads(pid: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-L", "-o", "lwp=,comm=", "-p", String(pid)]);
  const found = stdout.split("\n").flatMap((line) => /^\s*(\d+)\s+CPU /.exec(line)?.[1] ?? []);
  return found.map(Number);
}
