import { expect, test } from "vitest";
import type { MachineSpec, Template } from "@trine/vmm";
import { lightSpec } from "@trine/vmm/testing";
import { planMachine } from "./plan-machine.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";

const environment: QemuEnvironment = { qemuPath: "/usr/bin/qemu-system-x86_64", binds: [] };
const boot = { kind: "direct", kernel: "/g/vmlinux", initrd: "/g/initrd", cmdline: "quiet a=b,c" };
const template: Template = {
  ...{ key: "k", memoryPath: "/proc/7/fd/9", memoryInode: "1" },
  ...{ statePath: "/t/state", stateSha256: "0" },
};

function plan(changes: Partial<MachineSpec> = {}): ReturnType<typeof planMachine> {
  const spec = lightSpec("/pod", { boot: { ...boot, kind: "direct" }, disks: [], ...changes });
  if (changes.origin !== undefined) Reflect.deleteProperty(spec, "isTemplate");
  return planMachine(spec, environment);
}

test("a light machine, word for word from its board on", () => {
  const { argv } = plan();
  expect(argv.slice(argv.indexOf("-machine")).join("\n")).toMatchInlineSnapshot(`
    "-machine
    q35,sata=off,smbus=off,vmport=off,usb=off,dump-guest-core=off,memory-backend=memory0
    -global
    ICH9-LPC.disable_s3=1
    -global
    ICH9-LPC.disable_s4=1
    -accel
    tcg,tb-size=32,thread=single
    -cpu
    max,la57=off,erms=off
    -smp
    cpus=1,maxcpus=2,sockets=1,cores=2,threads=1
    -m
    size=64M,maxmem=128M
    -object
    memory-backend-file,id=memory0,size=67108864,mem-path=/proc/self/fd/5,share=on
    -rtc
    base=utc,driftfix=slew
    -boot
    menu=off,strict=on
    -object
    rng-builtin,id=rng0
    -device
    virtio-rng-pci,rng=rng0,addr=0x1b,disable-legacy=on
    -object
    memory-backend-ram,id=growing0,size=67108864
    -device
    virtio-mem-pci,id=memory1,addr=0x1e,memdev=growing0,block-size=2097152,requested-size=0
    -device
    pvpanic
    -chardev
    socket,id=console,fd=6
    -device
    isa-serial,chardev=console
    -device
    virtio-serial-pci,id=ports,addr=0x1c,ioeventfd=off,disable-legacy=on
    -chardev
    socket,id=guest-link,fd=7
    -device
    virtserialport,id=guest-link0,bus=ports.0,nr=2,chardev=guest-link,name=trine.agent
    -no-reboot
    -device
    vmgenid,guid=auto
    -kernel
    /files/kernel
    -initrd
    /files/initrd
    -append
    quiet a=b,c
    -blockdev
    {"driver":"null-co","node-name":"slot-ro-0-empty","size":1099511627776,"read-zeroes":true,"read-only":true}
    -blockdev
    {"driver":"raw","node-name":"slot-ro-0","read-only":true,"file":"slot-ro-0-empty"}
    -device
    virtio-blk-pci,drive=slot-ro-0,id=disk-slot-ro-0,addr=0xa,serial=slot-ro-0,disable-legacy=on,rerror=report,werror=report
    -blockdev
    {"driver":"null-co","node-name":"slot-ro-1-empty","size":1099511627776,"read-zeroes":true,"read-only":true}
    -blockdev
    {"driver":"raw","node-name":"slot-ro-1","read-only":true,"file":"slot-ro-1-empty"}
    -device
    virtio-blk-pci,drive=slot-ro-1,id=disk-slot-ro-1,addr=0xb,serial=slot-ro-1,disable-legacy=on,rerror=report,werror=report
    -blockdev
    {"driver":"null-co","node-name":"slot-rw-0-empty","size":1099511627776,"read-zeroes":true,"read-only":false}
    -blockdev
    {"driver":"raw","node-name":"slot-rw-0","read-only":false,"discard":"unmap","file":"slot-rw-0-empty"}
    -device
    virtio-blk-pci,drive=slot-rw-0,id=disk-slot-rw-0,addr=0xc,serial=slot-rw-0,disable-legacy=on,rerror=report,werror=report"
  `);
});

test("a clone has the template's arguments but for the kernel, its own memory and where it starts", () => {
  const [source, clone] = [plan().argv, plan({ origin: { template } }).argv];
  expect(source.filter((arg) => !clone.includes(arg))).toEqual([
    "memory-backend-file,id=memory0,size=67108864,mem-path=/proc/self/fd/5,share=on",
    ...["-kernel", "/files/kernel", "-initrd", "/files/initrd", "-append", "quiet a=b,c"],
  ]);
  expect(clone.filter((arg) => !source.includes(arg))).toEqual([
    "memory-backend-file,id=memory0,size=67108864,mem-path=/proc/self/fd/5,share=off",
    ...["-incoming", "defer"],
  ]);
});

test("its state is a descriptor, and what it opens by name is bound where the VMM looks", () => {
  const clone = plan({ origin: { template } });
  expect(clone.descriptors.at(-1)).toEqual({
    ...{ number: 8, kind: "file", path: "/t/state", writable: false },
  });
  expect(clone.jail.binds).toEqual([
    { source: "/proc/self/fd", target: "/proc/self/fd" },
    { source: "/pod/slots", target: "/slots", writable: true, live: true },
  ]);
  expect(plan({ slots: { dir: "/s", readOnly: 1, writable: 0 } }).jail.binds).toEqual([
    { source: "/g/vmlinux", target: "/files/kernel" },
    { source: "/g/initrd", target: "/files/initrd" },
    { source: "/proc/self/fd", target: "/proc/self/fd" },
    { source: "/s", target: "/slots", writable: false, live: true },
  ]);
});

test("memory that is a file has no balloon, which could punch holes in a template", () => {
  expect(plan().argv.join(" ")).not.toContain("balloon");
  const spec = lightSpec("/pod");
  Reflect.deleteProperty(spec, "isTemplate");
  expect(planMachine(spec, environment).argv.join(" ")).toContain("virtio-balloon-pci");
});

test("the guest link is a port of its own, whose streams the host makes", () => {
  const { argv, descriptors } = plan();
  expect(argv).toContain(
    "virtserialport,id=guest-link0,bus=ports.0,nr=2,chardev=guest-link,name=trine.agent",
  );
  expect(descriptors).toContainEqual({
    ...{ number: 7, kind: "channel", name: "guest-link", use: "guest" },
  });
});

const refused: [string, Partial<MachineSpec>, string][] = [
  ["fewer CPUs at most than at first", { cpus: 3, maxCpus: 2 }, "maxCpus 2"],
  ["memory that shrinks", { memoryMaxBytes: 1024 * 1024 }, "memory growing by"],
  ["a template of a clone", { origin: { template }, isTemplate: true }, "a clone does not"],
  ["half a slot", { slots: { dir: "/s", readOnly: 0.5, writable: 0 } }, "slots: 0.5"],
  ["17 slots", { slots: { dir: "/s", readOnly: 9, writable: 8 } }, "at most 16"],
  ["slots in a relative directory", { slots: { dir: "s", readOnly: 1, writable: 0 } }, "path s"],
  ["a kernel by a relative path", { boot: { ...boot, kind: "direct", kernel: "k" } }, "path k"],
  [
    "a command line that the kernel cuts",
    { boot: { ...boot, kind: "direct", cmdline: "x".repeat(2048) } },
    "command line",
  ],
];
test.each(refused)("refuses %s", (_, changes, message) => {
  expect(() => planMachine(lightSpec("/pod", changes), environment)).toThrow(message);
});
