import { ImageService, RuntimeService } from "@trine/proto/cri/api";
import { expect, test } from "vitest";
import { METHODS } from "./methods.ts";

const all = [RuntimeService, ImageService].flatMap((service) =>
  service.methods.map((method) => ({
    path: `/${service.typeName}/${method.name}`,
    kind: method.methodKind,
  })),
);

test("the table says how every call of CRI v1 is routed, and names no other", () => {
  expect([...METHODS.keys()].sort()).toEqual(all.map(({ path }) => path).sort());
  // cri-api 0.37
  expect(RuntimeService.methods).toHaveLength(37);
  expect(ImageService.methods).toHaveLength(6);
});

test("calls that answer with a stream are those the table merges as streams", () => {
  const streams = all.filter(({ kind }) => kind === "server_streaming").map(({ path }) => path);
  const merged = [...METHODS].filter(([, { how }]) => ["stream", "events"].includes(how));
  expect(merged.map(([path]) => path).sort()).toEqual(streams.sort());
});

test("the five calls kubelet repeats until they succeed are masked", () => {
  const masked = [...METHODS].filter(([, how]) => "masked" in how && how.masked);
  expect(masked.map(([path]) => path.split("/")[2]).sort()).toEqual([
    "RemoveContainer",
    "RemovePodSandbox",
    "StopContainer",
    "StopPodSandbox",
  ]);
  expect(METHODS.get("/runtime.v1.ImageService/RemoveImage")).toEqual({ how: "removeImage" });
});
