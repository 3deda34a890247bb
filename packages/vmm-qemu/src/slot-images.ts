import { basename, dirname, join } from "node:path";
import type { QmpClient } from "@trine/qmp";
import { TrineError, allDone } from "@trine/base";
import type { SlotImage, SlotName } from "@trine/vmm";
import { SLOTS_DIR, emptyNode, slotNode } from "./plan-slots.ts";

/**
 * A slot is a raw node; what it reads from is changed under it (`blockdev-reopen`), in 2 ms and without a word
 * to the guest. QEMU's own answer is the state: a change cut short by a crash is finished by the next.
 */
export async function fillSlot(
  client: QmpClient,
  name: SlotName,
  image: SlotImage,
  signal: AbortSignal,
): Promise<void> {
  const { nodes, held } = await slotState(client, name, signal);
  const filename = join(SLOTS_DIR, basename(image.path));
  if (held === filename) return;
  if (held !== undefined) {
    const there = join(dirname(image.path), basename(held)); // as the host knows it
    throw new TrineError("wrongState", `${name} holds ${there}: empty it before ${image.path}`);
  }
  await removeImage(client, name, nodes, signal);
  const [file, top] = [fileNode(name), formatNode(name)];
  const access = { "read-only": image.readOnly, ...(image.readOnly ? {} : { discard: "unmap" }) };
  const driver = image.source === "block-device" ? "host_device" : "file";
  // QEMU does them in this order and does not wait for its answers to be read; what needs a node that could not be
  // made fails after it.
  const options = { driver: "qcow2", "node-name": top, file, backing: null, ...access };
  const isQcow2 = image.format === "qcow2";
  await allDone([
    client.execute("blockdev-add", { driver, "node-name": file, filename, ...access }, { signal }),
    ...(isQcow2 ? [client.execute("blockdev-add", options, { signal })] : []),
    reopen(client, name, isQcow2 ? top : file, signal),
  ]);
}

export async function emptySlot(
  client: QmpClient,
  name: SlotName,
  signal: AbortSignal,
): Promise<void> {
  const { nodes, held } = await slotState(client, name, signal);
  if (held !== undefined) await reopen(client, name, emptyNode(name), signal);
  await removeImage(client, name, nodes, signal);
}

/** QEMU looks at the size of a host's device only when it is asked to change it to that. */
export async function resizeSlot(
  client: QmpClient,
  name: SlotName,
  size: number,
  signal: AbortSignal,
): Promise<void> {
  await client.execute("block_resize", { "node-name": name, size }, { signal });
}

function fileNode(name: SlotName): string {
  return `${name}-file`;
}

function formatNode(name: SlotName): string {
  return `${name}-format`;
}

interface SlotState {
  /** The image's nodes that there are. */
  readonly nodes: ReadonlySet<string>;
  /** Path of the image the guest reads; undefined = none. */
  readonly held: string | undefined;
}

async function slotState(
  client: QmpClient,
  name: SlotName,
  signal: AbortSignal,
): Promise<SlotState> {
  const [all, stats] = await Promise.all([
    client.execute("query-named-block-nodes", { flat: true }, { signal }),
    client.execute("query-blockstats", {}, { signal }),
  ]);
  const source = stats.find((each) => each["node-name"] === name)?.parent?.["node-name"];
  const file = all.find((node) => node["node-name"] === fileNode(name))?.file;
  return {
    nodes: new Set(all.map((node) => node["node-name"] ?? "")),
    held: source === emptyNode(name) ? undefined : file,
  };
}

async function reopen(
  client: QmpClient,
  name: SlotName,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const options = [{ ...slotNode(name), file }];
  await client.execute("blockdev-reopen", { options }, { signal });
}

async function removeImage(
  client: QmpClient,
  name: SlotName,
  nodes: SlotState["nodes"],
  signal: AbortSignal,
): Promise<void> {
  for (const node of [formatNode(name), fileNode(name)]) {
    if (nodes.has(node)) await client.execute("blockdev-del", { "node-name": node }, { signal });
  }
}
