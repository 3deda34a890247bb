import { mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createOverlay } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import { OnePod } from "../testing/test-engine.ts";
import type { CreateTask } from "../requests.ts";

const MIB = 1024 * 1024;
const DEADLINE = { ms: 60_000, everyMs: 50 };
const DISKS = [
  "- {name: both, file: /vol/both.img, shared: true, cache: none}",
  "- {name: data, file: /vol/data.img}",
  "- {name: fixed, file: /vol/fixed.img, readOnly: true}",
].join("\n");
let one: OnePod;
let volume: string;

beforeEach(async () => {
  one = await OnePod.make({ annotations: { "io.kubernetes.cri.container-type": "sandbox" } });
  volume = join(one.dir, "volume");
  await mkdir(volume);
});
afterEach(() => one[Symbol.asyncDispose]());

async function task(): Promise<CreateTask> {
  const bundle = await one.bundle("c1", {
    hostname: "pod1",
    annotations: { "trine.dev/disks": DISKS },
    linux: {},
    mounts: [{ destination: "/vol", source: volume, type: "bind", options: ["rbind"] }],
  });
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  return { id: "c1", bundle, rootfs: [], terminal: false, stdin: false };
}

test("a file that grows is shown so to the guest, in whole sectors; one that is only read, or others write, is not", async () => {
  // The double of the shim mounts nothing: what its mounts would show.
  for (const name of ["both", "data", "fixed"]) {
    const place = join(one.podDir, "disks", name);
    await mkdir(place, { recursive: true });
    await writeFile(join(place, `${name}.img`), Buffer.alloc(MIB));
  }
  const pod = await one.engine().pod(one.ref);
  await pod.create(await task());
  await pod.start({ id: "c1", execId: "" }, AbortSignal.timeout(60_000));
  const told = (bytes: number): Promise<true> =>
    pollUntil("the guest is told", DEADLINE, () =>
      Promise.resolve(one.driver.diskBytes.get("data") === bytes ? true : undefined),
    );
  for (const name of ["both", "data"]) {
    await truncate(join(one.podDir, "disks", name, `${name}.img`), 3 * MIB + 1);
  }
  await told(3 * MIB + 512);
  expect([...one.driver.diskBytes.keys()]).toEqual(["data"]);
}, 120_000);
