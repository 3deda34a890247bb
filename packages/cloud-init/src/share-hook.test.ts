import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { shareHook } from "./share-hook.ts";

const run = promisify(execFile);
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-share-hook-"));
});
afterEach(() => rm(dir, { recursive: true }));

/** The script in a directory of its own instead of the guest's root, with a mount(8) that only notes what it was told. */
async function mounted(script: string, status = 0): Promise<{ calls: string[]; said: string }> {
  const bin = join(dir, "bin");
  await mkdir(bin, { recursive: true });
  await writeFile(
    join(bin, "mount"),
    `#!/bin/sh\nfor a; do printf '%s|' "$a"; done >>"${dir}/calls"\necho >>"${dir}/calls"\nexit ${status}\n`,
  );
  await chmod(join(bin, "mount"), 0o755);
  const here = script
    .replaceAll("/run/trine", join(dir, "run"))
    .replaceAll("/dev/kmsg", join(dir, "said"));
  await writeFile(join(dir, "script"), here);
  const env = { PATH: `${bin}:/usr/bin:/bin` };
  await run("/bin/sh", [join(dir, "script")], { env }).catch(() => undefined); // its status is not what is looked at
  const text = async (name: string): Promise<string> =>
    readFile(join(dir, name), "utf8").catch(() => "");
  const calls = (await text("calls")).replaceAll(dir, "DIR").split("\n").filter(Boolean);
  return { calls, said: await text("said") };
}

const place = (name: string): string => join(dir, "root", name);

test("mounts the share, then each place, made as what it is, and read-only where said", async () => {
  const hook = shareHook({
    tag: "trine",
    mounts: [
      { name: "a", target: place("a b/it's"), kind: "directory", readOnly: false },
      { name: "f", target: place("etc/$(touch x).conf"), kind: "file", readOnly: true },
    ],
  });
  expect(hook.split("\n", 2)).toEqual(["#cloud-boothook", "#!/bin/sh"]);
  expect((await mounted(hook)).calls).toEqual([
    "-t|virtiofs|trine|DIR/run/shares|",
    "--bind|DIR/run/shares/a|DIR/root/a b/it's|",
    "--bind|DIR/run/shares/f|DIR/root/etc/$(touch x).conf|",
    "-o|remount,bind,ro|DIR/root/etc/$(touch x).conf|",
  ]);
  expect((await run("stat", ["-c", "%F", place("a b/it's")])).stdout).toBe("directory\n");
  expect(await readFile(place("etc/$(touch x).conf"), "utf8")).toBe("");
});

test("a second run of one boot does nothing", async () => {
  const hook = shareHook({
    tag: "t",
    mounts: [{ name: "a", target: place("a"), kind: "directory", readOnly: false }],
  });
  const first = await mounted(hook);
  expect((await mounted(hook)).calls).toEqual(first.calls);
});

test("a kernel without virtiofs is told of, and nothing is made", async () => {
  const hook = shareHook({
    tag: "t",
    mounts: [{ name: "a", target: place("a"), kind: "directory", readOnly: false }],
  });
  const { calls, said } = await mounted(hook, 32);
  expect(calls).toHaveLength(1);
  expect(said).toContain("trine: cannot mount the pod's volumes");
  await expect(readFile(place("a"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("a file system of its own is mounted by its tag, also beside one that this kernel has not", async () => {
  const own = [
    { tag: "app", target: place("etc/it's"), readOnly: true },
    { tag: "data", target: place("srv/data"), readOnly: false },
  ];
  expect((await mounted(shareHook(undefined, own))).calls).toEqual([
    "-t|virtiofs|app|DIR/root/etc/it's|",
    "-o|remount,bind,ro|DIR/root/etc/it's|",
    "-t|virtiofs|data|DIR/root/srv/data|",
  ]);
  await rm(join(dir, "run"), { recursive: true });
  await rm(join(dir, "calls"));
  const { calls, said } = await mounted(shareHook(undefined, own), 32);
  expect(calls).toHaveLength(2);
  expect(said.replaceAll(dir, "DIR")).toContain("trine: cannot mount data on DIR/root/srv/data");
});

test("parents come before children, whichever of them have tags", async () => {
  const tree = {
    tag: "t",
    mounts: [
      { name: "a", target: place("a"), kind: "directory", readOnly: false },
      { name: "c", target: place("a/b/c"), kind: "directory", readOnly: false },
    ] as const,
  };
  const own = [
    { tag: "d", target: place("a/b/c/d"), readOnly: false },
    { tag: "b", target: place("a/b"), readOnly: false },
  ];
  const at = (await mounted(shareHook(tree, own))).calls.map((call) => call.split("|").at(-2));
  expect(at).toEqual(
    ["run/shares", "root/a", "root/a/b", "root/a/b/c", "root/a/b/c/d"].map((to) => `DIR/${to}`),
  );
});
