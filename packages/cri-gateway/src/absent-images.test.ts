// Image calls to a back end that is away, or has just come, on real HTTP/2 servers.
import { pollUntil } from "@trine/base";
import {
  ImageStatusRequestSchema,
  ImageStatusResponseSchema,
  PullImageRequestSchema,
  PullImageResponseSchema,
} from "@trine/proto/cri/api";
import { afterEach, expect, test } from "vitest";
import type { Behaviour } from "./testing.ts";
import { Rig, WAIT_MS } from "./testing.ts";
import { bytesField } from "./wire.ts";

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const UNAVAILABLE = 14;
const PULL = [PullImageRequestSchema, PullImageResponseSchema] as const;
const IMAGE = { image: { image: "virtlet.cloud/x" } };
const RULES = { rules: [{ imagePrefix: "virtlet.cloud/", backEnd: "b" }] };
const pulled: Behaviour = () => [bytesField(1, "sha256:x")];

function startRig(): Promise<Rig> {
  return Rig.start(
    { a: { PullImage: pulled, RemoveImage: () => [Buffer.alloc(0)] }, b: { PullImage: pulled } },
    {
      absent: ["b"],
      routing: RULES,
    },
  );
}

test("defect 6: an image call to a back end that is away fails", async () => {
  rig = await startRig();
  const status = [ImageStatusRequestSchema, ImageStatusResponseSchema] as const;
  for (const answer of [
    await rig.client.call("PullImage", PULL, IMAGE),
    await rig.client.call("ImageStatus", status, IMAGE),
    await rig.client.call("RemoveImage", status, IMAGE),
  ]) {
    expect(answer.code).toBe(UNAVAILABLE);
    expect(answer.messages).toEqual([]);
  }
  expect(rig.backEnd("a").calls("PullImage")).toEqual([]);
});

test("defect 7: of calls at once each has the outcome of its own connection, away and come back", async () => {
  rig = await startRig();
  const atOnce = (): Promise<unknown[]> =>
    Promise.all(
      Array.from({ length: 8 }, async () => {
        const { code, value } = await rig.client.call("PullImage", PULL, IMAGE);
        return [code, value.imageRef];
      }),
    );
  expect(await atOnce()).toEqual(Array.from({ length: 8 }, () => [UNAVAILABLE, ""]));
  await rig.backEnd("b").start();
  await pollUntil("b is connected", { ms: WAIT_MS }, () =>
    rig.gateway.backEnds().every(({ down }) => down === undefined) ? true : undefined,
  );
  expect(await atOnce()).toEqual(Array.from({ length: 8 }, () => [0, "sha256:x"]));
  expect(rig.backEnd("b").calls("PullImage")).toHaveLength(8);
  expect(rig.backEnd("a").calls("PullImage")).toEqual([]);
});
