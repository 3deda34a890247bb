import type { DiskSpec } from "@trine/vmm";
import { expect, test } from "vitest";
import { diskThreads } from "./plan-threads.ts";

function disk(name: string, bus: DiskSpec["bus"] = "virtio", ownThread = false): DiskSpec {
  const file = { format: "raw", path: `/${name}`, readOnly: true } as const;
  return { name, bus, ...file, ...(ownThread ? { ownThread } : {}) };
}

test.each<[string, number | undefined, DiskSpec[], string]>([
  ["no threads", undefined, [disk("a"), disk("s", "scsi")], ""],
  ["one for all", 1, [disk("a"), disk("b"), disk("s", "scsi")], "a:io-0 b:io-0 scsi:io-0"],
  [
    "in turn, and those that have their own",
    2,
    [disk("a"), disk("b", "virtio", true), disk("c"), disk("d")],
    "a:io-0 b:io-of-b c:io-1 d:io-0",
  ],
  ["no more than there are disks", 16, [disk("a"), disk("x", "sata")], "a:io-0"],
  [
    "a controller whose disk has its own",
    1,
    [disk("s", "scsi"), disk("t", "scsi", true), disk("a")],
    "a:io-0 scsi:io-scsi",
  ],
  ["its own and none for the rest", undefined, [disk("a", "virtio", true), disk("b")], "a:io-of-a"],
])("threads: %s", (_, ioThreads, disks, dealt) => {
  const hardware = ioThreads === undefined ? {} : { ioThreads };
  const { names, disks: of, scsi } = diskThreads({ disks, hardware });
  const said = [...of].map(([name, thread]) => `${name}:${thread}`);
  expect([...said, ...(scsi === undefined ? [] : [`scsi:${scsi}`])].join(" ")).toBe(dealt);
  const used = new Set([...of.values(), ...(scsi === undefined ? [] : [scsi])]);
  expect([...names].sort()).toEqual([...used].sort());
});
