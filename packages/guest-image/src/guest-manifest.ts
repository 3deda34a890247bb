import { createHash } from "node:crypto";
import { open, realpath } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import type { GuestFeature } from "./kernel-config.ts";

export const MANIFEST = "guest.json";
export const FORMAT = 1;
const MAX_MANIFEST = 64 << 10;
const MAX_FILE = 1 << 30;

export interface GuestFile {
  /** Within the image's directory. */
  readonly name: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** guest.json: what a guest image is. Nothing in it depends on when or where it was built. */
export interface GuestManifest {
  readonly format: typeof FORMAT;
  readonly kernel: {
    readonly release: string;
    /** Where it is from, in words: "Debian linux-image-6.1.0-56-amd64 6.1.192-2". */
    readonly source: string;
    readonly file: GuestFile;
  };
  readonly initrd: GuestFile;
  readonly agent: {
    /** As the agent says it; "unknown" for a program that is not ours. */
    readonly version: string;
    readonly sha256: string;
  };
  /** What the kernel is started with; a machine with a console adds to it. */
  readonly cmdline: string;
  readonly features: readonly GuestFeature[];
  /** Loaded by the agent, in this order. */
  readonly modules: readonly string[];
}

/** A guest image where it lies. */
export interface GuestImage {
  readonly manifest: GuestManifest;
  /** Without symbolic links: stays what it is while a newer image takes its place. */
  readonly dir: string;
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * Reads an image's guest.json; `verify` also reads its files and compares. Kind `notFound` when there is none,
 * `invalid` when it is damaged or of another version.
 */
export async function readGuestImage(
  path: string,
  options: { verify?: boolean; signal?: AbortSignal } = {},
): Promise<GuestImage> {
  const dir = await realpath(path).catch((cause: unknown) => {
    throw absent(path, cause);
  });
  const text = await readLimited(join(dir, MANIFEST), MAX_MANIFEST).catch((cause: unknown) => {
    throw absent(path, cause);
  });
  const manifest = parseManifest(join(path, MANIFEST), text.toString("utf8"));
  const files = [manifest.kernel.file, manifest.initrd];
  if (options.verify === true) {
    for (const file of files) await verify(dir, file, options.signal);
  }
  const [kernel = "", initrd = ""] = files.map(({ name }) => join(dir, name));
  return { manifest, dir, kernel, initrd };
}

function absent(path: string, cause: unknown): TrineError {
  if (!["ENOENT", "ENOTDIR"].includes(errnoOf(cause) ?? "")) {
    return TrineError.during(`read ${path}`, cause);
  }
  const advice = "`trine guest build` makes one";
  return new TrineError("notFound", `${path}: no guest image there; ${advice}`, { cause });
}

/** Kind `invalid` for anything but a manifest of our format. */
function parseManifest(what: string, text: string): GuestManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TrineError("invalid", `${what}: no JSON`, { cause });
  }
  const format = isObject(value) ? value["format"] : undefined;
  if (typeof format === "number" && format !== FORMAT) {
    const advice = "`trine guest build` makes one of this version";
    throw new TrineError("invalid", `${what}: format ${format}, known is ${FORMAT}; ${advice}`);
  }
  if (!isManifest(value)) throw new TrineError("invalid", `${what}: not a guest image's manifest`);
  return value;
}

function isManifest(value: unknown): value is GuestManifest {
  if (!isObject(value) || value["format"] !== FORMAT) return false;
  const { kernel, agent } = value;
  return (
    isObject(kernel) &&
    [kernel["release"], kernel["source"], value["cmdline"]].every(isText) &&
    [kernel["file"], value["initrd"]].every(isFile) &&
    isObject(agent) &&
    [agent["version"], agent["sha256"]].every(isText) &&
    [value["features"], value["modules"]].every((list) => Array.isArray(list) && list.every(isText))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 4096 && !/\p{Cc}/u.test(value);
}

function isFile(value: unknown): value is GuestFile {
  if (!isObject(value)) return false;
  const { name, bytes, sha256 } = value;
  const sound = isText(name) && /^[a-z0-9][a-z0-9.-]*$/.test(name) && Number.isSafeInteger(bytes);
  return sound && isText(sha256) && /^[0-9a-f]{64}$/.test(sha256);
}

async function verify(dir: string, file: GuestFile, signal?: AbortSignal): Promise<void> {
  const path = join(dir, file.name);
  await using handle = await open(path).catch((cause: unknown) => {
    throw new TrineError("invalid", `${path}: cannot be read`, { cause });
  });
  const { size } = await handle.stat();
  const hash = createHash("sha256");
  if (size === file.bytes && size <= MAX_FILE) {
    for await (const chunk of handle.createReadStream({ autoClose: false, ...signalOf(signal) })) {
      hash.update(chunk as Buffer);
    }
  }
  if (size !== file.bytes || hash.digest("hex") !== file.sha256) {
    throw new TrineError("invalid", `${path}: is not what ${MANIFEST} says; build the image again`);
  }
}

function signalOf(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function readLimited(path: string, max: number): Promise<Buffer> {
  await using handle = await open(path);
  const buffer = Buffer.alloc(max + 1);
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
  if (bytesRead > max) throw new TrineError("invalid", `${path}: more than ${max} bytes`);
  return buffer.subarray(0, bytesRead);
}
