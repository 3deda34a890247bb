import type { BigIntStats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TrineError, quote } from "@trine/base";
import { hashInWorker } from "./hash-in-worker.ts";
import { imageDocuments } from "./image-documents.ts";
import type { ImageDocuments } from "./image-documents.ts";
import type { ImageInfo } from "./image-info.ts";
import { openRegularFile } from "./open-image.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar-header.ts";

export interface ImageLayoutInput {
  readonly file: string;
  /** What `inspectImage` said of `file`. */
  readonly info: ImageInfo;
  /** Full name of the image, HOST/PATH:TAG, as its users will write it. */
  readonly reference: string;
  /** OCI's name of the guest's processor; default amd64. */
  readonly architecture?: string;
}

export interface ImageLayoutResult {
  readonly manifestDigest: string;
  readonly layerDigest: string;
}

const CHUNK_BYTES = 1024 * 1024;
const REFERENCE = /^[a-z0-9][A-Za-z0-9._:/-]{0,253}:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Streams a disk into `sink` as an OCI image layout in a tar archive, and ends `sink`. The file is read
 * twice, first for its digest, and never copied. Kind `conflict` when it changes meanwhile: what was
 * written by then is no whole image, and importers refuse it by its digest.
 */
export async function writeImageLayout(
  input: ImageLayoutInput,
  sink: Writable,
  signal?: AbortSignal,
): Promise<ImageLayoutResult> {
  if (!REFERENCE.test(input.reference)) {
    throw new TrineError("invalid", `image name ${quote(input.reference)} is not HOST/PATH:TAG`);
  }
  const handle = await openRegularFile(input.file);
  try {
    return await writeFrom(handle, input, sink, signal);
  } catch (cause) {
    throw TrineError.during(`pack disk image ${quote(input.file)}`, cause);
  } finally {
    await handle.close();
  }
}

async function writeFrom(
  handle: FileHandle,
  input: ImageLayoutInput,
  sink: Writable,
  signal: AbortSignal | undefined,
): Promise<ImageLayoutResult> {
  const before = await handle.stat({ bigint: true });
  const sizeBytes = Number(before.size);
  if (sizeBytes !== input.info.fileSizeBytes) throw changed();
  const layer = layerFrame(input.info, sizeBytes);
  const hex = await hashInWorker({ fd: handle.fd, sizeBytes, ...layer }, signal);
  const layerDigest = `sha256:${hex}`;
  const documents = imageDocuments({
    reference: input.reference,
    architecture: input.architecture ?? "amd64",
    info: input.info,
    layer: {
      digest: layerDigest,
      sizeBytes: layer.prefix.length + sizeBytes + layer.suffix.length,
    },
  });
  const archive = archiveChunks({ handle, before, sizeBytes, layer, layerDigest, documents });
  await pipeline(Readable.from(archive, { objectMode: false }), sink, {
    ...(signal && { signal }),
  });
  return { manifestDigest: documents.manifest.digest, layerDigest };
}

interface LayerFrame {
  readonly prefix: Buffer;
  readonly suffix: Buffer;
}

/** What stands before and after the disk in the layer's own tar. */
function layerFrame(info: ImageInfo, sizeBytes: number): LayerFrame {
  const name = info.format === "qcow2" ? "disk/disk.qcow2" : "disk/disk.img";
  const prefix = Buffer.concat([
    tarHeader({ name: "disk/", mode: 0o555, sizeBytes: 0, type: "directory" }),
    tarHeader({ name, mode: 0o440, sizeBytes, type: "file" }),
  ]);
  return { prefix, suffix: Buffer.concat([tarPadding(sizeBytes), TAR_END]) };
}

async function* archiveChunks(image: {
  handle: FileHandle;
  before: BigIntStats;
  sizeBytes: number;
  layer: LayerFrame;
  layerDigest: string;
  documents: ImageDocuments;
}): AsyncGenerator<Buffer> {
  const { layer, documents } = image;
  yield smallFile("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  yield smallFile("index.json", documents.index);
  yield smallFile(blobName(documents.manifest.digest), documents.manifest.bytes);
  yield smallFile(blobName(documents.config.digest), documents.config.bytes);

  const layerBytes = layer.prefix.length + image.sizeBytes + layer.suffix.length;
  yield fileHeader(blobName(image.layerDigest), layerBytes);
  yield layer.prefix;
  yield* fileChunks(image.handle, image.sizeBytes);
  const after = await image.handle.stat({ bigint: true });
  if (!isSame(image.before, after)) throw changed();
  yield layer.suffix;
  yield tarPadding(layerBytes);
  yield TAR_END;
}

/** Fresh buffers: a sink may still hold one when the next is read. */
async function* fileChunks(handle: FileHandle, sizeBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < sizeBytes;) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, sizeBytes - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw changed();
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

function smallFile(name: string, bytes: Buffer): Buffer {
  return Buffer.concat([fileHeader(name, bytes.length), bytes, tarPadding(bytes.length)]);
}

function fileHeader(name: string, sizeBytes: number): Buffer {
  return tarHeader({ name, mode: 0o444, sizeBytes, type: "file" });
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function isSame(before: BigIntStats, after: BigIntStats): boolean {
  return (
    before.size === after.size &&
    before.mtimeNs === after.mtimeNs &&
    before.ctimeNs === after.ctimeNs
  );
}

function changed(): TrineError {
  return new TrineError(
    "conflict",
    "the file changed while it was read: stop what writes to it, then repeat",
  );
}
