import type { Disk } from "../kubevirt/disks.ts";
import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import { atMostOne, filled, unique } from "./fields.ts";
import { checkForm } from "./names.ts";
import { type Report, shown } from "./report.ts";

/** Disks and file systems of `spec.domain.devices`, which need a volume of the same name. */
export function checkDisks(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  const { disks = [], filesystems = [] } = spec.domain.devices;
  const volumes = new Set((spec.volumes ?? []).map(({ name }) => name));
  const devices = `${at}.domain.devices`;
  const named = [
    ["disks", disks],
    ["filesystems", filesystems],
  ] as const;
  for (const [list, items] of named) {
    const pathOf = (index: number): string => `${devices}.${list}[${index}].name`;
    unique(items, ({ name }) => name, pathOf, report);
    items.forEach(({ name }, index) => {
      if (name === "") report.required(pathOf(index));
      else if (!volumes.has(name)) {
        report.invalid(pathOf(index), `is ${shown(name)}, but there is no volume of that name`);
      }
    });
  }
  disks.forEach((disk, index) => {
    checkDisk(disk, `${devices}.disks[${index}]`, report);
  });
  checkBootOrder(spec, devices, report);
}

/** What a disk without a bus gets. */
const USUAL_BUS = "sata";

function checkDisk(disk: Disk, at: string, report: Report): void {
  atMostOne(disk, ["disk", "lun", "cdrom"], at, report);
  const bus = disk.disk?.bus ?? disk.lun?.bus ?? disk.cdrom?.bus ?? USUAL_BUS;
  if (disk.cdrom?.bus === "virtio") {
    report.invalid(`${at}.cdrom.bus`, "is virtio, which has no CD drives: use sata or scsi");
  }
  if (disk.lun?.reservation === true && bus !== "scsi") {
    report.invalid(`${at}.lun.reservation`, "needs the bus scsi");
  }
  const slot = disk.disk?.pciAddress;
  if (slot !== undefined && slot !== "") {
    checkForm("pciAddress", slot, `${at}.disk.pciAddress`, report);
    if (bus !== "virtio") report.invalid(`${at}.disk.pciAddress`, "needs the bus virtio");
  }
  checkForm("serial", disk.serial, `${at}.serial`, report);
  if (disk.dedicatedIOThread === true && bus !== "virtio" && bus !== "scsi") {
    report.invalid(`${at}.dedicatedIOThread`, `needs the bus virtio or scsi, not ${bus}`);
  }
  const isCached = ![undefined, "", "none"].includes(disk.cache);
  if (disk.shareable === true && isCached) {
    report.invalid(`${at}.cache`, "must be none for a disk that is shareable");
  }
  if (disk.io === "native" && isCached) {
    report.invalid(`${at}.io`, "is native, which needs the cache none");
  }
  checkBlockSize(disk, `${at}.blockSize`, report);
}

const BLOCK = { least: 512, most: 2 * 1024 * 1024 } as const;

function checkBlockSize({ blockSize }: Disk, at: string, report: Report): void {
  if (blockSize === undefined) return;
  const { custom, matchVolume } = blockSize;
  if (custom === undefined) return;
  if (matchVolume !== undefined && matchVolume.enabled !== false) {
    report.invalid(at, "must not have custom and matchVolume together");
  }
  const { logical = 0, physical = 0 } = custom;
  for (const [name, size] of Object.entries({ logical, physical })) {
    if (size < BLOCK.least || size > BLOCK.most || !Number.isInteger(Math.log2(size))) {
      report.invalid(
        `${at}.custom.${name}`,
        `is ${size}, must be a power of two from 512 to 2097152`,
      );
    }
  }
  if (logical > physical) report.invalid(`${at}.custom.logical`, "is more than physical");
}

/** Disks and interfaces boot in one order: from 1 on, no number twice. */
function checkBootOrder(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  const { disks = [], interfaces = [] } = spec.domain.devices;
  const orders = [
    ...disks.map(({ bootOrder }, index) => [`${at}.disks[${index}].bootOrder`, bootOrder] as const),
    ...interfaces.map(
      ({ bootOrder }, index) => [`${at}.interfaces[${index}].bootOrder`, bootOrder] as const,
    ),
  ];
  for (const [field, order] of orders) {
    if (order !== undefined && order < 1) report.invalid(field, `is ${order}, must be 1 at least`);
  }
  const pathOf = (index: number): string => orders[index]?.[0] ?? at;
  unique(orders, ([, order]) => order, pathOf, report);
}

/** Names of GPUs and other devices of the host, and where they are from. */
export function checkHostDevices(
  { domain, resourceClaims = [] }: VirtualMachineInstanceSpec,
  at: string,
  report: Report,
): void {
  const { gpus = [], hostDevices = [] } = domain.devices;
  const claims = new Set(resourceClaims.map(({ name }) => name));
  const all = [
    ...gpus.map((device, index) => ({ device, field: `${at}.domain.devices.gpus[${index}]` })),
    ...hostDevices.map((device, index) => ({
      device,
      field: `${at}.domain.devices.hostDevices[${index}]`,
    })),
  ];
  unique(
    all,
    ({ device }) => device.name,
    (index) => `${all[index]?.field ?? at}.name`,
    report,
  );
  for (const { device, field } of all) {
    filled(device.name, `${field}.name`, report);
    const byClaim = device.claimName !== undefined || device.requestName !== undefined;
    if (byClaim && device.deviceName !== undefined) {
      report.invalid(`${field}.deviceName`, "must not stand with claimName");
    } else if (!byClaim) {
      filled(device.deviceName, `${field}.deviceName`, report);
    } else {
      filled(device.claimName, `${field}.claimName`, report);
      filled(device.requestName, `${field}.requestName`, report);
      if (device.claimName !== undefined && !claims.has(device.claimName)) {
        report.invalid(`${field}.claimName`, "is none of the resourceClaims");
      }
    }
  }
}
