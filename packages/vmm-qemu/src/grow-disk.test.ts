import type { QmpClient } from "@trine/qmp";
import { expect, test } from "vitest";
import { growDisk } from "./grow-disk.ts";

const MIB = 1024 * 1024;
const signal = AbortSignal.timeout(5_000);

/** Answers as QEMU does for one raw node; what it was asked to change goes to `asked`. */
function qemu(has: number): { client: QmpClient; asked: unknown[] } {
  const asked: unknown[] = [];
  const nodes = [
    { "node-name": "disk-data-file", file: "/dev/fdset/9", image: { "virtual-size": 9 * MIB } },
    { "node-name": "disk-data", file: "/dev/fdset/9", image: { "virtual-size": has } },
  ];
  const execute = (name: string, given: unknown): Promise<unknown> => {
    if (name === "query-named-block-nodes") return Promise.resolve(nodes);
    asked.push([name, given]);
    return Promise.resolve({});
  };
  return { client: { execute } as unknown as QmpClient, asked };
}

test("a disk that has grown is told to the guest, its header not counted", async () => {
  const { client, asked } = qemu(4 * MIB);
  const disk = { name: "data", offsetBytes: MIB };
  expect(await growDisk(client, disk, 8 * MIB, signal)).toBe(true);
  expect(asked).toEqual([["block_resize", { "node-name": "disk-data", size: 7 * MIB }]]);
});

test.each([
  ["as large as it was", 4 * MIB],
  ["smaller", 3 * MIB],
])("one that is %s is left alone", async (_, bytes) => {
  const { client, asked } = qemu(4 * MIB);
  expect(await growDisk(client, { name: "data" }, bytes, signal)).toBe(false);
  expect(asked).toEqual([]);
});
