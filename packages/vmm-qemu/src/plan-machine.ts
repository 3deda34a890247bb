import {
  CONSOLE_CHANNEL,
  GUEST_AGENT_CHANNEL,
  GUEST_LINK_CHANNEL,
  MACHINE_DIR,
  VMM_KEY,
} from "@trine/vmm";
import type { JailBind, MachineSpec, ProcessPlan } from "@trine/vmm";
import { checkSpec } from "./check-spec.ts";
import { DescriptorTable } from "./descriptor-table.ts";
import { EXIT_RULES } from "./exit-rules.ts";
import { option } from "./option.ts";
import { DISPLAY_SLOT, NIC_SLOTS, RNG_SLOT, SERIAL_SLOT, TABLET_SLOT, slot } from "./pci-slots.ts";
import { bootArguments, bootBinds } from "./plan-boot.ts";
import { diskArguments } from "./plan-disks.ts";
import { memoryArguments, memoryBinds, memoryDevices, memoryMachineOption } from "./plan-memory.ts";
import { firmwareFileArguments, firmwareFileBinds } from "./plan-firmware-files.ts";
import { originArguments } from "./plan-origin.ts";
import { shareArguments } from "./plan-shares.ts";
import { SLOTS_DIR, slotArguments } from "./plan-slots.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";

const SMALL_GUEST_BYTES = 256 * 1024 * 1024;

/** The daemon's monitor: a listening socket, so that it may come and go. */
export const QMP_SOCKET = "qmp.sock";
/** The host's own monitor, from which it knows why QEMU ended. */
const WATCH_CHANNEL = "watch";
export const GUEST_AGENT_ID = "guest-agent0";

const SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/** The process a machine is, for QEMU 6.2 and later. Kind `invalid` when the spec makes none. */
export function planMachine(spec: MachineSpec, environment: QemuEnvironment): ProcessPlan {
  checkSpec(spec);
  const table = new DescriptorTable();
  const argv = [
    environment.qemuPath,
    ...monitorArguments(table),
    ...machineArguments(spec, environment, table),
  ];
  const kvm = spec.accelerator === "kvm";
  return {
    key: VMM_KEY,
    argv,
    env: [],
    descriptors: table.all,
    jail: {
      binds: [
        ...environment.binds,
        ...fileBinds(spec),
        ...(kvm ? [{ source: "/dev/kvm", target: "/dev/kvm", writable: true, device: true }] : []),
      ],
      newNetwork: true,
    },
    ...(kvm && environment.kvmGroup !== undefined ? { groups: [environment.kvmGroup] } : {}),
    exitRules: EXIT_RULES,
  };
}

/** What QEMU 7.2 opens by itself and takes no descriptor for, and the directory of the slots. */
function fileBinds(spec: MachineSpec): JailBind[] {
  const { slots } = spec;
  return [
    ...bootBinds(spec),
    ...firmwareFileBinds(spec),
    ...memoryBinds(spec),
    ...(slots === undefined
      ? []
      : [{ source: slots.dir, target: SLOTS_DIR, writable: slots.writable > 0, live: true }]),
  ];
}

/** The machine without its monitors; also what the accelerator probe boots. */
export function machineArguments(
  spec: MachineSpec,
  environment: QemuEnvironment,
  table: DescriptorTable,
): string[] {
  return [
    ...["-name", option(`guest=${spec.id}`, { "debug-threads": true })],
    ...boardArguments(spec, table),
    ...consoleArguments(spec, table),
    ...bootArguments(spec, environment.firmwareCode, table),
    ...firmwareFileArguments(spec),
    ...diskArguments(spec, table),
    ...slotArguments(spec),
    ...shareArguments(spec),
    ...nicArguments(spec, table),
    ...displayArguments(spec),
    ...originArguments(spec, table),
  ];
}

/**
 * Everything but channels, disks and NICs. Parts of the board no machine of ours uses (SATA, SMBus, the
 * VMware port) are left out: less for a guest to attack and 10 ms less to start. Sleep states are off:
 * a guest that suspends would look hung.
 */
function boardArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  return [
    ...["-uuid", spec.uuid],
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    ...["-msg", "timestamp=on"],
    ...["-sandbox", SANDBOX],
    "-machine",
    option("q35", {
      sata: false,
      smbus: false,
      vmport: false,
      usb: false,
      "dump-guest-core": false,
      ...memoryMachineOption(spec),
    }),
    ...["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"],
    ...["-accel", acceleratorOption(spec), "-cpu", spec.cpuModel ?? defaultCpu(spec)],
    ...["-smp", cpuOption(spec)],
    ...memoryArguments(spec, table),
    ...["-rtc", "base=utc,driftfix=slew", "-boot", "menu=off,strict=on"],
    ...["-object", "rng-builtin,id=rng0"],
    ...device("virtio-rng-pci", { rng: "rng0", addr: slot(RNG_SLOT), "disable-legacy": true }),
    ...memoryDevices(spec),
    ...device("pvpanic"),
  ];
}

/**
 * The translation cache fills up to its limit and is never given back; QEMU's own limit is 1 GiB. 64 MiB
 * cost a whole Debian 5 % more CPU to boot than no limit (32 MiB: 40 %), a small Linux needs 60 at all.
 * QEMU itself adds 21 MiB, so that both together stay under the overhead a pod is charged for.
 */
function acceleratorOption(spec: MachineSpec): string {
  if (spec.accelerator === "kvm") return "kvm";
  return option("tcg", { "tb-size": spec.memoryBytes < SMALL_GUEST_BYTES ? 32 : 64 });
}

function cpuOption(spec: MachineSpec): string {
  const { cpus, maxCpus } = spec;
  const cores = maxCpus ?? cpus;
  return option(`cpus=${cpus}`, {
    ...(maxCpus === undefined ? {} : { maxcpus: maxCpus }),
    ...{ sockets: 1, cores, threads: 1 },
  });
}

/**
 * Five-level paging costs every emulated page walk one more step and stops some boot loaders. With "enhanced REP MOVSB"
 * a kernel copies and clears byte by byte, which emulation does one at a time: without, a guest boots with a tenth
 * less CPU.
 */
function defaultCpu(spec: MachineSpec): string {
  return spec.accelerator === "kvm" ? "host" : "max,la57=off,erms=off";
}

function monitorArguments(table: DescriptorTable): string[] {
  const qmp = table.add({ kind: "listen", path: `${MACHINE_DIR}/${QMP_SOCKET}` });
  const watch = table.add({ kind: "channel", name: WATCH_CHANNEL, use: "monitor" });
  return [
    ...chardev("qmp", { fd: qmp, server: true, wait: false }),
    ...["-mon", "chardev=qmp,mode=control"],
    ...chardev(WATCH_CHANNEL, { fd: watch }),
    ...["-mon", `chardev=${WATCH_CHANNEL},mode=control`],
  ];
}

function consoleArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  const fd = table.add({ kind: "channel", name: CONSOLE_CHANNEL, use: "console" });
  const virtio = spec.console === "virtio";
  return [
    ...chardev("console", { fd }),
    ...(virtio ? [] : device("isa-serial", { chardev: "console" })),
    ...(virtio || spec.guestAgent || spec.guestLink === true
      ? device("virtio-serial-pci", {
          id: "ports",
          addr: slot(SERIAL_SLOT),
          // A guest spins until its write is taken: through the main loop that takes three times as long.
          ioeventfd: false,
          "disable-legacy": true,
        })
      : []),
    ...(virtio ? device("virtconsole", { bus: "ports.0", nr: 0, chardev: "console" }) : []),
    ...(spec.guestAgent ? guestAgentArguments(table) : []),
    ...(spec.guestLink === true ? guestLinkArguments(table) : []),
  ];
}

function guestAgentArguments(table: DescriptorTable): string[] {
  const fd = table.add({ kind: "channel", name: GUEST_AGENT_CHANNEL, use: "held" });
  return [
    ...chardev("guest-agent", { fd }),
    ...device("virtserialport", {
      id: GUEST_AGENT_ID,
      bus: "ports.0",
      nr: 1,
      chardev: "guest-agent",
      name: "org.qemu.guest_agent.0",
    }),
  ];
}

function guestLinkArguments(table: DescriptorTable): string[] {
  const fd = table.add({ kind: "channel", name: GUEST_LINK_CHANNEL, use: "guest" });
  return [
    ...chardev("guest-link", { fd }),
    ...device("virtserialport", {
      id: "guest-link0",
      bus: "ports.0",
      nr: 2,
      chardev: "guest-link",
      name: "trine.agent",
    }),
  ];
}

function nicArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  return spec.nics.flatMap((nic, index) => {
    const fd = table.add({ kind: "tap", tap: nic.tap });
    return [
      ...["-netdev", option("tap", { id: `net-${nic.name}`, fd, vhost: false })],
      ...device("virtio-net-pci", {
        netdev: `net-${nic.name}`,
        id: `nic-${nic.name}`,
        addr: slot(NIC_SLOTS[index]),
        mac: nic.mac,
        // Our agent sets it: the NIC of a clone is as its template's was.
        ...(spec.guestLink === true ? {} : { host_mtu: nic.mtu }),
        // Machines boot from disks: no option ROM to load.
        romfile: "",
        "disable-legacy": true,
      }),
    ];
  });
}

/**
 * The tablet gives noVNC an absolute pointer. A virtio one, because a USB controller makes the BIOS 150 ms
 * slower; a guest without its driver keeps the PS/2 mouse.
 */
function displayArguments(spec: MachineSpec): string[] {
  if (!spec.display) return [];
  return [
    ...device("VGA", { addr: slot(DISPLAY_SLOT) }),
    ...device("virtio-tablet-pci", { addr: slot(TABLET_SLOT) }),
    ...["-vnc", option(`unix:${MACHINE_DIR}/vnc.sock`, { share: "force-shared" })],
  ];
}

function device(name: string, values: Parameters<typeof option>[1] = {}): string[] {
  return ["-device", option(name, values)];
}

function chardev(id: string, values: Parameters<typeof option>[1]): string[] {
  return ["-chardev", option("socket", { id, ...values })];
}
