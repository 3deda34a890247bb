import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isMounted, isSame, runningInstance } from "./instance.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-lxcfs-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** As /proc shows a process: its start is the 22nd field. */
async function process(pid: number, name: string, state: string, began: string): Promise<void> {
  await mkdir(join(dir, String(pid)), { recursive: true });
  const fields = Array.from({ length: 18 }, (_, index) => String(index));
  const text = `${pid} (${name}) ${state} ${fields.join(" ")} ${began} 1 2\n`;
  await writeFile(join(dir, String(pid), "stat"), text);
}

function running(): ReturnType<typeof runningInstance> {
  return runningInstance(join(dir, "pid"), dir);
}

test("a lxcfs is its process and when that began; a dead one, none, and another program are none", async () => {
  expect(running()).toBeUndefined();
  await writeFile(join(dir, "pid"), "77\n");
  expect(running()).toBeUndefined();
  await process(77, "lxcfs", "S", "900");
  expect(running()).toEqual({ pid: 77, began: "900" });
  await process(77, "lxcfs", "Z", "900");
  expect(running()).toBeUndefined();
  await process(77, "a) (lxcfs x", "S", "900");
  expect(running()).toBeUndefined();
  for (const bad of ["", "-1", "x", "1.5"]) {
    await writeFile(join(dir, "pid"), bad);
    expect(running()).toBeUndefined();
  }
});

test("a number that came again is another lxcfs", () => {
  expect(isSame({ pid: 7, began: "1" }, { pid: 7, began: "2" })).toBe(false);
  expect(isSame({ pid: 7, began: "1" }, { pid: 7, began: "1" })).toBe(true);
  expect(isSame(undefined, { pid: 7, began: "1" })).toBe(false);
});

test("of what is mounted at its place the uppermost counts", async () => {
  const line = (point: string, type: string): string =>
    `30 20 0:9 / ${point} rw,nosuid shared:1 - ${type} lxcfs rw\n`;
  const file = join(dir, "mountinfo");
  const mounted = async (...lines: string[]): Promise<boolean> => {
    await writeFile(file, lines.join(""));
    return isMounted("/run/l", file);
  };
  expect(await mounted(line("/run", "tmpfs"))).toBe(false);
  expect(await mounted(line("/run/l", "fuse.lxcfs"))).toBe(true);
  expect(await mounted(line("/run/l", "fuse.lxcfs"), line("/run/l", "tmpfs"))).toBe(false);
  expect(await mounted(line("/run/l2", "fuse.lxcfs"))).toBe(false);
  const bound = "31 20 0:9 /run/l /elsewhere rw - fuse.lxcfs /run/l rw\n";
  expect(await mounted(bound)).toBe(false);
  expect(await mounted(line("/run/l", "fuse.lxcfs"), bound)).toBe(true);
});
