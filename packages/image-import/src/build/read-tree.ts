import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError, kindOf } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { runJailed } from "../jail/run-jailed.ts";
import type { JailedMount, JailedProgram } from "../jail/run-jailed.ts";
import { layersOf } from "../store/list-images.ts";
import type { ImageView } from "../store/list-images.ts";
import { shortened } from "./overlay-options.ts";
import { writeAll } from "../write-sparse.ts";

const MIB = 1024 * 1024;
const MEMORY_BYTES = 1024 * MIB;
const CPU_SECONDS = 600;
const MAX_NAMES_BYTES = MIB;
/** No kernel and no initramfs is larger. */
const MAX_FILE_BYTES = 1024 * MIB;

/** An image's files, as long as its snapshot is there. */
export interface Tree {
  /** As `/work/tree` of a jail. */
  readonly mount: JailedMount;
  /** Path of trine-rootfs: files of all owners are read behind its filter. */
  readonly filter: string;
  readonly workDir: string;
}

/** Makes an image's files readable under a key of the store's; whoever has the key's lease removes them. */
export async function openTree(
  store: ImageStore,
  of: { image: ImageView; snapshotter: string; key: string; filter: string; workDir: string },
  signal: AbortSignal,
): Promise<Tree> {
  const { image, snapshotter, key, filter, workDir } = of;
  const parent = chainId(await layersOf(store, image, signal));
  const { mounts } = await store.snapshots
    .prepare({ snapshotter, key, parent })
    .catch((cause: unknown) => {
      if (kindOf(cause) !== "notFound") throw cause;
      const advice = "`trine image pull` unpacks it";
      throw new TrineError("notFound", `image ${image.name} is not unpacked: ${advice}`, { cause });
    });
  const [mount, ...more] = mounts;
  if (mount === undefined || more.length > 0) {
    throw new TrineError("unimplemented", `snapshotter ${snapshotter}: not one mount an image`);
  }
  const { type, source } = mount;
  return { mount: { name: "tree", type, source, ...shortened(mount.options) }, filter, workDir };
}

/** Paths of the tree that matter to a machine: three directories deep, of files and links. */
export async function listTree(
  tree: Tree,
  signal: AbortSignal,
): Promise<{ readonly paths: readonly string[]; readonly boot: readonly string[] }> {
  const find = (...args: readonly string[]): Promise<string[]> =>
    readTree(
      tree,
      { program: "/usr/bin/find", args: ["/work/tree", ...args, "-printf", "%P\\n"] },
      async (output) => (await text(limited(output, MAX_NAMES_BYTES))).split("\n").filter(Boolean),
      signal,
    );
  const paths = await find("-maxdepth", "3", "-name", "init");
  // A link may lead out of the tree: only what is a file itself is a kernel.
  const boot = await find("-maxdepth", "2", "-path", "/work/tree/boot/*", "-type", "f");
  return { paths, boot: boot.map((path) => path.replace(/^boot\//, "")) };
}

/** Copies a file of the tree into one of ours. */
export async function copyOfTree(
  tree: Tree,
  path: string,
  to: FileHandle,
  signal: AbortSignal,
): Promise<void> {
  await readTree(
    tree,
    { program: "/usr/bin/cat", args: [`/work/tree/${path}`] },
    async (output) => {
      let at = 0;
      for await (const chunk of limited(output, MAX_FILE_BYTES)) {
        await writeAll(to, chunk, at);
        at += chunk.length;
      }
    },
    signal,
  );
}

function readTree<T>(
  { mount, filter, workDir }: Tree,
  program: Pick<JailedProgram, "program" | "args">,
  use: (output: Readable) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const limits = { memoryBytes: MEMORY_BYTES, cpuSeconds: CPU_SECONDS };
  return runJailed(
    { ...program, ...limits, mounts: [mount], readsAllBehind: filter, workDir },
    use,
    signal,
  );
}

async function* limited(output: Readable, most: number): AsyncGenerator<Buffer, void> {
  let size = 0;
  for await (const chunk of output as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > most)
      throw new TrineError("invalid", `a file of the image is longer than ${most} bytes`);
    yield chunk;
  }
}

/** As containerd names the snapshot of so many layers (OCI image specification, chain ids). */
function chainId(layers: readonly string[]): string {
  return layers.reduce((chain, layer) => {
    const hex = createHash("sha256").update(`${chain} ${layer}`).digest("hex");
    return `sha256:${hex}`;
  });
}
