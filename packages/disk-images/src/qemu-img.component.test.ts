import { execFile } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { pollUntil } from "@trine/base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createOverlay, inspectImage } from "./index.ts";
import { HOSTILE_IMAGES, qcow2Bytes, writeImageFile } from "./testing.ts";

const run = promisify(execFile);
const MIB = 1024 * 1024;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-qemu-img-"));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

const info = async (path: string) => {
  const { stdout } = await run("qemu-img", ["info", "--output=json", "-f", "qcow2", path]);
  return JSON.parse(stdout) as Record<string, unknown>;
};

describe("an overlay", () => {
  test.each([
    [16, 1024 ** 3],
    [16, 64 * 1024 ** 4],
    [9, 64 * 1024 ** 3],
    [21, 64 * 1024 ** 4],
    [16, 1_000_448],
  ])("of cluster bits %i and %i bytes is clean", async (clusterBits, virtualSizeBytes) => {
    const path = join(dir, "check.qcow2");
    await createOverlay(path, { virtualSizeBytes, clusterBits });
    const { stdout } = await run("qemu-img", ["check", "-f", "qcow2", path]);
    expect(stdout).toContain("No errors were found");
    const said = await info(path);
    expect(said).toMatchObject({
      "virtual-size": virtualSizeBytes,
      "cluster-size": 2 ** clusterBits,
    });
    expect(said["backing-filename"]).toBeUndefined();
    expect(said["dirty-flag"]).toBe(false);
  });

  test("over a smaller base reads the base, then zeros, and keeps writes to itself", async () => {
    const base = join(dir, "base.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", base, "8M"]);
    await run("qemu-io", ["-f", "qcow2", "-c", "write -P 0xaa 0 8M", base]);
    const overlay = join(dir, "overlay.qcow2");
    await createOverlay(overlay, { virtualSizeBytes: 64 * MIB });
    const io = (...commands: string[]) =>
      run("qemu-io", [
        "--image-opts",
        ...commands.flatMap((command) => ["-c", command]),
        `driver=qcow2,file.driver=file,file.filename=${overlay},backing.driver=qcow2,backing.file.driver=file,backing.file.filename=${base}`,
      ]);
    await io("read -P 0xaa 0 8M", "read -P 0 8M 56M");
    await io("write -P 0xbb 4k 4k", "write -P 0xcc 60M 1M");
    await io(
      "read -P 0xaa 0 4k",
      "read -P 0xbb 4k 4k",
      "read -P 0xaa 8k 56k",
      "read -P 0xcc 60M 1M",
    );
    await run("qemu-io", ["-f", "qcow2", "-r", "-c", "read -P 0xaa 0 8M", base]);
    const { stdout } = await run("qemu-img", ["check", "-f", "qcow2", overlay]);
    expect(stdout).toContain("No errors were found");
    expect(await info(overlay)).not.toHaveProperty("backing-filename");
    expect((await stat(overlay)).blocks * 512).toBeLessThan(4 * MIB);
  });
});

describe("we read as qemu-img writes", () => {
  test.each([
    ["qcow2", ["-o", "compat=0.10"]],
    ["qcow2", ["-o", "compat=1.1,lazy_refcounts=on"]],
    ["qcow2", ["-o", "cluster_size=4k,refcount_bits=1"]],
    ["qcow2", ["-o", "cluster_size=2M"]],
    ["qcow2", ["-o", "extended_l2=on"]],
    ["qcow2", ["-o", "compression_type=zstd"]],
    ["qcow2", ["-o", "preallocation=metadata"]],
    ["raw", []],
  ])("%s %j", async (format, options) => {
    const path = join(dir, "made");
    await run("qemu-img", ["create", "-q", "-f", format, ...options, path, "1G"]);
    await run("qemu-io", ["-f", format, "-c", "write -P 1 0 3M", "-c", "write 700M 1M", path]);
    expect(await inspectImage(path, { checkTables: true })).toMatchObject({
      format,
      virtualSizeBytes: 1024 ** 3,
    });
  });

  test("compressed, with an internal snapshot; and cut off at any place it is refused", async () => {
    const source = join(dir, "source");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", source, "1G"]);
    await run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 4M", "-c", "write 900M 2M", source]);
    const packed = join(dir, "packed");
    await run("qemu-img", ["convert", "-c", "-O", "qcow2", source, packed]);
    await run("qemu-img", ["snapshot", "-c", "one", packed]);
    const { fileSizeBytes } = await inspectImage(packed, { checkTables: true });
    expect((await info(source))["virtual-size"]).toBe(1024 ** 3);
    for (const part of [0.1, 0.4, 0.7]) {
      await run("cp", [source, packed]);
      await run("truncate", ["-s", String(Math.floor((fileSizeBytes * part) / 512) * 512), packed]);
      await expect(inspectImage(packed, { checkTables: true })).rejects.toThrow(/truncated/);
    }
  });
});

describe("what we refuse, qemu-img refuses too or calls another format", () => {
  // These QEMU opens: for reading only, with a password or a second file, or as far as anybody looks.
  const opened = new RegExp(
    "backing file|LUKS|AES|corrupt|half a sector|no size|reserved bits|unaligned|far away|cut off|" +
      "snapshots|extension|data file|header length|64 TiB|no refcount table",
  );
  test.each(HOSTILE_IMAGES.filter(({ name }) => name.startsWith("QCOW2") && !opened.test(name)))(
    "$name",
    async ({ bytes }) => {
      const path = writeImageFile(join(dir, "hostile"), bytes());
      await expect(info(path)).rejects.toThrow(/Could not open/);
    },
  );

  test("a good image from the same hands is clean", async () => {
    const path = writeImageFile(join(dir, "good"), qcow2Bytes());
    const { stdout } = await run("qemu-img", ["check", "-f", "qcow2", path]);
    expect(stdout).toContain("No errors were found");
  });

  test.each(["vmdk", "vdi", "vhdx", "vpc", "qed", "qcow", "parallels"])(
    "%s, by its name",
    async (format) => {
      const path = join(dir, `foreign.${format}`);
      await run("qemu-img", ["create", "-q", "-f", format, path, "64M"]);
      await expect(inspectImage(path)).rejects.toMatchObject({ kind: "invalid" });
    },
  );

  test("a fixed VHD, a LUKS disk, encrypted and data-file QCOW2 of QEMU's own making", async () => {
    const path = join(dir, "own");
    const make = (...args: string[]) => run("qemu-img", ["create", "-q", ...args]);
    await make("-f", "vpc", "-o", "subformat=fixed", path, "4M");
    await expect(inspectImage(path)).rejects.toThrow(/VHD disk of fixed size/);
    // qemu-img measures its own speed for the key, and gives up where the clock of its thread stands still.
    const encrypt = (...args: string[]) =>
      pollUntil("qemu-img encrypts", { ms: 30_000, everyMs: 100 }, () =>
        make(...args).then(
          () => true,
          () => undefined,
        ),
      );
    const secret = ["--object", "secret,id=s,data=x"];
    const fast = "iter-time=10";
    await encrypt("-f", "luks", ...secret, "-o", `key-secret=s,${fast}`, path, "4M");
    await expect(inspectImage(path)).rejects.toThrow(/LUKS/);
    const luks = `encrypt.format=luks,encrypt.key-secret=s,encrypt.${fast}`;
    await encrypt("-f", "qcow2", ...secret, "-o", luks, path, "4M");
    await expect(inspectImage(path)).rejects.toThrow(/encrypted \(LUKS\)/);
    await make("-f", "qcow2", "-o", `data_file=${join(dir, "data")}`, path, "4M");
    await expect(inspectImage(path)).rejects.toThrow(/external data file/);
    await make("-f", "qcow2", "-b", join(dir, "good"), "-F", "qcow2", join(dir, "child"));
    await expect(inspectImage(join(dir, "child"))).rejects.toThrow(/backing file ".*good"/);
  });
});
