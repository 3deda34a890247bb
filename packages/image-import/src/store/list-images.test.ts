import { createHash } from "node:crypto";
import { TrineError } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { expect, test } from "vitest";
import { listImages } from "./list-images.ts";
import type { ImageView } from "./list-images.ts";

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

/** Documents by digest, answered as containerd does. */
class Documents {
  readonly #all = new Map<string, Buffer>();

  put(document: unknown): { digest: string; size: number } {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    this.#all.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  /** What is listed of one name that leads to `target`. */
  async list(target: { digest: string; size: number }, mediaType: string): Promise<ImageView[]> {
    const images = [{ name: "localhost/a:1", labels: {}, target: { ...target, mediaType } }];
    const find = (digest: string): Buffer => {
      if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new TrineError("invalid", "no digest");
      const bytes = this.#all.get(digest);
      if (bytes === undefined) throw new TrineError("notFound", digest);
      return bytes;
    };
    const store = {
      images: { list: () => Promise.resolve({ images }) },
      content: {
        info: async ({ digest }: { digest: string }) => ({
          info: { size: await Promise.resolve(find(digest).length) },
        }),
      },
      async *read(digest: string) {
        yield await Promise.resolve(find(digest));
      },
    };
    return listImages(store as unknown as ImageStore, new AbortController().signal);
  }
}

test("labels that are no text are left out, not turned into text", async () => {
  const documents = new Documents();
  const Labels = { "trine.dev/machine": "true", a: { toString: 1 }, b: 7, c: null };
  const config = documents.put({ architecture: "amd64", config: { Labels } });
  const [image] = await documents.list(documents.put({ config, layers: [] }), MANIFEST);
  expect(image).toMatchObject({ architecture: "amd64", labels: { "trine.dev/machine": "true" } });
  expect(Object.keys(image?.labels ?? {})).toEqual(["trine.dev/machine"]);
});

test.each([
  ["no digest", { digest: "latest", size: 1 }],
  ["an unknown one", { digest: "md5:00", size: 1 }],
  ["no size", { digest: `sha256:${"0".repeat(64)}` }],
  ["nothing", null],
])("an index or manifest that leads to %s leaves a gap", async (_, entry) => {
  const documents = new Documents();
  const index = documents.put({ manifests: [entry] });
  const manifest = documents.put({ config: entry, layers: [] });
  for (const [target, mediaType] of [
    [index, INDEX],
    [manifest, MANIFEST],
  ] as const) {
    const images = await documents.list(target, mediaType);
    expect(images.map(({ name, manifest: found }) => [name, found])).toEqual([
      ["localhost/a:1", undefined],
    ]);
  }
});
