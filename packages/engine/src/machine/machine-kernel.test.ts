import { mkdir, readFile, readdir, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createOverlay } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import { OnePod } from "../testing/test-engine.ts";
import type { CreateTask } from "../requests.ts";

let one: OnePod;
let volume: string;

beforeEach(async () => {
  one = await OnePod.make({ annotations: { "io.kubernetes.cri.container-type": "sandbox" } });
  volume = join(one.dir, "volume");
  await mkdir(volume);
  await writeFile(join(volume, "initrd"), "of the volume");
});
afterEach(() => one[Symbol.asyncDispose]());

async function task(annotations: Record<string, string>): Promise<CreateTask> {
  const bundle = await one.bundle("c1", {
    hostname: "pod1",
    annotations: { "trine.dev/shares": "off", "trine.dev/machine": "c1", ...annotations },
    linux: {},
    mounts: [{ destination: "/boot/more", source: volume, type: "bind", options: ["rbind", "ro"] }],
  });
  const boot = join(bundle, "rootfs/boot");
  await mkdir(boot, { recursive: true });
  await writeFile(join(boot, "vmlinuz"), "of the image");
  await writeFile(join(boot, "initrd"), "the image's too");
  await writeFile(join(boot, "empty"), "");
  await writeFile(join(boot, "large"), "");
  await truncate(join(boot, "large"), 128 * 1024 * 1024 + 1);
  await symlink("/etc/passwd", join(boot, "link"));
  await symlink("/boot", join(boot, "away"));
  return { id: "c1", bundle, rootfs: [], terminal: false, stdin: false };
}

test("kernel and initrd are copied out of the image; without a disk in its image such a machine has none", async () => {
  const asked = await task({
    "trine.dev/kernel": "/boot/vmlinuz",
    "trine.dev/initrd": "/boot/initrd",
    "trine.dev/kernel-args": "a=$(b) 'c",
  });
  const layer = join(asked.bundle, "rootfs/.trine");
  await mkdir(layer, { recursive: true, mode: 0o700 });
  // What an image may bring.
  await symlink(join(volume, "initrd"), join(layer, "kernel"));
  const pod = await one.engine().pod(one.ref);
  await pod.create(asked);
  expect(await readFile(join(layer, "kernel"), "utf8")).toBe("of the image");
  expect(await readFile(join(layer, "initrd"), "utf8")).toBe("the image's too");
  expect(await readFile(join(volume, "initrd"), "utf8")).toBe("of the volume");
  expect(await readdir(layer)).toEqual(["initrd", "kernel"]);
  expect((await stat(join(layer, "kernel"))).mode & 0o777).toBe(0o444);
});

test.each([
  ["/boot/none", "does not exist"],
  ["/boot/link", "is a link"],
  ["/boot/away/vmlinuz", "is a link"],
  ["/boot", "is not a regular file"],
  ["/boot/empty", "is empty"],
  ["/boot/large", "is larger than 134217728 bytes"],
  ["/boot/more", "is a volume, and no file of it"],
])("what is no such file is refused, and nothing is left: %s", async (path, why) => {
  const pod = await one.engine().pod(one.ref);
  const asked = await task({ "trine.dev/kernel": path });
  await expect(pod.create(asked)).rejects.toThrow(why);
  expect(one.shim.mounted.size).toBe(0);
  expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
});

test("an image's disk is the machine's, beside a kernel", async () => {
  const asked = await task({ "trine.dev/kernel": "/boot/vmlinuz" });
  await mkdir(join(asked.bundle, "rootfs/disk"));
  const disk = join(asked.bundle, "rootfs/disk/disk.qcow2");
  await createOverlay(disk, { virtualSizeBytes: 8 * 1024 * 1024 });
  const pod = await one.engine().pod(one.ref);
  await pod.create(asked);
  expect(await readdir(join(asked.bundle, "rootfs/.trine"))).toContain("root.qcow2");
});
