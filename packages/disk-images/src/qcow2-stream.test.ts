import { kindOf } from "@trine/base";
import { expect, test } from "vitest";
import { Qcow2Stream } from "./qcow2-stream.ts";
import { qcow2Bytes } from "./testing.ts";

const MIB = 1024 * 1024;

interface Made {
  readonly clusterBits: number;
  /** Each leads to a cluster of its own, the next after the one before. */
  readonly entries: number;
}

/** A header, an L1 table after it as long as that is, and a length that has room for what it names. */
function made({ clusterBits, entries }: Made): {
  readonly stream: Qcow2Stream;
  readonly l1: Buffer;
} {
  const cluster = 2 ** clusterBits;
  const perTable = cluster / 8;
  const l1 = Buffer.alloc(Math.ceil((entries * 8) / cluster) * cluster);
  const first = cluster + l1.length;
  for (let index = 0; index < entries; index += 1) {
    const at = first + index * cluster;
    l1.writeUInt32BE(Math.floor(at / 2 ** 32), index * 8);
    l1.writeUInt32BE(at % 2 ** 32, index * 8 + 4);
  }
  const head = qcow2Bytes({
    ...{ clusterBits, l1Entries: entries, l1Offset: BigInt(cluster) },
    refcountTableOffset: BigInt(cluster),
    virtualSizeBytes: BigInt(entries) * BigInt(perTable * cluster),
  }).subarray(0, cluster);
  const whole = Buffer.concat([head, Buffer.alloc(cluster - head.length)]);
  const stream = new Qcow2Stream(whole, first + entries * cluster);
  expect([...stream.push(whole)].length).toBe(1);
  return { stream, l1 };
}

test("a table that is named takes memory when it comes", () => {
  const { stream, l1 } = made({ clusterBits: 21, entries: 1_024 });
  const before = process.memoryUsage().arrayBuffers;
  // All of them together would be two gibibytes.
  expect([...stream.push(l1)]).toEqual([]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MIB);
});

test("a disk whose tables come one after the other is brought to its places", () => {
  const { stream, l1 } = made({ clusterBits: 12, entries: 3 });
  expect([...stream.push(l1)]).toEqual([]);
  for (let table = 0; table < 3; table += 1) {
    for (const part of [1_000, 3_096]) expect([...stream.push(Buffer.alloc(part))]).toEqual([]);
  }
  expect([...stream.end()]).toEqual([]);
});

test("what was not where it is looked for is brought to its place at the end", () => {
  const cluster = 4_096;
  const bytes = Buffer.alloc(5 * cluster);
  const fields = { clusterBits: 12, l1Entries: 1, l1Offset: BigInt(cluster) };
  const size = BigInt(3 * cluster - 512);
  qcow2Bytes({ ...fields, refcountTableOffset: BigInt(cluster), virtualSizeBytes: size })
    .subarray(0, cluster)
    .copy(bytes);
  bytes.writeBigUInt64BE(BigInt(3 * cluster), cluster);
  // The disk's last cluster, which it has not all of, lies before the table, its first after it.
  bytes.writeBigUInt64BE(BigInt(4 * cluster), 3 * cluster);
  bytes.writeBigUInt64BE(BigInt(2 * cluster), 3 * cluster + 16);
  bytes.fill("late", 2 * cluster, 3 * cluster);
  bytes.fill("soon", 4 * cluster);
  const stream = new Qcow2Stream(bytes, bytes.length);
  const streamed = [...stream.push(bytes)];
  expect(streamed.filter(({ guest }) => guest)).toEqual([
    { guest: true, at: 0, bytes: bytes.subarray(4 * cluster) },
  ]);
  expect(streamed.filter(({ guest }) => !guest).map(({ at }) => at)).toEqual([0, 2 * cluster]);
  expect([...stream.end()]).toEqual([{ from: 2 * cluster, to: 2 * cluster, bytes: cluster - 512 }]);
});

test("what names more than can be kept in mind goes another way", () => {
  const { stream, l1 } = made({ clusterBits: 12, entries: 2 ** 20 + 1 });
  expect(kindThrown(() => [...stream.push(l1)])).toBe("unimplemented");
  const head = qcow2Bytes({ clusterBits: 12, l1Entries: 512, l1Offset: 4_096n });
  expect(kindThrown(() => new Qcow2Stream(head, 2 ** 40))).toBe("nothing");
  expect(kindThrown(() => new Qcow2Stream(head, 2 ** 40 + 1))).toBe("unimplemented");
});

function kindThrown(work: () => unknown): string {
  try {
    work();
  } catch (cause) {
    return kindOf(cause);
  }
  return "nothing";
}
