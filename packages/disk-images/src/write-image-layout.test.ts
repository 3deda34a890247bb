import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { appendFile, mkdtemp, open, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { inspectImage, writeImageLayout } from "./index.ts";
import { tarHeader } from "./tar-header.ts";
import { qcow2Bytes, rawDiskBytes, writeImageFile } from "./testing.ts";

const reference = "images.example/machines/small:1.0";
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-layout-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function pack(bytes: Buffer): Promise<{ layout: string; file: string }> {
  const file = writeImageFile(join(dir, "disk.img"), bytes);
  const archive = join(dir, "archive.tar");
  await writeImageLayout(
    { file, info: await inspectImage(file), reference },
    createWriteStream(archive),
  );
  const layout = join(dir, "layout");
  execFileSync("mkdir", [layout]);
  execFileSync("tar", ["-xf", archive, "-C", layout]);
  return { layout, file };
}

const readJson = async (path: string) =>
  JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;

test.each([
  ["qcow2", qcow2Bytes(), "disk/disk.qcow2"],
  ["raw", Buffer.concat([rawDiskBytes(), Buffer.alloc(513)]), "disk/disk.img"],
])("packs a %s disk as a layout whose digests hold", async (format, bytes, name) => {
  const { layout, file } = await pack(bytes);
  const index = await readJson(join(layout, "index.json"));
  const [entry] = index["manifests"] as { digest: string; annotations: Record<string, string> }[];
  expect(entry?.annotations["io.containerd.image.name"]).toBe(reference);
  const blob = (digest: string) => join(layout, "blobs", digest.replace(":", "/"));
  const manifest = (await readJson(blob(entry?.digest ?? ""))) as unknown as {
    config: { digest: string; size: number };
    layers: { digest: string; size: number }[];
  };
  for (const { digest, size } of [manifest.config, ...manifest.layers]) {
    const content = await readFile(blob(digest));
    expect(content.length).toBe(size);
    expect(`sha256:${createHash("sha256").update(content).digest("hex")}`).toBe(digest);
  }
  const config = await readJson(blob(manifest.config.digest));
  expect(config).toMatchObject({
    rootfs: { diff_ids: [manifest.layers[0]?.digest] },
    config: { Labels: { "trine.dev/machine": "true", "trine.dev/image-format": format } },
  });
  const layer = blob(manifest.layers[0]?.digest ?? "");
  const listing = execFileSync("tar", ["-tvf", layer], { encoding: "utf8" });
  expect(listing).toMatch(
    new RegExp(`^dr-xr-xr-x root/root .*\n-r--r----- root/root .* ${name}\n$`),
  );
  expect(execFileSync("tar", ["-xOf", layer, name], { maxBuffer: 8 << 20 })).toEqual(
    await readFile(file),
  );
});

test("refuses a file that is another by now, or changes while it is read", async () => {
  const file = writeImageFile(join(dir, "disk.img"), rawDiskBytes());
  const info = await inspectImage(file);
  const sink = () =>
    new Writable({
      write: (_chunk, _encoding, done) => {
        done();
      },
    });
  await appendFile(file, "x");
  await expect(writeImageLayout({ file, info, reference }, sink())).rejects.toMatchObject({
    kind: "conflict",
  });

  const again = await inspectImage(file);
  const handle = await open(file, "r+");
  const meddling = new Writable({
    write: (_chunk, _encoding, done) => {
      handle.write("y", 0).then(() => {
        done();
      }, done);
    },
  });
  await expect(writeImageLayout({ file, info: again, reference }, meddling)).rejects.toThrow(
    /changed while it was read/,
  );
  await handle.close();
});

test("a sink that fails, an abort, a link and a bad name end it with their reason", async () => {
  const file = writeImageFile(join(dir, "disk.img"), rawDiskBytes());
  const info = await inspectImage(file);
  const failing = new Writable({
    write: (_chunk, _encoding, done) => {
      done(new Error("no room"));
    },
  });
  await expect(writeImageLayout({ file, info, reference }, failing)).rejects.toThrow(/no room/);
  const sink = new Writable();
  await expect(
    writeImageLayout({ file, info, reference }, sink, AbortSignal.abort()),
  ).rejects.toMatchObject({ kind: "canceled" });
  await symlink(file, join(dir, "link"));
  await expect(
    writeImageLayout({ file: join(dir, "link"), info, reference }, sink),
  ).rejects.toThrow(/symbolic link/);
  await expect(
    writeImageLayout({ file, info, reference: "-bad\nname" }, sink),
  ).rejects.toMatchObject({ kind: "invalid" });
});

test("a size that a plain header cannot say goes before it", () => {
  const sizeBytes = 10 * 1024 ** 3;
  const header = tarHeader({ name: "big", mode: 0o440, sizeBytes, type: "file" });
  expect(header.length).toBe(3 * 512);
  expect(header.toString("latin1", 512, 512 + 19)).toBe("20 size=10737418240\n".slice(0, 19));
  expect(header.toString("latin1", 1024, 1027)).toBe("big");
});
