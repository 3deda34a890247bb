import { dirname } from "node:path";
import { TrineError } from "@trine/base";
import { slotNames } from "./machine-spec.ts";
import type { DiskSpec, MachineSpec, SlotImage, SlotName } from "./machine-spec.ts";

/**
 * Kind `notFound` when the machine has no such slot; `invalid` for an image that does not lie in the slots'
 * directory or is written other than the slot.
 */
export function checkSlotImage(spec: MachineSpec, name: SlotName, image?: SlotImage): void {
  const { id, slots } = spec;
  if (slots === undefined || !slotNames(slots).includes(name)) {
    throw new TrineError("notFound", `machine ${id} has no slot ${name}`);
  }
  if (image === undefined) return;
  if (dirname(image.path) !== slots.dir) {
    throw new TrineError(
      "invalid",
      `${name} of machine ${id}: ${image.path} is not in ${slots.dir}`,
    );
  }
  if (image.readOnly !== name.startsWith("slot-ro-")) {
    throw new TrineError("invalid", `${name} of machine ${id}: readOnly is ${image.readOnly}`);
  }
}

/** Kind `notFound` or `invalid` for a slot whose size cannot be told, or not so. */
export function checkSlotSize(
  spec: MachineSpec,
  name: SlotName,
  bytes: number,
  overlay: string | undefined,
): void {
  checkSlotImage(spec, name);
  const isWritable = name.startsWith("slot-rw-");
  const isTold = isWritable === (overlay === undefined);
  if (!isTold || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw new TrineError(
      "invalid",
      `${name} of machine ${spec.id}: ${bytes} bytes: not to be told`,
    );
  }
}

/** The disk of that name. Kind `notFound`; `invalid` for one that does not grow: not raw, or not written. */
export function growingDisk(spec: MachineSpec, name: string, bytes: number): DiskSpec {
  const disk = spec.disks.find((each) => each.name === name);
  if (disk === undefined)
    throw new TrineError("notFound", `machine ${spec.id} has no disk ${name}`);
  const isRaw = disk.format === "raw" && !disk.readOnly;
  if (isRaw && Number.isSafeInteger(bytes) && bytes % SECTOR === 0) return disk;
  const what = `disk ${name} of machine ${spec.id}: ${bytes} bytes`;
  throw new TrineError("invalid", `${what}: a raw disk that is written grows, by sectors`);
}

const SECTOR = 512;
const MIB = 1024 * 1024;
/** Least piece that memory grows by: a huge page of x86. */
export const MEMORY_STEP = 2 * MIB;

/** Kind `invalid` for a size outside what the machine was made with. */
export function checkTarget(spec: MachineSpec, what: "memory" | "cpus", target: number): void {
  const [least, most, step] =
    what === "memory"
      ? [spec.memoryBytes, spec.memoryMaxBytes ?? spec.memoryBytes, MEMORY_STEP]
      : [spec.cpus, spec.maxCpus ?? spec.cpus, 1];
  if (target >= least && target <= most && (target - least) % step === 0) return;
  throw new TrineError(
    "invalid",
    `machine ${spec.id}: ${what} of ${target}: ${least} to ${most} in steps of ${step}`,
  );
}
