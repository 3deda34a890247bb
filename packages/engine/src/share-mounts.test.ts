import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ShimLink } from "@trine/shim-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountShare, planVolumes } from "./share-mounts.ts";
import { FakeShim } from "./testing/fake-shim.ts";

let dir: string;
let fake: FakeShim;
let shim: ShimLink;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-sm-"));
  fake = new FakeShim({ sandboxId: "p", bundle: dir, podDir: join(dir, "pod") });
  await fake.listen();
  shim = await ShimLink.open(fake.address, AbortSignal.timeout(10_000));
});

afterEach(async () => {
  shim.close();
  await fake.die();
  await rm(dir, { recursive: true });
});

async function mount(readOnlyBelow: boolean): Promise<void> {
  const source = join(dir, "volume");
  await writeFile(source, "");
  const how = { source, readOnly: true, readOnlyBelow, follows: false };
  const names = ["one", "two"].map((name) => ({ ...how, name }));
  await mountShare(shim, await planVolumes(fake.pod.podDir, names));
}

test("what is to be read-only with all below it is so, or nothing is mounted", async () => {
  await mount(true);
  expect([...fake.mounted]).toEqual(["one", "two"].map((name) => join(fake.pod.podDir, name)));
  fake.mounted.clear();
  fake.features = []; // of a release before
  await expect(mount(true)).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringMatching(/shim \(fake\) cannot .* yet: delete the pod/) as string,
  });
  expect(fake.mounted.size).toBe(0);
  await mount(false);
  expect(fake.mounted.size).toBe(2);
});
