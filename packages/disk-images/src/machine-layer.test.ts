import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { imageDocuments, machineLayer } from "./index.ts";
import { qcow2Bytes, rawDiskBytes } from "./testing.ts";
import { tarHeader } from "./tar-header.ts";

test.each([
  ["qcow2", qcow2Bytes(), "disk/disk.qcow2"],
  ["raw", Buffer.concat([rawDiskBytes(), Buffer.alloc(513)]), "disk/disk.img"],
] as const)("frames a %s disk as a tar archive that others read", async (format, bytes, name) => {
  const dir = await mkdtemp(join(tmpdir(), "trine-layer-"));
  try {
    const layer = machineLayer({ format, fileSizeBytes: bytes.length });
    const all = Buffer.concat([layer.prefix, bytes, layer.suffix]);
    expect(all.length).toBe(layer.sizeBytes);
    await writeFile(join(dir, "layer.tar"), all);
    const tar = (...args: string[]): string =>
      execFileSync("tar", [...args, "-f", join(dir, "layer.tar")], { encoding: "utf8", cwd: dir });
    expect(tar("-tv", "--numeric-owner")).toMatch(
      new RegExp(`^dr-xr-xr-x 0/0 .* disk/\\n-r--r----- 0/0 .* ${name}\\n$`),
    );
    tar("-x");
    expect((await readFile(join(dir, name))).equals(bytes)).toBe(true);
  } finally {
    execFileSync("chmod", ["-R", "u+w", dir]);
    await rm(dir, { recursive: true });
  }
});

test("describes the image so that every digest holds", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const { config, manifest } = imageDocuments({
    architecture: "amd64",
    info: { format: "raw", virtualSizeBytes: 1024, fileSizeBytes: 1024, bootable: "mbr" },
    layer: { digest, sizeBytes: 9 },
  });
  for (const { digest: said, bytes } of [config, manifest]) {
    expect(said).toBe(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
  }
  expect(JSON.parse(manifest.bytes.toString())).toMatchObject({
    config: { digest: config.digest, size: config.bytes.length },
    layers: [{ digest, size: 9 }],
  });
  expect(JSON.parse(config.bytes.toString())).toMatchObject({
    config: { Labels: { "trine.dev/machine": "true", "trine.dev/virtual-size": "1024" } },
    rootfs: { diff_ids: [digest] },
  });
});

test("sizes beyond eight GiB go into an extended header", () => {
  const sizeBytes = 9 * 1024 ** 3;
  const header = tarHeader({ name: "disk/disk.img", mode: 0o440, sizeBytes, type: "file" });
  expect(header.toString("latin1")).toContain(`19 size=${sizeBytes}\n`);
});
