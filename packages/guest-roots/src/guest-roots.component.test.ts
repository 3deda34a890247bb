// The real containerd, trine-rootfs and mkfs.erofs: who builds, what a build leaves that does not end well, and
// when files go.
import { chmod, mkdir, readdir, stat, truncate, writeFile } from "node:fs/promises";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createImageStore } from "@trine/containerd-client";
import { DIST, busyboxImage, runCommand, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { GuestRoots } from "./guest-roots.ts";
import type { GuestRootsOptions, RootSource } from "./guest-roots.ts";

const MIB = 1024 * 1024;
const NAMESPACE = "k8s.io";
const BUILDER_UID = 1_900_009_999;

let base: string;
let containerd: Containerd;
let image: string;
let dir: string;
let now: number;
let roots: GuestRoots | undefined;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "tr-"));
  containerd = await startContainerd({ version: "1.6", dir: join(base, "c") });
  const busybox = await busyboxImage();
  image = busybox.name;
  await containerd.importImage(busybox);
  await ctr("containers", "create", "--runtime", "io.containerd.runc.v2", image, "c1");
}, 600_000);

afterAll(async () => {
  expect(await containerd.stop()).toEqual([]);
  await rm(base, { recursive: true });
});

beforeEach(async () => {
  dir = await mkdtemp(join(base, "roots-"));
  now = 0;
});

afterEach(async () => {
  await roots?.close();
  roots = undefined;
  expect(await readdir(join(dir, "making"))).toEqual([]);
  const { leases } = await createImageStore(containerd.socket, NAMESPACE).leases.list({});
  expect(leases.filter(({ id }) => id.startsWith("trine-root-"))).toEqual([]);
});

async function ctr(...args: string[]): Promise<string> {
  return runCommand("ctr", ["--address", containerd.socket, "--namespace", NAMESPACE, ...args]);
}

async function open(change: Partial<GuestRootsOptions["builder"]> = {}): Promise<GuestRoots> {
  const program = join(DIST, "bin/trine-rootfs");
  const usual = { program, mkfs: "/usr/bin/mkfs.erofs", uid: BUILDER_UID, maxBytes: 64 * MIB };
  const log = pino({ level: "silent" });
  const builder = { ...usual, ...change };
  roots = await GuestRoots.open({ dir, log, builder, layerBytes: 64 * MIB, now: () => now });
  return roots;
}

/** The container's root as a shim is given it. */
async function source(): Promise<RootSource> {
  const words = (await ctr("snapshots", "mounts", "/nowhere", "c1")).trim().split(/\s+/);
  const options = (words[words.indexOf("-o") + 1] ?? "").split(",");
  const mounts = [{ type: "overlay", source: "overlay", options }];
  return { containerd: containerd.socket, namespace: NAMESPACE, id: "c1", mounts };
}

async function program(name: string, script: string): Promise<string> {
  const path = join("/usr/local/lib", `${name}-${process.pid}`);
  await writeFile(path, `#!/usr/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

const imageFiles = async (): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name.endsWith(".erofs"));

test("several who ask at once have one file made, which all may read", async () => {
  const asked = await open();
  const from = await source();
  const answers = await Promise.all([asked.find(from), asked.find(from), asked.find(from)]);
  expect(answers.map(({ kind }) => kind)).toEqual(["building", "building", "building"]);
  await asked.settled();
  const answer = await asked.find(from);
  if (answer.kind !== "ready") throw new Error(answer.kind);
  const { mode, uid } = await stat(answer.image);
  expect([mode & 0o777, uid]).toEqual([0o644, 0]);
  expect(await imageFiles()).toHaveLength(1);
  // And a later daemon finds it.
  await asked.close();
  expect((await (await open()).find(from)).kind).toBe("ready");
}, 120_000);

test("a build that is killed leaves nothing; the next start makes the file", async () => {
  const hanging = await program("trine-hangs", "while :; do :; done");
  try {
    const asked = await open({ mkfs: hanging });
    expect((await asked.find(await source())).kind).toBe("building");
    await pollUntil("it works", { ms: 30_000 }, async () =>
      (await readdir(join(dir, "making"))).length > 0 ? true : undefined,
    );
    await asked.close();
    expect(await imageFiles()).toEqual([]);
  } finally {
    await rm(hanging);
  }
  const asked = await open();
  expect((await asked.find(await source())).kind).toBe("building");
  await asked.settled();
  expect((await asked.find(await source())).kind).toBe("ready");
}, 120_000);

test("a file that would be too large is not made, and not tried again at once", async () => {
  const asked = await open({ maxBytes: MIB });
  await asked.find(await source());
  await asked.settled();
  expect(await imageFiles()).toEqual([]);
  expect(await asked.find(await source())).toMatchObject({ kind: "none" });
  now += 11 * 60_000;
  expect((await asked.find(await source())).kind).toBe("building");
  await asked.settled();
}, 120_000);

test("a full disk ends a build", async () => {
  await runCommand("mount", ["-t", "tmpfs", "-o", "size=1m", "small", dir]);
  try {
    const asked = await open();
    await asked.find(await source());
    await asked.settled();
    expect(await imageFiles()).toEqual([]);
    expect((await asked.find(await source())).kind).toBe("none");
    expect(await readdir(join(dir, "making"))).toEqual([]);
    await asked.close();
  } finally {
    await runCommand("umount", [dir]);
    await mkdir(join(dir, "making"));
  }
}, 120_000);

test("what an earlier daemon was killed over is removed, with its lease", async () => {
  const first = await open();
  await first.find(await source());
  await first.settled();
  await first.close();
  const [file = ""] = await imageFiles();
  const hex = file.slice("v1-".length, -".erofs".length);
  const { leases } = createImageStore(containerd.socket, NAMESPACE);
  await leases.create({ id: `trine-root-${hex}`, labels: {} });
  await rm(join(dir, file));
  await writeFile(join(dir, "making", `${hex}.erofs`), "half");
  await open();
  await pollUntil("all of it is gone", { ms: 30_000 }, async () =>
    (await readdir(dir)).join() === "making" ? true : undefined,
  );
}, 120_000);

test("a file that was cut short is not used but made again", async () => {
  const asked = await open();
  await asked.find(await source());
  await asked.settled();
  const [file = ""] = await imageFiles();
  const { size } = await stat(join(dir, file));
  await truncate(join(dir, file), size - 4096);
  expect((await asked.find(await source())).kind).toBe("building");
  await asked.settled();
  expect((await stat(join(dir, file))).size).toBe(size);
}, 120_000);
