import { stat } from "node:fs/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ImageFsInfoResponseSchema, UInt64ValueSchema } from "@trine/proto/cri/api";
import type { FilesystemUsage, ImageFsInfoResponse, UInt64Value } from "@trine/proto/cri/api";
import { BackEndFailure } from "./grpc-status.ts";
import type { NodeState } from "./node-state.ts";
import type { ServerCall } from "./server-call.ts";

/** What each back end last said: one that is away has not freed anything. */
export type LastInfo = Map<string, ImageFsInfoResponse>;

/**
 * File systems of all stores, the default's first. Kubelet reads the first of each list only: it has the bytes of every store on the same
 * file system, so that what fills a disk is seen whoever wrote it.
 */
export async function callImageFsInfo(
  node: NodeState,
  call: ServerCall,
  last: LastInfo,
): Promise<void> {
  const asked = await Promise.allSettled(
    node.backEnds.map(async (backEnd) => {
      const answer = await node.ask(backEnd, call.path, call.message, call);
      last.set(backEnd.name, fromBinary(ImageFsInfoResponseSchema, answer));
    }),
  );
  const infos = node.backEnds.map(({ name }, index) => {
    const each = asked[index];
    const isAbsent =
      each?.status === "rejected" && each.reason instanceof BackEndFailure && each.reason.isAbsent;
    if (each?.status === "rejected" && !(isAbsent && last.has(name))) throw each.reason;
    return last.get(name) ?? create(ImageFsInfoResponseSchema);
  });
  const merged = create(ImageFsInfoResponseSchema, {
    imageFilesystems: await mergeUsage(infos.map((info) => info.imageFilesystems)),
    containerFilesystems: await mergeUsage(infos.map((info) => info.containerFilesystems)),
  });
  call.reply(toBinary(ImageFsInfoResponseSchema, merged));
}

/**
 * Entries of one mount point are one store seen twice. The default's own further ones are snapshotters of one daemon, which
 * kubelet never saw either; another's are added to the first where they are on its device.
 */
async function mergeUsage(lists: readonly FilesystemUsage[][]): Promise<FilesystemUsage[]> {
  const [own = [], ...others] = lists;
  const mounts = new Set(own.map(mountOf));
  const added: FilesystemUsage[] = [];
  for (const usage of others.flat()) {
    if (!mounts.has(mountOf(usage))) added.push(usage);
    mounts.add(mountOf(usage));
  }
  const [first, ...rest] = [...own, ...added];
  if (first === undefined) return [];
  const device = await deviceOf(first);
  const merged = { ...first };
  for (const other of added.filter((each) => each !== first)) {
    if (device === undefined || (await deviceOf(other)) !== device) continue;
    merged.usedBytes = sum(merged.usedBytes, other.usedBytes);
    merged.inodesUsed = sum(merged.inodesUsed, other.inodesUsed);
  }
  return [merged, ...rest];
}

function mountOf(usage: FilesystemUsage): string {
  return usage.fsId?.mountpoint ?? "";
}

async function deviceOf(usage: FilesystemUsage): Promise<number | undefined> {
  const found = await stat(mountOf(usage)).catch(() => undefined); // in another mount namespace: its own then
  return found?.dev;
}

function sum(one: UInt64Value | undefined, other: UInt64Value | undefined): UInt64Value {
  return create(UInt64ValueSchema, { value: (one?.value ?? 0n) + (other?.value ?? 0n) });
}
