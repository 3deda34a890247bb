// What kubelet is told of the disks of several stores.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { ImageFsInfoRequestSchema, ImageFsInfoResponseSchema } from "@trine/proto/cri/api";
import { afterEach, expect, test, vi } from "vitest";
import type { Behaviour } from "./testing.ts";
import { Rig, WAIT_MS } from "./testing.ts";

vi.setConfig({ testTimeout: 2 * WAIT_MS, hookTimeout: WAIT_MS });

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

type Uses = readonly (readonly [mountpoint: string, bytes: bigint, inodes: bigint])[];

function info(uses: () => Uses): Behaviour {
  return () => {
    const imageFilesystems = uses().map(([mountpoint, bytes, inodes]) => ({
      fsId: { mountpoint },
      usedBytes: { value: bytes },
      inodesUsed: { value: inodes },
    }));
    const schema = ImageFsInfoResponseSchema;
    return [toBinary(schema, create(schema, { imageFilesystems }))];
  };
}

async function told(): Promise<
  [number, [string | undefined, bigint | undefined, bigint | undefined][]]
> {
  const schemas = [ImageFsInfoRequestSchema, ImageFsInfoResponseSchema] as const;
  const { code, value } = await rig.client.call("ImageFsInfo", schemas, {});
  const entries = value.imageFilesystems.map(
    ({ fsId, usedBytes, inodesUsed }) =>
      [fsId?.mountpoint, usedBytes?.value, inodesUsed?.value] as [string, bigint, bigint],
  );
  return [code, entries];
}

test("defect 5: the first entry counts the stores on its file system, also of a back end that is away", async () => {
  let ours = "";
  rig = await Rig.start({
    a: {
      ImageFsInfo: info(() => [
        [join(ours, "a"), 100n, 10n],
        [join(ours, "a2"), 7n, 1n],
      ]),
    },
    b: {
      ImageFsInfo: info(() => [
        [join(ours, "b"), 30n, 3n],
        ["/proc", 5n, 5n],
      ]),
    },
    c: { ImageFsInfo: info(() => [[join(ours, "a"), 100n, 10n]]) }, // the same store, seen by another
  });
  ours = rig.dir;
  for (const name of ["a", "a2", "b"]) await mkdir(join(ours, name));
  const wanted = [
    [join(ours, "a"), 130n, 13n],
    [join(ours, "a2"), 7n, 1n], // a snapshotter of the same daemon, which kubelet never counted
    [join(ours, "b"), 30n, 3n],
    ["/proc", 5n, 5n], // another file system
  ];
  expect(await told()).toEqual([0, wanted]);
  await rig.backEnd("b").stop();
  expect(await told()).toEqual([0, wanted]);
});

test("a back end that is away and was never asked leaves the figure unknown", async () => {
  rig = await Rig.start(
    { a: { ImageFsInfo: info(() => [["/a", 1n, 1n]]) }, b: {} },
    { absent: ["b"] },
  );
  expect((await told())[0]).toBe(14);
});
