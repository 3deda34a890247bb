export type { DoorEvent } from "./door-event.ts";
export type {
  GuestFileSystem,
  GuestFileSystemList,
  GuestOsInfo,
  GuestUser,
  GuestUserList,
} from "./guest-info.ts";
export type { MachinePhase, MachineRef, MachineReport } from "./machine-report.ts";
export type {
  DoorCredentials,
  DoorOptions,
  MachineSize,
  MachineVerb,
  NodeDoor,
  StreamOptions,
} from "./node-door.ts";
export { DEFAULT_PORT, STREAM_PROTOCOL } from "./door-requests.ts";
export { openDoor } from "./open-door.ts";
export { UploadFrames } from "./upload-frames.ts";
export {
  FILLER_CONTAINER,
  FILLER_LABEL,
  FILL_PLACES,
  giveOrderSchema,
  mostFetched,
  mostUnpacked,
  readCopyWord,
  readVolumeWord,
  volumeOrderSchema,
} from "./volume-order.ts";
export type { CopyWord, GiveOrder, ImportReport, VolumeOrder, VolumeWord } from "./volume-order.ts";
