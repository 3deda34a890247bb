import type { ImageStore } from "@trine/containerd-client";
import type { MachineLayer } from "@trine/disk-images";
import { fileChanged } from "../copy-disk.ts";
import { LAYER, PACK_MS } from "./disk-to-store.ts";
import type { DiskToStore, LayerToMake, MadeLayer } from "./disk-to-store.ts";
import { giveUp, isKept } from "./placed-layer.ts";

const CHUNK_BYTES = 4 * 1024 * 1024;

/** Sends the layer to containerd, and has it unpack that: for snapshots that are no plain directory. */
export async function streamLayer(
  store: ImageStore,
  { disk, layer, mounts }: LayerToMake,
  signal: AbortSignal,
): Promise<MadeLayer> {
  const { sizeBytes } = layer;
  const chunks = layerChunks(disk, layer, signal);
  const { digest } = await store.write({ ref: disk.key, sizeBytes, chunks }, signal);
  // The layer has all of it: with the file there would be a third copy.
  if (!isKept(disk)) await giveUp(disk);
  signal.throwIfAborted();
  const diff = { mediaType: LAYER, digest, size: BigInt(sizeBytes) };
  await store.diff.apply({ diff, mounts: [...mounts] }, { signal, timeoutMs: PACK_MS });
  if (isKept(disk)) await giveUp(disk);
  return { digest, sizeBytes };
}

async function* layerChunks(
  disk: DiskToStore,
  layer: MachineLayer,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const { handle, info } = disk;
  const total = info.fileSizeBytes;
  const before = await handle.stat({ bigint: true });
  yield layer.prefix;
  for (let at = 0; at < total;) {
    signal.throwIfAborted();
    // Fresh: the sink may still hold the last one.
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, total - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw fileChanged();
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
    disk.onProgress({ step: "store", done: at, total });
  }
  const after = await handle.stat({ bigint: true });
  if (before.size !== after.size || before.mtimeNs !== after.mtimeNs) throw fileChanged();
  yield layer.suffix;
}
