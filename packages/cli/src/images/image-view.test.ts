import { expect, test } from "vitest";
import { pickImage } from "./image-view.ts";
import type { UsedImage } from "./image-view.ts";

const A = `sha256:${"a".repeat(64)}`;
const CONFIG = `sha256:${"c".repeat(64)}`;

function image(name: string, digest = A): UsedImage {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const config = { mediaType: "", digest: CONFIG, sizeBytes: 2 };
  return {
    name,
    target: { mediaType, digest, sizeBytes: 1 },
    manifest: { digest, config, layers: [] },
    architecture: "amd64",
    labels: {},
    isPinned: false,
    createdAt: 0,
    sizeBytes: 3,
    usedBy: [],
  };
}

test("an image is picked by its name, with or without :latest", () => {
  const images = [image("localhost/a:latest"), image("localhost/a:1")];
  expect(pickImage(images, "localhost/a").name).toBe("localhost/a:latest");
  expect(pickImage(images, "localhost/a:1").name).toBe("localhost/a:1");
  expect(() => pickImage(images, "localhost/b")).toThrow(/no image localhost\/b/);
});

test("a whole digest is the image that has it, not the name that CRI made of it", () => {
  const images = [image(CONFIG), image("localhost/a:latest")];
  expect(pickImage(images, CONFIG).name).toBe("localhost/a:latest");
  expect(pickImage(images, A).name).toBe("localhost/a:latest");
  const both = [...images, image("localhost/b:1")];
  expect(() => pickImage(both, CONFIG)).toThrow(/localhost\/a:latest, localhost\/b:1/);
});

test("an image with no other name is picked by CRI's", () => {
  expect(pickImage([image(CONFIG)], CONFIG).name).toBe(CONFIG);
});
