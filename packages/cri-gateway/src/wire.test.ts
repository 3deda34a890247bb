import { create, toBinary } from "@bufbuild/protobuf";
import { RunPodSandboxRequestSchema } from "@trine/proto/cri/api";
import { expect, test } from "vitest";
import {
  Fields,
  bytesField,
  checkFields,
  itemsAt,
  mapAt,
  messageAt,
  numberAt,
  numberField,
  stringAt,
} from "./wire.ts";

const request = toBinary(
  RunPodSandboxRequestSchema,
  create(RunPodSandboxRequestSchema, {
    runtimeHandler: "runc",
    config: {
      metadata: { name: "web", uid: "u1", namespace: "default", attempt: 300 },
      annotations: { a: "1", b: "zwei" },
      linux: { securityContext: { privileged: true } },
    },
  }),
);

test("reads strings, numbers and maps where they lie", () => {
  expect(stringAt(request, 2)).toBe("runc");
  expect(stringAt(request, 1, 1, 2)).toBe("u1");
  expect(numberAt(request, 1, 1, 4)).toBe(300);
  expect(numberAt(request, 1, 8, 2, 6)).toBe(1);
  expect([...mapAt(request, 1, 7)]).toEqual([
    ["a", "1"],
    ["b", "zwei"],
  ]);
  expect(stringAt(request, 9, 9)).toBe("");
});

test("an appended field replaces a string and is merged into a message, as every decoder does", () => {
  const annotation = bytesField(7, Buffer.concat([bytesField(1, "a"), bytesField(2, "3")]));
  const changed = Buffer.concat([request, bytesField(2, "crun"), bytesField(1, annotation)]);
  expect(stringAt(changed, 2)).toBe("crun");
  expect(stringAt(changed, 1, 1, 1)).toBe("web");
  expect(mapAt(changed, 1, 7).get("a")).toBe("3");
  expect(itemsAt(messageAt(changed, 1), 7)).toHaveLength(3);
});

test("numbers of every length are written as they are read", () => {
  for (const value of [0, 127, 128, 16_384, 2 ** 31, 2 ** 53 - 1]) {
    expect(numberAt(numberField(15, value), 15)).toBe(value);
  }
});

test.each([
  ["a number that does not end", Buffer.from([0x08, 0x80])],
  ["a number of eleven bytes", Buffer.from([0x08, ...Array<number>(10).fill(0xff), 1])],
  ["a string longer than its message", Buffer.from([0x0a, 5, 65])],
  ["a length of 2^63", Buffer.from([0x0a, ...Array<number>(9).fill(0xff), 0x01])],
  ["a group", Buffer.from([0x0b, 0x0c])],
  ["a type there is not", Buffer.from([0x0f])],
  ["field 0", Buffer.from([0x00, 0x01])],
])("refuses %s", (_, bytes) => {
  expect(() => {
    checkFields(bytes);
  }).toThrow(expect.objectContaining({ kind: "malformed" }));
});

test("arbitrary bytes end in fields or in a refusal, and never read past their end", () => {
  let seed = 7;
  const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31);
  for (let round = 0; round < 2_000; round += 1) {
    const bytes = Buffer.from(Array.from({ length: next() % 40 }, () => next() & 0xff));
    try {
      const fields = new Fields(bytes);
      while (fields.next()) expect(fields.bytes().length).toBeLessThanOrEqual(bytes.length);
    } catch (cause) {
      expect(cause).toMatchObject({ kind: "malformed" });
    }
  }
});
