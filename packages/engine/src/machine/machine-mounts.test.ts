import type { DiskSetting } from "@trine/annotations";
import { expect, test } from "vitest";
import type { JsonObject } from "../json-shape.ts";
import { machineMounts } from "./machine-mounts.ts";

function bind(
  destination: string,
  source = `/src${destination}`,
  ...options: string[]
): JsonObject {
  return { destination, source, type: "bind", options: ["rbind", ...options] };
}

const seen = (mounts: readonly JsonObject[], ...disks: DiskSetting["source"][]): string[] =>
  machineMounts(
    { mounts },
    disks.map((source) => ({ source })),
  ).map(({ target, share }) => `${share.name} ${target} ${share.readOnly ? "ro" : "rw"}`);

test("volumes are named as their places, parents first, and keep their right", () => {
  const mounts = [bind("/a/b/c"), bind("/a/b"), bind("/etc/app/", "/s", "ro"), bind("/a-b")];
  expect(seen(mounts)).toEqual([
    "a-b /a-b rw",
    "a-b.2 /a/b rw",
    "etc-app /etc/app ro",
    "a-b-c /a/b/c rw",
  ]);
});

test("what a machine makes itself is not shared, nor is what only the node has", () => {
  const proc = { destination: "/proc", type: "proc", source: "proc" };
  const own = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/sys/x", "/dev"];
  expect(seen([proc, ...own.map((path) => bind(path)), bind("/device")])).toEqual([
    "device /device rw",
  ]);
});

test("a volume that holds a disk is the disk's alone", () => {
  const mounts = [bind("/vol"), bind("/vol/deep"), bind("/img"), bind("/other")];
  const file = { kind: "file", path: "/vol/deep/disk.img" } as const;
  expect(seen(mounts, file, { kind: "image", path: "/img" }, { kind: "empty" })).toEqual([
    "vol /vol rw",
    "other /other rw",
  ]);
});

test("later mounts of the node come along where the container says so", () => {
  const follows = (...options: string[]): boolean | undefined =>
    machineMounts({ mounts: [bind("/v", "/s", ...options)] }, [])[0]?.share.follows;
  expect(follows("rslave")).toBe(true);
  expect(follows("rprivate")).toBe(false);
});

test.each([
  [[bind("/v", "/s", "rshared")], /mount on \/v.*Bidirectional/],
  [[bind("/v", "relative")], /mount on \/v has no absolute source/],
  [[bind("/a\nb")], /mountPath "\/a\\nb": an absolute path of plain text/],
  [[bind("v")], /mountPath "v"/],
  [Array.from({ length: 257 }, (_, index) => bind(`/v${index}`)), /257 volumes.*at most 256/],
])("refuses %# with the reason", (mounts, says) => {
  expect(() => seen(mounts)).toThrow(says);
});

test("names are plain, whatever the places are", () => {
  const names = seen([bind("/..hidden"), bind("/ä b'c"), bind(`/${"x".repeat(300)}`)]);
  expect(names.map((each) => each.split(" ")[0])).toEqual(["_0", "__b_c", "x".repeat(200)]);
});
