// Arguments for what the tests' machines have not: KVM, VFIO, vsock, huge pages.
import type { HardwareSpec, MachineSpec } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { describe, expect, test } from "vitest";
import { clockOption } from "./plan-board.ts";
import { planMachine } from "./plan-machine.ts";

const MIB = 1024 * 1024;
const environment = { qemuPath: "/q", secureFirmwareCode: "/secure", binds: [] };

function plan(
  hardware: HardwareSpec,
  changes: Partial<MachineSpec> = {},
): ReturnType<typeof planMachine> {
  return planMachine(machineSpec({ disks: [], hardware, ...changes }), environment);
}

function values(name: string, ...of: Parameters<typeof plan>): string[] {
  const { argv } = plan(...of);
  return argv.filter((_, index) => argv[index - 1] === name);
}

test("under KVM the CPU is told of Hyper-V, clocks and policies", () => {
  const hardware: HardwareSpec = {
    cpuFeatures: { vmx: "require", hle: "disable", svm: "forbid" },
    hyperv: { features: ["relaxed", "synictimer"], spinlocks: 8191, vendorId: "a,b" },
    clock: { kvmClock: false, hypervClock: true, pit: "discard" },
    panic: "hyperv",
  };
  expect(values("-cpu", hardware, { accelerator: "kvm", cpuModel: "host-passthrough" })).toEqual([
    "host,migratable=off,vmx=on,hle=off,kvmclock=off,hv-time=on,hv-relaxed=on,hv-stimer=on," +
      "hv-spinlocks=8191,hv-vendor-id=a,,b,hv-crash=on",
  ]);
  expect(values("-global", hardware, { accelerator: "kvm" })).toContain(
    "kvm-pit.lost_tick_policy=discard",
  );
  expect(values("-cpu", hardware, { accelerator: "kvm", cpuModel: "EPYC" })[0]).toMatch(
    /^EPYC,vmx=on,hle=off,svm=off,/,
  );
  expect(values("-cpu", hardware)).toEqual(["max,la57=off,erms=off,vmx=on,hle=off"]);
  expect(plan(hardware).argv.at(-1)).toBe("-S");
  expect(plan({}).argv).not.toContain("-S");
});

test("a device of the host is behind a port of its own, with its nodes and room for its memory", () => {
  const passthrough = [
    { address: "0000:01:00.0", group: 7, node: "/pod/disks/_vfio-7" },
    { address: "0000:01:00.1", group: 7, node: "/pod/disks/_vfio-7" },
  ];
  const { jail, lockedBytes } = plan({ passthrough });
  const devices = values("-device", { passthrough });
  expect(devices.filter((each) => /^(pcie|vfio)/.test(each))).toEqual([
    "pcie-root-port,id=port0,bus=pcie.0,addr=0x16.0,multifunction=on,chassis=1",
    "vfio-pci,host=0000:01:00.0,id=passthrough0,bus=port0",
    "pcie-root-port,id=port1,bus=pcie.0,addr=0x16.1,multifunction=on,chassis=2",
    "vfio-pci,host=0000:01:00.1,id=passthrough1,bus=port1",
  ]);
  const node = { writable: true, device: true };
  expect(jail.binds).toEqual([
    { source: "/dev/vfio/vfio", target: "/dev/vfio/vfio", ...node },
    { source: "/pod/disks/_vfio-7", target: "/dev/vfio/7", ...node },
    ...passthrough.map(({ address }) => {
      const path = `/sys/bus/pci/devices/${address}`;
      return { source: path, target: path };
    }),
  ]);
  expect(lockedBytes).toBe(64 * MIB + 1024 * MIB);
  expect(plan({}).lockedBytes).toBeUndefined();
});

test("vsock is a descriptor of the host's device and a number", () => {
  const { descriptors } = plan({ vsockCid: 1234 });
  expect(descriptors).toContainEqual({
    ...{ number: 5, kind: "file", path: "/dev/vhost-vsock", writable: true },
  });
  expect(values("-device", { vsockCid: 1234 })).toContain(
    "vhost-vsock-pci,guest-cid=1234,vhostfd=5,addr=0x1b.4,disable-legacy=on",
  );
});

test("huge pages are the memory's, and all taken at the start", () => {
  expect(values("-object", { hugePages: 2 * MIB })[0]).toBe(
    `memory-backend-memfd,id=memory0,size=${64 * MIB},share=off,hugetlb=on,hugetlbsize=2M,prealloc=on`,
  );
  expect(values("-machine", { hugePages: 2 * MIB })[0]).toContain("memory-backend=memory0");
});

test("under KVM a guest does not see what it is not to see", () => {
  const platform = { hidden: true, endOfInterrupt: false, pvspinlock: false } as const;
  const hidden = "host,kvm=off,kvm-pv-eoi=off,kvm-pv-unhalt=off";
  expect(values("-cpu", { platform }, { accelerator: "kvm" })).toEqual([hidden]);
  expect(values("-cpu", { platform })).toEqual(values("-cpu", {}));
});

test("a machine that ends at a reboot has ended well", () => {
  expect(values("-action", { endsOnReboot: true })).toEqual(["reboot=shutdown"]);
  const statuses = plan({ endsOnReboot: true }).exitRules;
  expect(statuses).toContainEqual({ reason: "guest-reset", exitStatus: 0 });
  expect(statuses).toContainEqual({ reason: "host-qmp-system-reset", exitStatus: 0 });
  expect(statuses.filter(({ reason }) => reason === "guest-reset")).toHaveLength(1);
  expect(plan({}).exitRules).toContainEqual({ reason: "guest-reset", exitStatus: 1 });
});

test("the clock begins where it is told", () => {
  const now = new Date("2026-01-02T03:04:05Z");
  expect(clockOption(undefined, now)).toBe("base=utc,driftfix=slew");
  expect(clockOption({ aheadSeconds: -5 }, now)).toBe("base=2026-01-02T03:04:00,driftfix=slew");
  expect(clockOption({ track: "guest" }, now)).toBe("base=utc,clock=vm,driftfix=slew");
  expect(clockOption({ track: "wall" }, now)).toBe("base=utc,clock=host,driftfix=slew");
  const tokyo = { timezone: "Asia/Tokyo", rtc: "delay" } as const;
  expect(clockOption(tokyo, now)).toBe("base=2026-01-02T12:04:05,driftfix=none");
});

describe("refuses", () => {
  const device = { address: "0000:01:00.0", group: 7, node: "/n" };
  const cases: [string, HardwareSpec, Partial<MachineSpec>, string][] = [
    ["another board", { board: "microvm" }, {}, "board microvm"],
    ["CPUs that do not fit", { topology: { sockets: 1, cores: 2, threads: 1 } }, {}, "1×2×1 CPUs"],
    ["a feature with a comma", { cpuFeatures: { "a,b": "force" } }, {}, "CPU feature a,b"],
    ["an unknown enlightenment", { hyperv: { features: ["x"] } }, {}, "Hyper-V's x"],
    ["SMBIOS with a line", { smbios: { system: { serial: "a\nb" } } }, {}, "SMBIOS system serial"],
    ["SMBIOS of no table", { smbios: { chassis: { family: "a" } } }, {}, "SMBIOS chassis family"],
    ["secure boot by BIOS", { secureBoot: true }, {}, "secure boot without UEFI"],
    [
      "secure boot without its mode",
      { secureBoot: true, platform: { smm: false } },
      { firmware: "uefi", firmwareVarsPath: "/v" },
      "secure boot without system management mode",
    ],
    ["threads without end", { ioThreads: 4096 }, {}, "4096 threads"],
    ["no threads", { ioThreads: 0 }, {}, "0 threads"],
    ["a relative TPM", { tpm: { statePath: "x" } }, {}, "TPM's state"],
    ["pages of 4 KiB", { hugePages: 4096 }, {}, "pages of 4096"],
    ["half a huge page", { hugePages: 2 * MIB }, { memoryBytes: 65 * MIB }, "whole pages"],
    ["a CID of the host", { vsockCid: 2 }, {}, "vsock CID 2"],
    ["five redirections", { usbRedirections: 5 }, {}, "5 USB redirections"],
    ["too few CPUs to pin to", { pinning: { cpus: [], others: [1] } }, {}, "a CPU for each"],
    ["nowhere for the rest", { pinning: { cpus: [1], others: [] } }, {}, "no CPU for the rest"],
    ["no PCI address", { passthrough: [{ ...device, address: "1" }] }, {}, "PCI address 1"],
    ["a device twice", { passthrough: [device, device] }, {}, "one PCI device twice"],
    ["nine devices", { passthrough: Array.from({ length: 9 }, () => device) }, {}, "at most 8"],
  ];
  test.each(cases)("%s", (_, hardware, changes, says) => {
    expect(() => plan(hardware, changes)).toThrow(says);
    expect(() => plan(hardware, changes)).toThrow(expect.objectContaining({ kind: "invalid" }));
  });
});
