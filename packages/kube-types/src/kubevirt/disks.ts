import { featureState } from "./features.ts";
import { type Infer, boolean, integer, known, needed, object, string } from "../schema/schema.ts";

const diskTarget = object({
  bus: known("virtio", "sata", "scsi", "usb"),
  readonly: boolean(),
  pciAddress: string(),
});

const lunTarget = object({
  bus: known("virtio", "sata", "scsi", "usb"),
  readonly: boolean(),
  reservation: boolean(),
});

const cdRomTarget = object({
  bus: known("virtio", "sata", "scsi", "usb"),
  readonly: boolean(),
  tray: known("open", "closed"),
});

const customBlockSize = object({
  logical: integer({ minimum: 0 }),
  physical: integer({ minimum: 0 }),
  discardGranularity: integer({ minimum: 0 }),
});

export const blockSize = object({ custom: customBlockSize, matchVolume: featureState });

export const disk = object({
  name: needed(string()),
  disk: diskTarget,
  lun: lunTarget,
  cdrom: cdRomTarget,
  bootOrder: integer({ minimum: 0 }),
  serial: string(),
  dedicatedIOThread: boolean(),
  cache: known("none", "writethrough", "writeback"),
  io: known("threads", "native"),
  tag: string(),
  blockSize,
  shareable: boolean(),
  errorPolicy: known("stop", "ignore", "report", "enospace"),
  changedBlockTracking: boolean(),
});
export type Disk = Infer<typeof disk>;

const filesystemVirtiofs = object({});

export const filesystem = object({ name: needed(string()), virtiofs: needed(filesystemVirtiofs) });
