// Volumes filled in containers of a pod, by the node's own importer on the real containerd, shims, trined, runc and qemu-img.
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import type { RequestListener, Server } from "node:http";
import { mkdir, mkdtemp, open, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pollUntil } from "@trine/base";
import { UploadFrames } from "@trine/node-door";
import type { VolumeOrder } from "@trine/node-door";
import { TrineNode, busyboxImage, runCommand } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LoopDevice } from "./loop-device.ts";
import { PodOfMany } from "./mixed-pod.ts";
import type { PodContainer } from "./mixed-pod.ts";

const MIB = 1024 * 1024;
const STEP_MS = 120_000;

describe.each(["1.6", "2.4"] as const)("imports, containerd %s", (version) => {
  let node: TrineNode;
  let image: string;
  let server: Server;
  let origin: string;
  let serve: RequestListener;
  /** What the disk is to hold: 3 MiB of noise, a hole, an end. */
  let disk: Buffer;
  let qcow2: Buffer;
  let dir: string;
  let pod: PodOfMany;
  let count = 0;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "tvi-"));
    const busybox = await busyboxImage();
    image = busybox.name;
    node = await TrineNode.start({ version });
    await node.containerd.importImage(busybox);
    disk = Buffer.alloc(16 * MIB);
    randomBytes(3 * MIB).copy(disk);
    disk.write("the end", 16 * MIB - 512);
    await writeFile(join(dir, "disk.raw"), disk);
    await runCommand("qemu-img", [
      ...["convert", "-f", "raw", "-O", "qcow2", "-c"],
      ...[join(dir, "disk.raw"), join(dir, "disk.qcow2")],
    ]);
    qcow2 = await readFile(join(dir, "disk.qcow2"));
    const { gateway } = node.containerd.bridge;
    server = createServer((request, response) => {
      serve(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, gateway, resolve));
    origin = `http://${gateway}:${(server.address() as { port: number }).port}`;
  }, 1_800_000);

  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await rm(dir, { recursive: true });
    expect(await node.stop()).toEqual([]);
  }, 300_000);

  beforeEach(async () => {
    serve = (_request, response) =>
      response.writeHead(200, { etag: '"1"', "content-length": qcow2.length }).end(qcow2);
    count += 1;
    pod = await PodOfMany.make(node, {
      name: `import-${count}`,
      annotations: { "trine.dev/imports": "import" },
    });
    for (const name of ["volume", "work"]) await mkdir(join(dir, `${name}-${count}`));
    await writeFile(join(dir, `said-${count}`), "");
  });

  afterEach(() => pod.remove());

  const at = (name: string): string => join(dir, `${name}-${count}`);

  /** The container as trine-control writes it. */
  function importing(
    order: Partial<VolumeOrder> & Pick<VolumeOrder, "source">,
    more: Partial<PodContainer> = {},
  ): Promise<RunningPod> {
    const whole = { version: 1, id: "one", target: "/volume", sizeBytes: 32 * MIB, ...order };
    const { mounts = [{ containerPath: "/volume", hostPath: at("volume") }], ...rest } = more;
    return pod.start({
      name: "import",
      image,
      command: ["import", JSON.stringify(whole)],
      mounts: [
        ...mounts,
        { containerPath: "/work", hostPath: at("work") },
        { containerPath: "/dev/termination-log", hostPath: at("said") },
      ],
      ...rest,
    });
  }

  async function ended(container: RunningPod): Promise<{ code: number; said: string }> {
    const { exitCode } = await node.ended(container, STEP_MS);
    return { code: exitCode, said: await readFile(at("said"), "utf8") };
  }

  const http = (checksum?: string): VolumeOrder["source"] => ({
    kind: "http",
    url: `${origin}/disk.qcow2`,
    ...(checksum === undefined ? {} : { checksum }),
  });

  const sumOf = (bytes: Buffer): string =>
    `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

  test("a QCOW2 from a URL becomes disk.img, as large as asked, and once only", async () => {
    const first = await importing({ source: http(sumOf(qcow2)) });
    expect(await ended(first)).toEqual({ code: 0, said: "" });
    const made = await readFile(join(at("volume"), "disk.img"));
    expect(made.length).toBe(32 * MIB);
    expect(made.subarray(0, disk.length).equals(disk)).toBe(true);
    expect((await stat(join(at("volume"), "disk.img"))).blocks * 512).toBeLessThan(8 * MIB);
    expect((await readdir(at("volume"))).sort()).toEqual([".trine-import", "disk.img"]);
    // A machine has written; kubelet runs the container once more, also with another directory of the pod's.
    await writeFile(join(at("volume"), "disk.img"), "of the guest");
    await pod.removeContainer(first);
    await rm(join(at("work"), ".trine-import"));
    serve = (_request, response) => response.writeHead(500).end();
    const again = await importing({ source: http() }, { attempt: 1 });
    expect((await ended(again)).code).toBe(0);
    expect(await readFile(join(at("volume"), "disk.img"), "utf8")).toBe("of the guest");
  }, 600_000);

  test("what is to have its space from the beginning has it, with what it holds", async () => {
    const order = { source: http(), preallocate: true } as const;
    expect(await ended(await importing(order))).toEqual({ code: 0, said: "" });
    const path = join(at("volume"), "disk.img");
    const made = await readFile(path);
    expect(made.length).toBe(32 * MIB);
    expect(made.subarray(0, disk.length).equals(disk)).toBe(true);
    expect((await stat(path)).blocks * 512).toBeGreaterThanOrEqual(32 * MIB);
  }, 600_000);

  test("a QCOW2 and a packed raw disk fill a block device, whatever it held", async () => {
    await using loop = await LoopDevice.make(at("loop"), 20 * MIB);
    await runCommand("dd", [
      "if=/dev/urandom",
      `of=${loop.path}`,
      "bs=1M",
      "count=20",
      "status=none",
    ]);
    const devices = [{ containerPath: "/dev/volume", hostPath: loop.path, permissions: "mrw" }];
    const order = { target: "/dev/volume", sizeBytes: 20 * MIB };
    const first = await importing({ ...order, source: http() }, { devices, mounts: [] });
    expect(await ended(first)).toEqual({ code: 0, said: "" });
    const holds = async (): Promise<Buffer> => {
      await using handle = await open(loop.path, "r");
      const { buffer } = await handle.read(Buffer.alloc(disk.length), 0, disk.length, 0);
      return buffer;
    };
    expect((await holds()).equals(disk)).toBe(true);
    await pod.removeContainer(first);
    const packed = gzipSync(disk);
    serve = (_request, response) => response.writeHead(200).end(packed);
    await loop.write("other bytes");
    const other = { ...order, id: "two", source: http() };
    expect((await ended(await importing(other, { devices, mounts: [], attempt: 1 }))).code).toBe(0);
    expect((await holds()).equals(disk)).toBe(true);
  }, 600_000);

  test("a wrong checksum, a disk that is too large and a full volume leave nothing and say why", async () => {
    const wrong = await importing({ source: http(sumOf(disk)) });
    const first = await ended(wrong);
    expect(first.code).toBe(1);
    expect(JSON.parse(first.said)).toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("checksum is sha256:") as string,
    });
    await pod.removeContainer(wrong);
    const large = await importing({ source: http(), sizeBytes: 8 * MIB }, { attempt: 1 });
    expect(JSON.parse((await ended(large)).said)).toMatchObject({
      message: expect.stringContaining(
        "the disk has 16777216 bytes, the volume takes 8388608",
      ) as string,
    });
    await pod.removeContainer(large);
    expect(await readdir(at("volume"))).toEqual([]);
    await runCommand("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", at("volume")]);
    try {
      const full = await importing({ source: http() }, { attempt: 2 });
      expect(JSON.parse((await ended(full)).said)).toMatchObject({
        kind: "exhausted",
        message: expect.stringMatching(/space/) as string,
      });
      expect(await readdir(at("volume"))).toEqual([]);
    } finally {
      await runCommand("umount", ["-l", at("volume")]);
    }
  }, 600_000);

  test("a blank disk; and a copy of a volume, whatever its bytes look like", async () => {
    const blank = await importing({ source: { kind: "blank" } });
    expect((await ended(blank)).code).toBe(0);
    expect((await stat(join(at("volume"), "disk.img"))).size).toBe(32 * MIB);
    await pod.removeContainer(blank);
    const source = await mkdtemp(join(dir, "source-"));
    await writeFile(
      join(source, "disk.img"),
      Buffer.concat([qcow2, Buffer.alloc(512 - (qcow2.length % 512))]),
    );
    const copy = await importing(
      { id: "two", source: { kind: "volume", path: "/source" } },
      {
        attempt: 1,
        mounts: [
          { containerPath: "/volume", hostPath: at("volume") },
          { containerPath: "/source", hostPath: source, readonly: true },
        ],
      },
    );
    expect(await ended(copy)).toEqual({ code: 0, said: "" });
    const made = await readFile(join(at("volume"), "disk.img"));
    expect(made.subarray(0, qcow2.length).equals(qcow2)).toBe(true);
  }, 600_000);

  test("an import goes on while trined is dead, and one that was killed goes on where it was", async () => {
    const asked: (string | undefined)[] = [];
    let rest = (): void => undefined;
    serve = (request, response) => {
      const { range } = request.headers;
      asked.push(range);
      const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
      const headers = {
        etag: '"1"',
        "content-length": qcow2.length - start,
        ...(start === 0
          ? {}
          : { "content-range": `bytes ${start}-${qcow2.length - 1}/${qcow2.length}` }),
      };
      response
        .writeHead(start === 0 ? 200 : 206, headers)
        .write(qcow2.subarray(start, start + 2 * MIB));
      rest = () => response.end(qcow2.subarray(start + 2 * MIB));
    };
    const container = await importing({ source: http() });
    const isAt = (bytes: number): Promise<true> =>
      pollUntil("the download is there", { ms: STEP_MS }, async () => {
        const names = await readdir(at("work"));
        const found = names.find((name) => name.startsWith("trine-import-"));
        const file = found === undefined ? "" : join(at("work"), found, "download");
        const size = (await stat(file).catch(() => undefined))?.size ?? 0;
        return size >= bytes ? true : undefined;
      });
    await isAt(MIB);
    await node.killTrined();
    await node.containerd.cri.runtime.stopContainer({
      containerId: container.containerId,
      timeout: 0n,
    });
    await node.startTrined();
    await pod.removeContainer(container);
    const again = await importing({ source: http() }, { attempt: 1 });
    await pollUntil("it asks again", { ms: STEP_MS }, () => (asked.length > 1 ? true : undefined));
    await node.killTrined();
    rest();
    expect((await ended(again)).code).toBe(0);
    await node.startTrined();
    expect(asked[1]).toMatch(/^bytes=[1-9]/);
    const made = await readFile(join(at("volume"), "disk.img"));
    expect(made.subarray(0, disk.length).equals(disk)).toBe(true);
  }, 600_000);

  test("an upload becomes a disk when all of it has come, and is waited for until then", async () => {
    const container = await importing({ source: { kind: "upload" } });
    const path = await pollUntil("it waits for an upload", { ms: STEP_MS }, async () => {
      const pods = await readdir(join(node.stateDir, "pods"));
      const found = pods.map((name) =>
        join(node.stateDir, "pods", name, "imports/import/say/upload.sock"),
      );
      const there = await Promise.all(found.map((each) => stat(each).catch(() => undefined)));
      return found.find((_, index) => there[index] !== undefined);
    });
    const upload = async (...bytes: Buffer[]): Promise<string> => {
      const socket = connect({ path, allowHalfOpen: true });
      for (const each of bytes) socket.write(each);
      socket.end();
      return text(socket);
    };
    const parts = (bytes: Buffer): Buffer[] => UploadFrames.part(bytes);
    expect(await upload(...parts(qcow2))).toContain("cut off after");
    const garbage = Buffer.concat([qcow2.subarray(0, 4), Buffer.alloc(4_096, 0xff)]);
    expect(await upload(...parts(garbage), UploadFrames.end())).toMatch(
      /"kind":"(invalid|unimplemented)"/,
    );
    expect(await readdir(at("volume"))).toEqual([]);
    expect(await upload(...parts(qcow2), UploadFrames.end())).toBe(
      '{"received":true}\n{"done":true}\n',
    );
    expect((await ended(container)).code).toBe(0);
    const made = await readFile(join(at("volume"), "disk.img"));
    expect(made.subarray(0, disk.length).equals(disk)).toBe(true);
  }, 600_000);

  test("its program is the node's, whatever the pod's container says", async () => {
    const hostile = await pod.start({
      name: "import",
      image,
      command: ["/bin/sh", "-c", "echo mine"],
      mounts: [{ containerPath: "/work", hostPath: at("work") }],
    });
    expect((await node.ended(hostile, STEP_MS)).exitCode).toBe(1);
    const output = await node.output(hostile);
    expect(output).not.toMatch(/^mine/m);
    expect(output).toContain("the order is no JSON");
  }, 600_000);
});
