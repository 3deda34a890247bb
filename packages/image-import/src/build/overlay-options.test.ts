import { expect, test } from "vitest";
import { shortened } from "./overlay-options.ts";

const ROOT = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots";

test("directories are named from the longest one that they lie in", () => {
  const lower = [`${ROOT}/2/fs`, `${ROOT}/12/fs`].join(":");
  const options = [
    "index=off",
    `workdir=${ROOT}/3/work`,
    `upperdir=${ROOT}/3/fs`,
    `lowerdir=${lower}`,
  ];
  expect(shortened(options)).toEqual({
    from: ROOT,
    options: ["index=off", "workdir=3/work", "upperdir=3/fs", "lowerdir=2/fs:12/fs"],
  });
  expect(shortened([`lowerdir=/a/x:/b/x`])).toEqual({ from: "/", options: ["lowerdir=a/x:b/x"] });
  expect(shortened(["ro", "rbind"])).toEqual({ from: "/", options: ["ro", "rbind"] });
});

test("a hundred layers fit, and what does not is told", () => {
  const layers = (count: number): string =>
    Array.from({ length: count }, (_, index) => `${ROOT}/${1000 + index}/fs`).join(":");
  expect(() => shortened([`lowerdir=${layers(127)}`])).not.toThrow();
  expect(() => shortened([`lowerdir=${layers(1000)}`])).toThrow("do not fit");
  expect(() => shortened(["lowerdir=a:/b"])).toThrow("whole paths");
});
