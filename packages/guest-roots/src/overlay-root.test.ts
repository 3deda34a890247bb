import { expect, test } from "vitest";
import { overlayRoot } from "./overlay-root.ts";

const overlay = (...options: string[]) => [{ type: "overlay", source: "overlay", options }];

test("the layers of containerd's overlay, uppermost first, and where the container writes", () => {
  const found = overlayRoot(
    overlay("index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"),
  );
  expect(found).toEqual({ layers: ["/s/2/fs", "/s/1/fs"], upperDir: "/s/3/fs" });
});

test.each([
  ["none", []],
  ["a bind mount", [{ type: "bind", source: "/s/1/fs", options: ["rw", "rbind"] }]],
  ["a view", overlay("lowerdir=/s/2/fs:/s/1/fs")],
  ["no layer", overlay("upperdir=/s/3/fs")],
  ["a relative layer", overlay("upperdir=/s/3/fs", "lowerdir=2/fs:/s/1/fs")],
  ["two mounts", [...overlay("upperdir=/u", "lowerdir=/l"), ...overlay("upperdir=/u")]],
])("%s is no overlay of an image", (_, mounts) => {
  expect(overlayRoot(mounts)).toBeUndefined();
});
