import { lstat, open, readdir } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import type { SeedSource } from "@trine/annotations";
import { TrineError, quote } from "@trine/base";
import { openWithin } from "@trine/disk-images";
import type { JsonObject } from "../json-shape.ts";
import { volumeAt } from "./disk-volumes.ts";

/** What a source holds. Names are those of a ConfigMap's or Secret's keys. */
export type SourceContent =
  | { readonly kind: "file"; readonly bytes: Buffer }
  | { readonly kind: "directory"; readonly files: ReadonlyMap<string, Buffer> };

/** As much as a ConfigMap or Secret may hold, and half of it again for base64. */
const MAX_BYTES = 1.5 * 1024 * 1024;
const MAX_FILES = 256;

/** As many directories as an ISO 9660 image has above a file. */
const MAX_DEPTH = 6;

/**
 * Reads a file or directory of a volume of the container, on the host: the kubelet has put ConfigMaps and Secrets there. Of a
 * directory its files, and with `below` those below, by their paths. Kind `invalid` or `notFound` with what is to be mounted.
 */
export async function readSource(
  spec: JsonObject,
  from: SeedSource,
  { below = false }: { readonly below?: boolean } = {},
): Promise<SourceContent> {
  const { source, parts } = volumeOf(spec, from);
  try {
    const isFile = (await lstat(source)).isFile();
    await using handle = await (isFile && parts.length === 0
      ? open(source, "r")
      : openWithin({ dir: source, parts }));
    if ((await handle.stat()).isFile()) {
      return { kind: "file", bytes: await readLimited(handle, MAX_BYTES) };
    }
    const files = new Map<string, Buffer>();
    const depth = below ? MAX_DEPTH : undefined;
    await readFiles(handle, "", depth, { files, count: 0, room: MAX_BYTES });
    return { kind: "directory", files };
  } catch (cause) {
    throw TrineError.during(`read ${from.path}`, cause);
  }
}

function volumeOf(spec: JsonObject, { path, named }: SeedSource): ReturnType<typeof volumeAt> {
  try {
    return volumeAt(spec, path);
  } catch (cause) {
    if (named === undefined) throw cause;
    const { kind, name } = named;
    const what = kind === "secret" ? `Secret ${name}` : `ConfigMap ${name}`;
    throw new TrineError(
      "invalid",
      `${kind}/${name} is read from a volume of the machine's container, and none is mounted at ` +
        `/trine.dev/${kind}/${name}: add the ${what} to the pod's volumes and mount it there`,
      { cause },
    );
  }
}

interface Found {
  readonly files: Map<string, Buffer>;
  /** Of files and directories. */
  count: number;
  /** Bytes that may still come. */
  room: number;
}

/** `depth`: how many directories there may be, one in the other; without it they are passed over. */
async function readFiles(
  dir: FileHandle,
  prefix: string,
  depth: number | undefined,
  found: Found,
): Promise<void> {
  // kubelet's own begin with two dots, which no key does.
  const names = (await readdir(`/proc/self/fd/${dir.fd}`)).filter((name) => !name.startsWith(".."));
  found.count += names.length;
  if (found.count > MAX_FILES) {
    throw new TrineError("invalid", `${found.count} files; the limit is ${MAX_FILES}`);
  }
  for (const name of names.sort()) {
    await using handle = await openWithin({ dir: `/proc/self/fd/${dir.fd}`, parts: [name] });
    if ((await handle.stat()).isFile()) {
      const bytes = await readLimited(handle, found.room);
      found.room -= bytes.length;
      found.files.set(prefix + name, bytes);
    } else if (depth === 0) {
      const what = `${quote(prefix + name)} is too deep`;
      throw new TrineError(
        "invalid",
        `${what}: the limit is ${MAX_DEPTH} directories above a file`,
      );
    } else if (depth !== undefined) {
      await readFiles(handle, `${prefix}${name}/`, depth - 1, found);
    }
  }
}

/** All of a file that may grow meanwhile. Kind `invalid` when it is larger than `limit`. */
async function readLimited(handle: FileHandle, limit: number): Promise<Buffer> {
  const { size } = await handle.stat();
  const chunks: Buffer[] = [];
  for (let total = 0; total <= limit;) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.min(size, limit) + 1));
    if (bytesRead === 0) return Buffer.concat(chunks);
    chunks.push(buffer.subarray(0, bytesRead));
    total += bytesRead;
  }
  throw new TrineError("invalid", `more than ${limit} bytes`);
}
