import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createOverlay } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Pod } from "../pod.ts";
import { FIRST_UID, OnePod } from "../testing/test-engine.ts";
import type { CreateTask } from "../requests.ts";

const MIB = 1024 * 1024;
const PROCESS = { id: "c1", execId: "" };
let one: OnePod;
let volume: string;

beforeEach(async () => {
  one = await OnePod.make({ annotations: { "io.kubernetes.cri.container-type": "sandbox" } });
  volume = join(one.dir, "volume");
  await mkdir(volume);
  await writeFile(join(volume, "file"), "");
});
afterEach(() => one[Symbol.asyncDispose]());

type Mount = Readonly<{ destination: string; source: string; type: string; options: string[] }>;

const bindOf = (source: string, destination: string): Mount => {
  return { destination, source, type: "bind", options: ["rbind"] };
};

async function task(
  annotations: Record<string, string> = {},
  mounts?: readonly Mount[],
): Promise<CreateTask> {
  const bundle = await one.bundle("c1", {
    hostname: "pod1",
    annotations,
    linux: {},
    mounts: mounts ?? [
      { ...bindOf(volume, "/data"), options: ["rbind", "ro"] },
      bindOf(join(volume, "file"), "/one"),
    ],
  });
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  return { id: "c1", bundle, rootfs: [], terminal: false, stdin: false };
}

/** The machine starts and ends, and nothing of it is left. */
async function expectNoTraceAfter(pod: Pod): Promise<void> {
  await pod.start(PROCESS, AbortSignal.timeout(60_000));
  one.shim.end("vmm", { exitStatus: 0 });
  await pod.delete(PROCESS);
  expect(one.shim.mounted.size).toBe(0);
  expect(one.shim.children.size).toBe(0);
  expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
}

test("volumes are mounted for a server that sees them, its libraries and nothing else, and are taken off again", async () => {
  const pod = await one.engine().pod(one.ref);
  await pod.create(await task());
  const share = join(one.podDir, "share");
  expect(await readdir(share)).toEqual(["data", "one"]);
  const server = one.shim.spawned.find(({ key }) => key === "shares");
  expect(server?.argv).toEqual([
    ...["/virtiofsd", "--fd=3", "--rlimit-nofile=0", "-o"],
    "source=/share,sandbox=chroot,cache=auto,xattr,announce_submounts,modcaps=-mknod",
  ]);
  expect(server).toMatchObject({ env: [], uid: 0, keepCapabilities: true });
  expect(server?.jail).toMatchObject({ newNetwork: true, newPid: true });
  const seen = server?.jail?.binds.map(({ source, writable }) => `${source} ${writable}`) ?? [];
  const libraries = /^\/(usr\/)?lib(64|\/x86_64-linux-gnu) false$/;
  expect(seen.filter((each) => !libraries.test(each))).toEqual([
    `${process.execPath} false`,
    ...["/proc/self/fd", "/proc/self/task", "/proc/self/mountinfo"].map((path) => `${path} false`),
    ...["/proc/sys/fs/file-max", "/proc/sys/fs/nr_open", share].map((path) => `${path} false`),
  ]);
  expect((await stat(join(one.podDir, "machine/shares.sock"))).uid).toBe(FIRST_UID);

  await expectNoTraceAfter(pod);
});

test("a machine that is not made leaves no server and no mount", async () => {
  one.shim.failOnce("spawn");
  const pod = await one.engine().pod(one.ref);
  await expect(pod.create(await task())).rejects.toThrow(/injected into spawn/);
  expect(one.shim.mounted.size).toBe(0);
  expect(one.shim.children.size).toBe(0);
  expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
});

test("a daemon that comes after the one that made them takes them off", async () => {
  const first = one.engine();
  await (await first.pod(one.ref)).create(await task());
  await first.detach();
  const pod = await one.engine().pod(one.ref);
  await pod.delete(PROCESS);
  expect(one.shim.mounted.size).toBe(0);
  expect(one.shim.children.size).toBe(0);
});

test.each<Record<string, string>>([{}, { "trine.dev/shares": "9p", "trine.dev/agent": "on" }])(
  "a Create that was cut off before it was written down is repeated (%j)",
  async (settings) => {
    const { state, revision } = one.shim;
    const asked = await task(settings);
    const first = one.engine();
    await (await first.pod(one.ref)).create(asked);
    await first.detach();
    Object.assign(one.shim, { state, revision }); // what it had said of the machine was not kept
    const [old] = [...one.shim.children.values()];
    const pod = await one.engine().pod(one.ref);
    await pod.create(asked);
    const [server, ...others] = [...one.shim.children.values()];
    expect(others).toEqual([]);
    expect(server).toMatchObject({ key: "shares", running: true });
    expect(server?.pid).not.toBe(old?.pid);
  },
);

test("a volume with a tag is a file system of its own, whose server sees nothing else", async () => {
  const pod = await one.engine().pod(one.ref);
  await pod.create(await task({ "trine.dev/share-tags": '{"app.1": /data}' }));
  const dir = join(one.podDir, "file-systems/app.1");
  expect([...one.shim.mounted.keys()]).toContain(dir);
  expect(await readdir(join(one.podDir, "share"))).toEqual(["one"]);
  const shared = one.shim.spawned.flatMap(({ key, jail }) =>
    (jail?.binds ?? [])
      .filter(({ target }) => target === "/share")
      .map(({ source, writable }) => [key, source, writable]),
  );
  expect(shared).toEqual([
    ["shares", join(one.podDir, "share"), false],
    ["shares-0", dir, false],
  ]);
  expect((await stat(join(one.podDir, "machine/shares-0.sock"))).uid).toBe(FIRST_UID);
  const seed = await readFile(join(one.podDir, "seed.iso"), "latin1");
  expect(seed).toContain("own ro 'app.1' '/data'\n");
  expect(seed).toContain("put file rw '/run/trine/shares/one' '/one'\n");

  await expectNoTraceAfter(pod);
});

test.each([
  ["{a: /nowhere}", "no volume for the guest is mounted at /nowhere; there are /data, /one"],
  ["{a: /one}", "what is mounted at /one is a file"],
])(
  "a tag of what is no directory among them is refused, and nothing is left: %s",
  async (tags, why) => {
    const pod = await one.engine().pod(one.ref);
    await expect(pod.create(await task({ "trine.dev/share-tags": tags }))).rejects.toThrow(why);
    expect(one.shim.mounted.size).toBe(0);
    expect(one.shim.children.size).toBe(0);
    expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
  },
);

test("file systems that lie in each other are mounted from the outermost on, in whatever order the tags are", async () => {
  const pod = await one.engine().pod(one.ref);
  const tags = { "trine.dev/share-tags": "{logs: /data/app/logs, data: /data}" };
  const places = ["/data/app/logs", "/data/app", "/data"].map((to) => bindOf(volume, to));
  await pod.create(await task(tags, places));
  const seed = await readFile(join(one.podDir, "seed.iso"), "latin1");
  expect(seed.split("\n").filter((line) => /^(own|put) /.test(line))).toEqual([
    "own rw 'data' '/data'",
    "put directory rw '/run/trine/shares/data-app' '/data/app'",
    "own rw 'logs' '/data/app/logs'",
  ]);
});

const EIGHT = Array.from({ length: 8 }, (_, index) => `v${index}`);

test.each([
  ["a tag without any volume", ["app"], [], "no volume for the guest is mounted at /app"],
  [
    "more file systems than a machine has",
    EIGHT,
    [...EIGHT, "token"],
    "has 8 tags, and the other volumes (/token) are a file system together: a machine has at most 8",
  ],
])("%s: refused by name, and nothing is left", async (_, tags, places, why) => {
  const pod = await one.engine().pod(one.ref);
  const words = Object.fromEntries(tags.map((tag) => [tag, `/${tag}`]));
  const asked = await task(
    { "trine.dev/share-tags": JSON.stringify(words) },
    places.map((name) => bindOf(volume, `/${name}`)),
  );
  await expect(pod.create(asked)).rejects.toThrow(`trine.dev/share-tags: ${why}`);
  expect(one.shim.children.size).toBe(0);
  expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
});

test("9p: served over the guest link by the microvms' server, with no device; the seed's agent mounts them", async () => {
  const pod = await one.engine().pod(one.ref);
  await pod.create(await task({ "trine.dev/shares": "9p", "trine.dev/agent": "on" }));
  const server = one.shim.spawned.find(({ key }) => key === "shares");
  expect(server?.argv).toEqual(["/trine-p9", "--listen-fd", "3", "--root", "/share"]);
  const listens = { path: join(one.podDir, "p9.sock"), mode: 0o600, serves: "9p" };
  expect(server?.descriptors[0]?.source).toMatchObject({ case: "listen", value: listens });
  expect(await readdir(join(one.podDir, "share"))).toEqual(["data", "one"]);
  const seed = await readFile(join(one.podDir, "seed.iso"), "latin1");
  expect(seed).toContain("directory\tro\tdata\t/data\nfile\trw\tone\t/one\n");
  expect(seed).not.toContain("mount -t virtiofs");

  await expectNoTraceAfter(pod);
});

test("9p: a server that ends alone is started again, under a machine that is paused, too, and again when that failed", async () => {
  const engine = one.engine();
  const pod = await engine.pod(one.ref);
  await pod.create(await task({ "trine.dev/shares": "9p", "trine.dev/agent": "on" }));
  await pod.start(PROCESS, AbortSignal.timeout(60_000));
  const until = (count: number): Promise<true> =>
    pollUntil(`it was started ${count} times`, { ms: 30_000 }, () => {
      const of = one.shim.spawned.filter(({ key }) => key === "shares");
      return of.length >= count && one.shim.children.get("shares")?.running === true
        ? true
        : undefined;
    });
  await until(1);
  await pod.pause("c1", AbortSignal.timeout(60_000));
  one.shim.end("shares", { exitStatus: 1 });
  await until(2);
  one.shim.failOnce("spawn");
  one.shim.end("shares", { exitStatus: 1 });
  await until(3);
  // A daemon that was away meanwhile finds it missing.
  await engine.detach();
  one.shim.end("shares", { exitStatus: 1 });
  const again = await one.engine().pod(one.ref);
  await until(4);
  one.shim.end("vmm", { exitStatus: 0 });
  await again.delete(PROCESS);
  expect(one.shim.children.size).toBe(0);
});

test("9p without the agent is refused with the reason", async () => {
  const pod = await one.engine().pod(one.ref);
  await expect(pod.create(await task({ "trine.dev/shares": "9p" }))).rejects.toThrow(
    /trine\.dev\/shares.*"9p".*trine\.dev\/agent has to be on/,
  );
});

test("off: nothing is mounted or started", async () => {
  const pod = await one.engine().pod(one.ref);
  await pod.create(await task({ "trine.dev/shares": "off" }));
  expect(one.shim.spawned).toEqual([]);
});
