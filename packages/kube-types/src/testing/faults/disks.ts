import { DUPLICATE, INVALID, REQUIRED, UNSUPPORTED, type FaultRow } from "../objects.ts";

const DISK = "domain.devices.disks[0]";

const NIC = "domain.devices.interfaces[0]";

export const DISKS_FAULTS: readonly FaultRow[] = [
  ["a disk without volume", { [`${DISK}.name`]: "other" }, `${DISK}.name ${INVALID}`],
  ["a disk of empty name", { [`${DISK}.name`]: "" }, `${DISK}.name ${REQUIRED}`],
  [
    "two disks of a name",
    { "domain.devices.disks[1]": { name: "root" } },
    `domain.devices.disks[1].name ${DUPLICATE}`,
  ],
  ["a disk that is a drive too", { [`${DISK}.cdrom`]: { bus: "sata" } }, `${DISK} ${INVALID}`],
  ["an unknown bus", { [`${DISK}.disk.bus`]: "nvme" }, `${DISK}.disk.bus ${UNSUPPORTED}`],
  ["IDE", { [`${DISK}.disk.bus`]: "ide" }, `${DISK}.disk.bus ${UNSUPPORTED}`],
  ["a floppy", { [`${DISK}.floppy`]: {} }, `${DISK}.floppy ${INVALID}`],
  [
    "a drive on virtio",
    { [DISK]: { name: "root", cdrom: { bus: "virtio" } } },
    `${DISK}.cdrom.bus ${INVALID}`,
  ],
  [
    "a drive half open",
    { [DISK]: { name: "root", cdrom: { tray: "ajar" } } },
    `${DISK}.cdrom.tray ${UNSUPPORTED}`,
  ],
  [
    "a reservation off scsi",
    { [DISK]: { name: "root", lun: { bus: "sata", reservation: true } } },
    `${DISK}.lun.reservation ${INVALID}`,
  ],
  ["no PCI address", { [`${DISK}.disk.pciAddress`]: "2:0" }, `${DISK}.disk.pciAddress ${INVALID}`],
  [
    "a PCI address off virtio",
    { [`${DISK}.disk`]: { bus: "sata", pciAddress: "0000:02:00.0" } },
    `${DISK}.disk.pciAddress ${INVALID}`,
  ],
  ["a serial of odd letters", { [`${DISK}.serial`]: "a b" }, `${DISK}.serial ${INVALID}`],
  ["a long serial", { [`${DISK}.serial`]: "x".repeat(257) }, `${DISK}.serial ${INVALID}`],
  ["an unknown cache", { [`${DISK}.cache`]: "unsafe" }, `${DISK}.cache ${UNSUPPORTED}`],
  ["an unknown way of I/O", { [`${DISK}.io`]: "io_uring" }, `${DISK}.io ${UNSUPPORTED}`],
  [
    "native I/O with a cache",
    { [`${DISK}.io`]: "native", [`${DISK}.cache`]: "writeback" },
    `${DISK}.io ${INVALID}`,
  ],
  [
    "an unknown policy of errors",
    { [`${DISK}.errorPolicy`]: "panic" },
    `${DISK}.errorPolicy ${UNSUPPORTED}`,
  ],
  [
    "a shared cache",
    { [`${DISK}.shareable`]: true, [`${DISK}.cache`]: "writeback" },
    `${DISK}.cache ${INVALID}`,
  ],
  [
    "a thread for sata",
    { [`${DISK}.disk.bus`]: "sata", [`${DISK}.dedicatedIOThread`]: true },
    `${DISK}.dedicatedIOThread ${INVALID}`,
  ],
  ["boot order 0", { [`${DISK}.bootOrder`]: 0 }, `${DISK}.bootOrder ${INVALID}`],
  [
    "boot order 1 twice",
    { [`${DISK}.bootOrder`]: 1, [`${NIC}.bootOrder`]: 1 },
    `${NIC}.bootOrder ${DUPLICATE}`,
  ],
  [
    "blocks said twice",
    { [`${DISK}.blockSize`]: { matchVolume: {}, custom: { logical: 512, physical: 512 } } },
    `${DISK}.blockSize ${INVALID}`,
  ],
  [
    "blocks of 1000",
    { [`${DISK}.blockSize.custom`]: { logical: 1000, physical: 4096 } },
    `${DISK}.blockSize.custom.logical ${INVALID}`,
  ],
  [
    "blocks too large",
    { [`${DISK}.blockSize.custom`]: { logical: 512, physical: 4194304 } },
    `${DISK}.blockSize.custom.physical ${INVALID}`,
  ],
  [
    "blocks above the device's",
    { [`${DISK}.blockSize.custom`]: { logical: 4096, physical: 512 } },
    `${DISK}.blockSize.custom.logical ${INVALID}`,
  ],
  [
    "a share without volume",
    { "domain.devices.filesystems[0]": { name: "f", virtiofs: {} } },
    `domain.devices.filesystems[0].name ${INVALID}`,
  ],
  [
    "too many disks",
    { "domain.devices.disks": Array.from({ length: 257 }, () => ({ name: "root" })) },
    "domain.devices.disks FieldValueTooMany",
  ],
  [
    "a GPU of no kind",
    { "domain.devices.gpus[0]": { name: "g" } },
    `domain.devices.gpus[0].deviceName ${REQUIRED}`,
  ],
  [
    "a device without name",
    { "domain.devices.hostDevices[0]": { name: "", deviceName: "v/d" } },
    `domain.devices.hostDevices[0].name ${REQUIRED}`,
  ],
  [
    "devices of one name",
    {
      "domain.devices.gpus[0]": { name: "g", deviceName: "v/d" },
      "domain.devices.hostDevices[0]": { name: "g", deviceName: "v/d" },
    },
    `domain.devices.hostDevices[0].name ${DUPLICATE}`,
  ],
  [
    "a device of two sources",
    { "domain.devices.gpus[0]": { name: "g", deviceName: "v/d", claimName: "c" } },
    `domain.devices.gpus[0].deviceName ${INVALID}`,
  ],
  [
    "a device of no claim",
    { "domain.devices.gpus[0]": { name: "g", claimName: "c", requestName: "r" } },
    `domain.devices.gpus[0].claimName ${INVALID}`,
  ],
];
