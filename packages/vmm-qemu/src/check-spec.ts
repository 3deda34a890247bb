import { isAbsolute } from "node:path";
import { TrineError } from "@trine/base";
import { MEMORY_STEP, bootOf, shareDevices, slotNames } from "@trine/vmm";
import type { DiskSpec, MachineSpec, NicModel, NicSpec } from "@trine/vmm";
import { checkHardware } from "./check-hardware.ts";
import { NIC_SLOTS } from "./pci-slots.ts";
import { diskRoom, virtioDisks } from "./plan-disks.ts";

const MIB = 1024 * 1024;
const SECTOR = 512;
/** More needs interrupt remapping (x2APIC). */
const MAX_CPUS = 255;

/** As many as the host opens. */
const MAX_QUEUES = 16;

/** Functions of a PCI slot. */
const MAX_SHARES = 8;

/** COMMAND_LINE_SIZE of x86, with its closing NUL. */
const MAX_CMDLINE = 2047;

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Also the serial number the guest sees: 20 bytes at most. */
const SERIAL = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,19}$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,19}$/;
const TAG = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,35}$/;
/** QEMU takes 55 characters, and asks users to keep to opt/. */
const FIRMWARE_FILE = /^opt\/[A-Za-z0-9][A-Za-z0-9_./-]{0,50}$/;
const CPU_MODEL = /^[A-Za-z0-9][A-Za-z0-9_.,=+-]{0,199}$/;
const MODELS: readonly NicModel[] = [
  ...(["virtio", "e1000e", "e1000", "rtl8139", "pcnet", "ne2k_pci"] as const),
];
const MAC = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i;

/** Kind `invalid`, naming the field, for what QEMU would refuse or misread. */
export function checkSpec(spec: MachineSpec): void {
  const say = (ok: boolean, what: string): void => {
    if (!ok) throw new TrineError("invalid", `machine ${spec.id}: ${what}`);
  };
  if (!ID.test(spec.id)) throw new TrineError("invalid", "machine id: letters, digits, _ . - only");
  say(UUID.test(spec.uuid), `uuid ${spec.uuid} is none`);
  say(
    Number.isInteger(spec.cpus) && spec.cpus >= 1 && spec.cpus <= MAX_CPUS,
    `cpus ${spec.cpus}: 1-${MAX_CPUS}`,
  );
  say(
    Number.isSafeInteger(spec.memoryBytes) &&
      spec.memoryBytes >= MIB &&
      spec.memoryBytes % MIB === 0,
    `memory of ${spec.memoryBytes} bytes: whole MiB, at least one`,
  );
  say(
    spec.cpuModel === undefined || CPU_MODEL.test(spec.cpuModel),
    `CPU model ${spec.cpuModel ?? ""} is none`,
  );
  checkGrowth(spec, say);
  checkFiles(spec, say);
  checkBuses(spec, say);
  checkHardware(spec, say);
  say(
    spec.nics.length <= NIC_SLOTS.length,
    `${spec.nics.length} NICs: at most ${NIC_SLOTS.length}`,
  );
  say(unique(spec.disks.map((disk) => disk.name)), "two disks have one name");
  say(unique(spec.nics.map((nic) => nic.name)), "two NICs have one name");
  for (const disk of spec.disks) checkDisk(disk, say);
  for (const nic of spec.nics) checkNic(nic, say);
}

type Say = (ok: boolean, what: string) => void;

function checkGrowth(spec: MachineSpec, say: Say): void {
  const { cpus, maxCpus = cpus, memoryBytes, memoryMaxBytes } = spec;
  say(
    Number.isInteger(maxCpus) && maxCpus >= cpus && maxCpus <= MAX_CPUS,
    `maxCpus ${maxCpus}: ${cpus}-${MAX_CPUS}`,
  );
  if (memoryMaxBytes === undefined) return;
  const growth = memoryMaxBytes - memoryBytes;
  say(
    Number.isSafeInteger(growth) && growth > 0 && growth % MEMORY_STEP === 0,
    `memory growing by ${growth} bytes: in steps of ${MEMORY_STEP}`,
  );
}

/** Files and directories by name, and what excludes what. */
function checkFiles(spec: MachineSpec, say: Say): void {
  const boot = bootOf(spec);
  const { slots, isTemplate, origin } = spec;
  const shares = shareDevices(spec);
  say(isTemplate !== true || origin === undefined, "a clone does not become a template");
  say(
    shares.length === 0 || (isTemplate !== true && origin === undefined),
    "a template or a clone has no shares: their server would write its memory",
  );
  say(shares.length <= MAX_SHARES, `${shares.length} file systems: at most ${MAX_SHARES}`);
  say(unique(shares.map(({ tag }) => tag)), "two file systems have one tag");
  for (const { tag, socket } of shares) {
    say(TAG.test(tag), `tag ${tag}: 1-36 of A-Za-z0-9_.-`);
    say(NAME.test(socket.replace(".sock", "")), "shares' socket");
  }
  say(spec.shares?.way !== "9p" || spec.guestLink === true, "shares by 9p without a guest link");
  if (slots !== undefined) {
    const whole = [slots.readOnly, slots.writable].every((n) => Number.isInteger(n) && n >= 0);
    say(whole, `slots: ${slots.readOnly} and ${slots.writable}`);
  }
  const { kernel } = spec;
  say(kernel === undefined || boot.kind === "firmware", "a kernel of its own without a firmware");
  const line = boot.kind === "direct" ? boot.cmdline : (kernel?.args ?? "");
  say(!line.includes("\0") && Buffer.byteLength(line) <= MAX_CMDLINE, "kernel command line");
  for (const { name } of spec.firmwareFiles ?? []) {
    say(FIRMWARE_FILE.test(name), `firmware file ${name}: opt/ and a name`);
  }
  const paths = [
    ...(boot.kind === "direct" ? [boot.kernel, boot.initrd] : []),
    ...[kernel?.path, kernel?.initrdPath],
    ...(spec.firmwareFiles ?? []).map(({ path }) => path),
    ...[slots?.dir, origin?.template.memoryPath, origin?.template.statePath],
  ];
  for (const path of paths) {
    say(path === undefined || isAbsolute(path), `path ${path ?? ""} is not absolute`);
  }
}

/** Targets of a SCSI bus that QEMU gives, ports of the SATA controller. */
const MAX_ON = { scsi: 256, sata: 6 } as const;

function checkBuses(spec: MachineSpec, say: Say): void {
  const slots = virtioDisks(spec).length + slotNames(spec.slots).length;
  const room = diskRoom(spec);
  say(slots <= room, `${slots} disks: at most ${room}`);
  for (const bus of ["scsi", "sata"] as const) {
    const count = spec.disks.filter((disk) => disk.bus === bus).length;
    say(count <= MAX_ON[bus], `${count} disks on ${bus}: at most ${MAX_ON[bus]}`);
  }
  const indexes = spec.disks.flatMap(({ bootIndex }) => bootIndex ?? []);
  say(new Set(indexes).size === indexes.length, "two disks have one boot index");
}

function checkDisk(disk: DiskSpec, say: Say): void {
  say(NAME.test(disk.name), `disk name ${disk.name}: 1-20 of a-z 0-9 -`);
  say(isAbsolute(disk.path), `disk ${disk.name}: path ${disk.path} is not absolute`);
  const boot = disk.bootIndex;
  say(
    boot === undefined || (Number.isInteger(boot) && boot >= 0),
    `disk ${disk.name}: boot index ${boot ?? ""}`,
  );
  const { serial, media, bus, io, cache, readOnly } = disk;
  say(serial === undefined || SERIAL.test(serial), `disk ${disk.name}: serial ${serial ?? ""}`);
  say(media === undefined || bus !== "virtio", `disk ${disk.name}: a cd-rom on ${bus}`);
  say(media === undefined || readOnly, `disk ${disk.name}: a cd-rom that is written`);
  say(
    bus !== "sata" || !readOnly || media === "cdrom",
    `disk ${disk.name}: one on sata is not read-only`,
  );
  const { offsetBytes: offset = 0, format } = disk;
  say(
    Number.isSafeInteger(offset) && offset >= 0 && offset % SECTOR === 0,
    `disk ${disk.name}: offset ${offset}`,
  );
  say(offset === 0 || format === "raw", `disk ${disk.name}: an offset in a ${format}`);
  say(disk.ownThread !== true || bus !== "sata", `disk ${disk.name}: a thread on ${bus}`);
  say(io !== "native" || cache === "none", `disk ${disk.name}: io native needs cache none`);
  if (disk.backing === undefined) return;
  say(disk.format === "qcow2", `disk ${disk.name}: only qcow2 has a backing image`);
  say(
    isAbsolute(disk.backing.path),
    `disk ${disk.name}: path ${disk.backing.path} is not absolute`,
  );
}

function checkNic(nic: NicSpec, say: Say): void {
  say(NAME.test(nic.name), `NIC name ${nic.name}: 1-20 of a-z 0-9 -`);
  say(MAC.test(nic.mac), `NIC ${nic.name}: MAC ${nic.mac} is not a unicast address`);
  // The least that IPv4 allows, the most virtio can say.
  say(
    Number.isInteger(nic.mtu) && nic.mtu >= 68 && nic.mtu <= 65_535,
    `NIC ${nic.name}: MTU ${nic.mtu}`,
  );
  const { tap, socket, queues = 1 } = nic;
  say((tap === undefined) !== (socket === undefined), `NIC ${nic.name}: a tap or a socket`);
  say(socket === undefined || NAME.test(socket.replace(".sock", "")), `NIC ${nic.name}: socket`);
  say(
    Number.isInteger(queues) && queues >= 1 && queues <= MAX_QUEUES,
    `NIC ${nic.name}: ${queues} queues: 1-${MAX_QUEUES}`,
  );
  say(queues === 1 || tap !== undefined, `NIC ${nic.name}: a socket is one queue`);
  const { model = "virtio" } = nic;
  say(MODELS.includes(model), `NIC ${nic.name}: model ${model}: ${MODELS.join(", ")}`);
  say(queues === 1 || model === "virtio", `NIC ${nic.name}: ${model} has one queue`);
}

function unique(names: readonly string[]): boolean {
  return new Set(names).size === names.length;
}
