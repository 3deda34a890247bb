import {
  CONSOLE_CHANNEL,
  GUEST_AGENT_CHANNEL,
  GUEST_LINK_CHANNEL,
  MACHINE_DIR,
  VMM_KEY,
  bootOf,
} from "@trine/vmm";
import type { FeaturePolicy, JailBind, MachineSpec, NicSpec, ProcessPlan } from "@trine/vmm";
import { checkSpec } from "./check-spec.ts";
import { DescriptorTable } from "./descriptor-table.ts";
import { exitRules } from "./exit-rules.ts";
import { generation } from "./generation.ts";
import { option } from "./option.ts";
import { NIC_SLOTS, SERIAL_SLOT, slot } from "./pci-slots.ts";
import { boardArguments } from "./plan-board.ts";
import { bootArguments, bootBinds } from "./plan-boot.ts";
import { device, deviceArguments, displayArguments } from "./plan-devices.ts";
import { diskArguments } from "./plan-disks.ts";
import { passthroughArguments, passthroughBinds, passthroughLock } from "./plan-passthrough.ts";
import { memoryBinds } from "./plan-memory.ts";
import { firmwareFileArguments, firmwareFileBinds } from "./plan-firmware-files.ts";
import { originArguments } from "./plan-origin.ts";
import { shareArguments } from "./plan-shares.ts";
import { SLOTS_DIR, slotArguments } from "./plan-slots.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";

/** What a machine is not started without, or with. */
const CHECKED: ReadonlySet<FeaturePolicy> = new Set(["require", "forbid"]);

/** The daemon's monitor: a listening socket, so that it may come and go. */
export const QMP_SOCKET = "qmp.sock";
/** The host's own monitor, from which it knows why QEMU ended. */
const WATCH_CHANNEL = "watch";
export const GUEST_AGENT_ID = "guest-agent0";

/** The process a machine is, for QEMU 6.2 and later. Kind `invalid` when the spec makes none. */
export function planMachine(spec: MachineSpec, environment: QemuEnvironment): ProcessPlan {
  checkSpec(spec);
  const table = new DescriptorTable();
  const argv = [
    environment.qemuPath,
    ...monitorArguments(table),
    ...machineArguments(spec, environment, table),
    ...(waitsForWord(spec) ? ["-S"] : []),
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
    exitRules: exitRules(spec),
    ...passthroughLock(spec),
  };
}

/** Something is looked at, or set, before the guest runs. */
export function waitsForWord({ hardware = {}, startsPaused, nics }: MachineSpec): boolean {
  if (startsPaused === true || nics.some(({ isUnplugged }) => isUnplugged === true)) return true;
  const policies = Object.values(hardware.cpuFeatures ?? {});
  return hardware.pinning !== undefined || policies.some((each) => CHECKED.has(each));
}

/** What QEMU 7.2 opens by itself and takes no descriptor for, and the directory of the slots. */
function fileBinds(spec: MachineSpec): JailBind[] {
  const { slots } = spec;
  return [
    ...bootBinds(spec),
    ...firmwareFileBinds(spec),
    ...memoryBinds(spec),
    ...passthroughBinds(spec),
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
    ...deviceArguments(spec, table),
    ...consoleArguments(spec, table),
    ...bootArguments(spec, environment, table),
    ...firmwareFileArguments(spec),
    ...diskArguments(spec, table),
    ...slotArguments(spec),
    ...shareArguments(spec),
    ...nicArguments(spec, table),
    ...displayArguments(spec),
    ...passthroughArguments(spec),
    ...originArguments(spec, table),
  ];
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
    ...(spec.console === "serial" ? device("isa-serial", { chardev: "console" }) : []),
    ...(virtio || spec.guestAgent || spec.guestLink === true
      ? device("virtio-serial-pci", {
          id: "ports",
          addr: slot(SERIAL_SLOT),
          // A guest spins until its write is taken: through the main loop that takes three times as long.
          ioeventfd: false,
          ...generation(spec),
        })
      : []),
    ...(virtio ? device("virtconsole", { bus: "ports.0", nr: 0, chardev: "console" }) : []),
    ...(spec.guestAgent ? guestAgentArguments(table) : []),
    ...(spec.guestLink === true ? guestLinkArguments(spec, table) : []),
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

function guestLinkArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  const use = bootOf(spec).kind === "direct" ? "guest" : "freeGuest";
  const fd = table.add({ kind: "channel", name: GUEST_LINK_CHANNEL, use });
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

/** Its card, as QEMU's monitor calls it. */
export function nicId({ name }: Pick<NicSpec, "name">): string {
  return `nic-${name}`;
}

function nicArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  return spec.nics.flatMap((nic, index) => {
    const { queues = 1, model = "virtio" } = nic;
    const card = {
      netdev: `net-${nic.name}`,
      id: nicId(nic),
      addr: slot(NIC_SLOTS[index]),
      mac: nic.mac,
    };
    const link = ["-netdev", netdev(nic, table)];
    // Machines boot from disks: no option ROM to load.
    if (model !== "virtio") return [...link, ...device(model, { ...card, romfile: "" })];
    return [
      ...link,
      ...device("virtio-net-pci", {
        ...card,
        // Our agent sets it: the NIC of a clone is as its template's was.
        ...(bootOf(spec).kind === "direct" ? {} : { host_mtu: nic.mtu }),
        romfile: "",
        ...generation(spec),
        // An interrupt for each direction of each, one for changes and one for what the guest asks.
        ...(queues === 1 ? {} : { mq: true, vectors: 2 * queues + 2 }),
      }),
    ];
  });
}

function netdev({ name, tap, socket, queues = 1 }: NicSpec, table: DescriptorTable): string {
  const id = `net-${name}`;
  if (tap === undefined) {
    const fd = table.add({ kind: "listen", path: `${MACHINE_DIR}/${socket ?? name}` });
    return option("stream", { id, server: true, "addr.type": "fd", "addr.str": fd });
  }
  const fds = Array.from({ length: queues }, (_, queue) =>
    table.add({ kind: "tap", tap, ...(queue === 0 ? {} : { queue }) }),
  );
  const ours = queues === 1 ? { fd: fds[0] ?? -1 } : { fds: fds.join(":") };
  return option("tap", { id, ...ours, vhost: false });
}

function chardev(id: string, values: Parameters<typeof option>[1]): string[] {
  return ["-chardev", option("socket", { id, ...values })];
}
