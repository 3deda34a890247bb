import { execFile, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pollUntil } from "@trine/base";
import { findMachineDisk, inspectImage, writeImageLayout } from "./index.ts";

const run = promisify(execFile);
const reference = "images.example/machines/small:1.0";
let dir: string;
let disk: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-import-"));
  disk = join(dir, "small.qcow2");
  await run("qemu-img", ["create", "-q", "-f", "qcow2", disk, "1G"]);
  await run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 5M", disk]);
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

test("skopeo reads the archive", async () => {
  const archive = join(dir, "archive.tar");
  const info = await inspectImage(disk);
  await writeImageLayout({ file: disk, info, reference }, createWriteStream(archive));
  const { stdout } = await run("skopeo", ["inspect", `oci-archive:${archive}`]);
  expect(JSON.parse(stdout)).toMatchObject({
    Architecture: "amd64",
    Os: "linux",
    Labels: {
      "trine.dev/machine": "true",
      "trine.dev/image-format": "qcow2",
      "trine.dev/virtual-size": String(1024 ** 3),
    },
  });
});

test("containerd imports the stream and shows the disk in the image's root", async () => {
  await withContainerd(async (ctr) => {
    const child = spawn("ctr", [...ctr, "images", "import", "-"], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    const info = await inspectImage(disk);
    await writeImageLayout({ file: disk, info, reference }, child.stdin);
    expect(await ended).toBe(0);
    const { stdout } = await run("ctr", [...ctr, "images", "ls", "-q"]);
    expect(stdout.trim()).toBe(reference);

    const mounted = join(dir, "rootfs");
    await mkdir(mounted);
    await run("ctr", [...ctr, "images", "mount", reference, mounted]);
    try {
      const found = await findMachineDisk(mounted);
      expect(found).toBe(join(mounted, "disk/disk.qcow2"));
      expect((await readFile(found)).equals(await readFile(disk))).toBe(true);
    } finally {
      await run("umount", [mounted]);
    }
  });
});

/** A containerd of this test's own, without CRI; `use` gets the words that lead ctr to it. */
async function withContainerd(use: (ctr: string[]) => Promise<void>): Promise<void> {
  const socket = join(dir, "c.sock");
  const config = join(dir, "config.toml");
  await writeFile(
    config,
    `version = 2
root = "${join(dir, "root")}"
state = "${join(dir, "state")}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${socket}"
`,
  );
  const child = spawn("containerd", ["--config", config], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    const ctr = ["--address", socket, "--namespace", "k8s.io"];
    await pollUntil("containerd answers", { ms: 30_000 }, () =>
      run("ctr", [...ctr, "version"]).then(
        () => true,
        () => undefined,
      ),
    );
    await use(ctr);
  } finally {
    child.kill();
    await ended;
  }
}
