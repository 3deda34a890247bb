import { describe, expect, test } from "vitest";
import type { DiskSpec, MachineSpec, NicSpec } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { planMachine } from "./plan-machine.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";

const MIB = 1024 * 1024;
const environment: QemuEnvironment = {
  qemuPath: "/usr/bin/qemu-system-x86_64",
  firmwareCode: "/usr/share/OVMF/OVMF_CODE_4M.fd",
  binds: [{ source: "/usr/lib", target: "/usr/lib" }],
  kvmGroup: 104,
};
const overlay: DiskSpec = {
  ...{ name: "root", bus: "virtio", format: "qcow2", readOnly: false, bootIndex: 1 },
  path: "/layer/root.qcow2",
  backing: { format: "raw", path: "/image/disk.img" },
};
const nic: NicSpec = { name: "eth0", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1450 };
const loose: NicSpec = { name: "eth0", mac: nic.mac, mtu: nic.mtu };

function plan(changes: Partial<MachineSpec> = {}): ReturnType<typeof planMachine> {
  return planMachine(machineSpec({ disks: [overlay], guestAgent: false, ...changes }), environment);
}

/** Values of every `-name` option, in order. */
function values(changes: Partial<MachineSpec>, name: string): string[] {
  const { argv } = plan(changes);
  return argv.filter((_, index) => argv[index - 1] === name);
}

test("the smallest machine, word for word", () => {
  expect(plan().argv.join("\n")).toMatchInlineSnapshot(`
    "/usr/bin/qemu-system-x86_64
    -chardev
    socket,id=qmp,fd=3,server=on,wait=off
    -mon
    chardev=qmp,mode=control
    -chardev
    socket,id=watch,fd=4
    -mon
    chardev=watch,mode=control
    -name
    guest=m1,debug-threads=on
    -uuid
    6ec0e7a4-47d5-4d2f-9a3f-2b6a2f3c1d10
    -nodefaults
    -no-user-config
    -display
    none
    -msg
    timestamp=on
    -sandbox
    on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
    -machine
    q35,sata=off,smbus=off,vmport=off,usb=off,dump-guest-core=off
    -global
    ICH9-LPC.disable_s3=1
    -global
    ICH9-LPC.disable_s4=1
    -accel
    tcg,tb-size=32
    -cpu
    max,la57=off,erms=off
    -smp
    cpus=1,sockets=1,cores=1,threads=1
    -m
    64M
    -rtc
    base=utc,driftfix=slew
    -boot
    menu=off,strict=on
    -object
    rng-builtin,id=rng0
    -device
    virtio-rng-pci,rng=rng0,addr=0x1b,disable-legacy=on
    -device
    virtio-balloon-pci,id=balloon0,addr=0x1a,free-page-reporting=on,deflate-on-oom=on,disable-legacy=on
    -device
    pvpanic
    -chardev
    socket,id=console,fd=5
    -device
    isa-serial,chardev=console
    -add-fd
    fd=6,set=6
    -blockdev
    {"driver":"file","node-name":"base-root-file","filename":"/dev/fdset/6","read-only":true}
    -blockdev
    {"driver":"raw","node-name":"base-root","file":"base-root-file","read-only":true}
    -add-fd
    fd=7,set=7
    -blockdev
    {"driver":"file","node-name":"disk-root-file","filename":"/dev/fdset/7","read-only":false,"discard":"unmap"}
    -blockdev
    {"driver":"qcow2","node-name":"disk-root","file":"disk-root-file","read-only":false,"discard":"unmap","backing":"base-root"}
    -device
    virtio-blk-pci,drive=disk-root,id=disk-root,addr=0xa,serial=root,bootindex=1,disable-legacy=on,rerror=report,werror=report"
  `);
});

test("its descriptors are numbered without gaps, and everything it opens is one of them", () => {
  const { descriptors } = plan({ guestAgent: true, nics: [nic] });
  expect(descriptors).toEqual([
    { number: 3, kind: "listen", path: "/machine/qmp.sock" },
    { number: 4, kind: "channel", name: "watch", use: "monitor" },
    { number: 5, kind: "channel", name: "console", use: "console" },
    { number: 6, kind: "channel", name: "guest-agent", use: "held" },
    { number: 7, kind: "file", path: "/image/disk.img", writable: false },
    { number: 8, kind: "file", path: "/layer/root.qcow2", writable: true },
    { number: 9, kind: "tap", tap: "tap0" },
  ]);
});

test("no path of the host is on the command line", () => {
  const argv = plan({ nics: [nic], display: true, firmware: "uefi", firmwareVarsPath: "/v" }).argv;
  expect(argv.slice(1).filter((arg) => /\/(image|layer|usr|v\b)/.test(arg))).toEqual([]);
});

describe("features", () => {
  test("a network interface is a tap without option ROM", () => {
    expect(values({ nics: [nic] }, "-netdev")).toEqual(["tap,id=net-eth0,fd=8,vhost=off"]);
    expect(values({ nics: [{ ...nic, queues: 2 }] }, "-netdev")).toEqual([
      "tap,id=net-eth0,fds=8:9,vhost=off",
    ]);
    expect(values({ nics: [{ ...nic, queues: 2 }] }, "-device").join(" ")).toContain(
      "mq=on,vectors=6",
    );
    expect(values({ nics: [{ ...loose, socket: "passt.sock" }] }, "-netdev")).toEqual([
      "stream,id=net-eth0,server=on,addr.type=fd,addr.str=8",
    ]);
    expect(values({ nics: [nic] }, "-device")).toContain(
      "virtio-net-pci,netdev=net-eth0,id=nic-eth0,addr=0x2,mac=02:00:00:00:00:01,host_mtu=1450," +
        "romfile=,disable-legacy=on",
    );
  });

  test("a card that is not virtio's has nothing of virtio's", () => {
    const [card] = values({ nics: [{ ...nic, model: "e1000e" }] }, "-device").filter((each) =>
      each.includes("netdev"),
    );
    expect(card).toBe("e1000e,netdev=net-eth0,id=nic-eth0,addr=0x2,mac=02:00:00:00:00:01,romfile=");
    const several = { ...nic, model: "rtl8139", queues: 2 } as const;
    expect(() => plan({ nics: [several] })).toThrow(/NIC eth0: rtl8139 has one queue/);
    const strange = { ...nic, model: "virtio-net,x=y" as "virtio" };
    expect(() => plan({ nics: [strange] })).toThrow(
      /NIC eth0: model virtio-net,x=y: virtio, e1000e/,
    );
  });

  test("the guest agent is a port of its own", () => {
    expect(values({ guestAgent: true }, "-device")).toContain(
      "virtserialport,id=guest-agent0,bus=ports.0,nr=1,chardev=guest-agent,name=org.qemu.guest_agent.0",
    );
  });

  test("a virtio console replaces the serial port", () => {
    const devices = values({ console: "virtio" }, "-device");
    expect(devices).toContain("virtconsole,bus=ports.0,nr=0,chardev=console");
    expect(devices.join()).not.toContain("isa-serial");
  });

  test("a display is VGA, a tablet and VNC on a socket", () => {
    expect(values({ display: true }, "-vnc")).toEqual([
      "unix:/machine/vnc.sock,share=force-shared",
    ]);
    expect(values({ display: true }, "-device")).toEqual(
      expect.arrayContaining(["VGA,addr=0x1", "virtio-tablet-pci,addr=0x1d"]),
    );
  });

  test("adding a display moves no other device", () => {
    const both = values({ display: true, nics: [nic] }, "-device");
    expect(both).toEqual(expect.arrayContaining(values({ nics: [nic] }, "-device")));
  });

  test("UEFI is two flash chips: shared code, the machine's own variables", () => {
    const uefi = { firmware: "uefi", firmwareVarsPath: "/layer/vars.fd" } as const;
    expect(values(uefi, "-machine")[1]).toBe("pflash0=firmware-code,pflash1=firmware-vars");
    expect(plan(uefi).descriptors).toEqual(
      expect.arrayContaining([
        { number: 6, kind: "file", path: "/usr/share/OVMF/OVMF_CODE_4M.fd", writable: false },
        { number: 7, kind: "file", path: "/layer/vars.fd", writable: true },
      ]),
    );
  });

  test("KVM brings its device into the jail, its group and the host's CPU", () => {
    const kvm = plan({ accelerator: "kvm" });
    const device = { source: "/dev/kvm", target: "/dev/kvm", writable: true, device: true };
    expect(kvm.jail.binds).toContainEqual(device);
    expect(kvm.groups).toEqual([104]);
    expect(values({ accelerator: "kvm" }, "-accel")).toEqual(["kvm"]);
    expect(values({ accelerator: "kvm" }, "-cpu")).toEqual(["host"]);
    expect(plan().jail.binds).not.toContainEqual(device);
  });

  test.each([
    [64, "tcg,tb-size=32"],
    [256, "tcg,tb-size=64"],
    [8192, "tcg,tb-size=64"],
  ])("%d MiB of guest get the translation cache %s", (mib, accel) => {
    expect(values({ memoryBytes: mib * MIB }, "-accel")).toEqual([accel]);
  });

  test.each([
    [{ cpus: 1, maxCpus: 4 }, "tcg,tb-size=32,thread=single"],
    [{ cpus: 2, maxCpus: 4 }, "tcg,tb-size=32"],
    [{ cpus: 1, maxCpus: 4, accelerator: "kvm" }, "kvm"],
  ] as const)("a guest of %o, that may grow, is run by %s", (changes, accel) => {
    expect(values(changes, "-accel")).toEqual([accel]);
  });

  test("a block device is opened as one", () => {
    const disk: DiskSpec = {
      ...{ name: "data", bus: "virtio", format: "raw", readOnly: false, path: "/dev/loop7" },
      source: "block-device",
    };
    expect(values({ disks: [disk] }, "-blockdev").join()).toContain('"driver":"host_device"');
  });

  const data: DiskSpec = {
    ...{ name: "data", bus: "scsi", format: "raw", readOnly: false, path: "/data" },
  };

  test("a bus has its controller, which takes the last slots and moves no other device", () => {
    const disks = [overlay, data, { ...data, name: "b" }, { ...data, name: "c", bus: "sata" }];
    const devices = values({ disks: disks as DiskSpec[] }, "-device");
    expect(devices).toEqual(expect.arrayContaining(values({}, "-device")));
    expect(devices).toContain("virtio-scsi-pci,id=scsi,addr=0x19,disable-legacy=on");
    expect(devices).toContain("ich9-ahci,id=sata,addr=0x18");
    expect(devices.find((each) => each.includes("id=disk-b"))).toMatch(
      /^scsi-hd,drive=disk-b,id=disk-b,bus=scsi\.0,scsi-id=1,lun=0,serial=b,/,
    );
    expect(devices.find((each) => each.includes("id=disk-c"))).toMatch(/^ide-hd,.*bus=sata\.0,/);
  });

  test("a raw disk may begin further on in its device", () => {
    const disk = { ...data, bus: "virtio", offsetBytes: MIB } as const;
    const [, node = ""] = values({ disks: [disk] }, "-blockdev");
    expect(JSON.parse(node)).toMatchObject({ driver: "raw", offset: MIB });
    expect(() => plan({ disks: [{ ...disk, offsetBytes: 100 }] })).toThrow(/offset 100/);
    expect(() => plan({ disks: [{ ...overlay, offsetBytes: MIB }] })).toThrow(/in a qcow2/);
  });

  test("a kernel of its own is started in place of a disk, with an initrd and arguments where there are", () => {
    const kernel = { path: "/layer/kernel", initrdPath: "/layer/initrd", args: "a=$(b),c 'd" };
    const { argv, jail } = plan({ kernel });
    const at = argv.indexOf("-kernel");
    expect(argv.slice(at, at + 6)).toEqual([
      ...["-kernel", "/files/kernel", "-initrd", "/files/initrd", "-append", kernel.args],
    ]);
    expect(argv).not.toContain("-no-reboot");
    expect(jail.binds).toContainEqual({ source: "/layer/kernel", target: "/files/kernel" });
    expect(jail.binds).toContainEqual({ source: "/layer/initrd", target: "/files/initrd" });
    const bare = plan({ kernel: { path: "/k", args: "" } }).argv;
    expect(bare).toContain("-kernel");
    expect(bare.join(" ")).not.toMatch(/-initrd|-append/);
    expect(() => plan({ kernel: { ...kernel, args: "a\0b" } })).toThrow(/kernel command line/);
    expect(() => plan({ kernel: { ...kernel, path: "k" } })).toThrow(/path k is not absolute/);
  });

  test("shares are a device at their server's socket, which sees the guest's memory", () => {
    const shares = { way: "virtiofs", tag: "trine", socket: "shares.sock" } as const;
    const changes = { shares, memoryMaxBytes: 128 * MIB };
    expect(values(changes, "-chardev")).toContain("socket,id=shares,path=/machine/shares.sock");
    expect(values(changes, "-device")).toContain(
      "vhost-user-fs-pci,id=shares0,chardev=shares,tag=trine,addr=0x17",
    );
    expect(values(changes, "-machine")[0]).toContain("memory-backend=memory0");
    expect(values(changes, "-object")).toEqual(
      expect.arrayContaining([
        `memory-backend-memfd,id=memory0,size=${64 * MIB},share=on`,
        `memory-backend-memfd,id=growing0,size=${64 * MIB},share=on`,
      ]),
    );
    const own = { ...shares, tag: "app", socket: "shares-0.sock" };
    const both = { shares, fileSystems: [own] };
    expect(values(both, "-device")).toEqual(
      expect.arrayContaining([
        "vhost-user-fs-pci,id=shares0,chardev=shares,tag=trine,addr=0x17,multifunction=on",
        "vhost-user-fs-pci,id=shares1,chardev=shares-1,tag=app,addr=0x17.1",
      ]),
    );
    expect(values({ fileSystems: [own] }, "-machine")[0]).toContain("memory-backend=memory0");
    expect(() => plan({ shares, fileSystems: [shares] })).toThrow(/two file systems have one tag/);
    const many = Array.from({ length: 9 }, (_, index) => ({ ...own, tag: `t${index}` }));
    expect(() => plan({ fileSystems: many })).toThrow(/9 file systems: at most 8/);
    expect(() => plan({ shares, isTemplate: true })).toThrow(/a template or a clone has no shares/);
    expect(() => plan({ shares: { ...shares, tag: "a,b" } })).toThrow(/tag a,b/);
    expect(() => plan({ shares: { ...shares, socket: "../x.sock" } })).toThrow(/shares' socket/);
  });

  test.each([
    [["sata"], 14],
    [["scsi"], 15],
    [["scsi", "sata"], 14],
    [[], 16],
  ] as const)(
    "beside controllers for %j there is room for %i disks, each with a slot of its own",
    (buses, room) => {
      const others = buses.map((bus) => ({ ...data, name: `on-${bus}`, bus }));
      const disks = (count: number): DiskSpec[] =>
        Array.from({ length: count }, (_, index) => ({
          ...data,
          name: `d${index}`,
          bus: "virtio",
        }));
      const used = values({ disks: [...disks(room), ...others] }, "-device").flatMap(
        (each) => /addr=(0x\w+)/.exec(each)?.[1] ?? [],
      );
      expect(new Set(used).size).toBe(used.length);
      expect(() => plan({ disks: [...disks(room + 1), ...others] })).toThrow(`at most ${room}`);
    },
  );

  test("what is said of a disk is said to QEMU", () => {
    const told = { ...data, serial: "S-1", cache: "none", io: "native", shared: true } as const;
    const [file] = values({ disks: [{ ...told, discard: false }] }, "-blockdev");
    expect(JSON.parse(file ?? "")).toMatchObject({
      ...{ cache: { direct: true }, aio: "native", discard: "ignore" },
    });
    const device = (disk: DiskSpec): string | undefined =>
      values({ disks: [disk] }, "-device").find((each) => each.includes("id=disk-data"));
    expect(device(told)).toMatch(/serial=S-1,share-rw=on/);
    expect(device({ ...data, cache: "writethrough" })).toContain("write-cache=off");
    expect(device({ ...data, media: "cdrom", readOnly: true, bootIndex: 2 })).toMatch(
      /^scsi-cd,.*bootindex=2/,
    );
  });

  test("the backing image of a qcow2 is never taken from its header", () => {
    const { backing, ...alone } = overlay;
    expect(backing).toBeDefined();
    expect(values({ disks: [alone] }, "-blockdev").at(-1)).toContain('"backing":null');
    const chained: DiskSpec = {
      ...overlay,
      backing: { format: "qcow2", path: "/image/disk.qcow2" },
    };
    expect(values({ disks: [chained] }, "-blockdev")[1]).toContain('"backing":null');
    expect(values({ disks: [chained] }, "-blockdev").at(-1)).toContain('"backing":"base-root"');
  });
});

describe("refuses", () => {
  const unordered: DiskSpec = { ...overlay };
  Reflect.deleteProperty(unordered, "bootIndex");
  const many = (count: number): DiskSpec[] =>
    Array.from({ length: count }, (_, index) => ({ ...unordered, name: `d${index}` }));
  const onBus = (bus: DiskSpec["bus"]): DiskSpec => ({ ...unordered, name: "x", bus });
  const cases: [string, Partial<MachineSpec>, string][] = [
    ["an id with a comma", { id: "a,b" }, "machine id"],
    ["a uuid that is none", { uuid: "1" }, "uuid"],
    ["no CPU", { cpus: 0 }, "cpus 0"],
    ["half a MiB", { memoryBytes: MIB / 2 }, "whole MiB"],
    ["a CPU model with a space", { cpuModel: "host -foo" }, "CPU model"],
    ["a disk name with a comma", { disks: [{ ...overlay, name: "a,b" }] }, "disk name"],
    ["a relative path", { disks: [{ ...overlay, path: "x" }] }, "not absolute"],
    ["two disks of one name", { disks: [overlay, overlay] }, "two disks"],
    ["17 disks", { disks: many(17) }, "at most 16"],
    ["15 disks beside others on scsi", { disks: [...many(16), onBus("scsi")] }, "at most 15"],
    [
      "7 disks on sata",
      { disks: many(7).map((disk) => ({ ...disk, bus: "sata" as const })) },
      "at most 6",
    ],
    ["one boot index twice", { disks: [overlay, { ...overlay, name: "b" }] }, "boot index"],
    [
      "a cd-rom on virtio",
      { disks: [{ ...overlay, media: "cdrom" as const }] },
      "cd-rom on virtio",
    ],
    [
      "a cd-rom that is written",
      { disks: [{ ...onBus("sata"), media: "cdrom" as const }] },
      "written",
    ],
    [
      "a read-only disk on sata",
      { disks: [{ ...onBus("sata"), readOnly: true }] },
      "not read-only",
    ],
    [
      "io native over the page cache",
      { disks: [{ ...overlay, io: "native" as const }] },
      "cache none",
    ],
    ["a serial with a comma", { disks: [{ ...overlay, serial: "a,b" }] }, "serial"],
    ["a backing image under raw", { disks: [{ ...overlay, format: "raw" }] }, "only qcow2"],
    ["a multicast MAC", { nics: [{ ...nic, mac: "01:00:00:00:00:01" }] }, "unicast"],
    ["a card that leads nowhere", { nics: [loose] }, "a tap or a socket"],
    ["a socket elsewhere", { nics: [{ ...loose, socket: "../x" }] }, "socket"],
    ["17 queues", { nics: [{ ...nic, queues: 17 }] }, "17 queues: 1-16"],
    ["an MTU of 10", { nics: [{ ...nic, mtu: 10 }] }, "MTU 10"],
    ["UEFI without variables", { firmware: "uefi" }, "file for its variables"],
  ];
  test.each(cases)("%s", (_, changes, message) => {
    expect(() => plan(changes)).toThrow(message);
    expect(() => plan(changes)).toThrow(expect.objectContaining({ kind: "invalid" }));
  });

  test("UEFI on a node that has none", () => {
    const spec = machineSpec({ firmware: "uefi", firmwareVarsPath: "/v" });
    expect(() => planMachine(spec, { qemuPath: "/q", binds: [] })).toThrow("no UEFI firmware");
  });
});
