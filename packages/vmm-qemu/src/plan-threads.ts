import type { DiskSpec, MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";

/** What serves disks beside QEMU's main thread, whose name is undefined. */
export interface DiskThreads {
  /** In the order of their making. */
  readonly names: readonly string[];
  /** Of disks on virtio, by name. */
  readonly disks: ReadonlyMap<string, string>;
  /** Of the scsi controller. */
  readonly scsi?: string;
}

/**
 * Disks on virtio have a thread of their own, or one of the pool's in turn; the scsi controller is one more, and has its own where
 * one of its disks is to. QEMU 7.2 gives a disk one thread: a pool of more than there are disks has no use for the rest.
 */
export function diskThreads({
  disks,
  hardware = {},
}: Pick<MachineSpec, "disks" | "hardware">): DiskThreads {
  const { ioThreads = 0 } = hardware;
  const pool: string[] = [];
  let dealt = 0;
  const next = (): string | undefined => {
    if (ioThreads === 0) return undefined;
    const name = `io-${dealt++ % ioThreads}`;
    if (!pool.includes(name)) pool.push(name);
    return name;
  };
  const own: string[] = [];
  const give = (isOwn: boolean, name: string): string | undefined => {
    if (!isOwn) return next();
    own.push(name);
    return name;
  };
  const isOn = (bus: DiskSpec["bus"]): DiskSpec[] => disks.filter((disk) => disk.bus === bus);
  const virtio = isOn("virtio").flatMap(({ name, ownThread }): [string, string][] => {
    const thread = give(ownThread === true, `io-of-${name}`);
    return thread === undefined ? [] : [[name, thread]];
  });
  const onScsi = isOn("scsi");
  const isOwn = onScsi.some(({ ownThread }) => ownThread === true);
  const scsi = onScsi.length === 0 ? undefined : give(isOwn, "io-scsi");
  const names = [...pool, ...own];
  return { names, disks: new Map(virtio), ...(scsi === undefined ? {} : { scsi }) };
}

export function threadArguments({ names }: DiskThreads): string[] {
  return names.flatMap((id) => ["-object", option("iothread", { id })]);
}

/** Of virtio-blk; virtio-scsi spells it num_queues. */
export function queuesOf({ cpus, hardware }: MachineSpec): number | undefined {
  return hardware?.diskQueues === true ? cpus : undefined;
}
