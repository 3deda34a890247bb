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

/**
 * QEMU refuses to change the size of what is read-only, and then the guest hears nothing; and it keeps the size that a
 * device had when it was opened. So the slot is given, for the time of that one command, an empty overlay of the size
 * wanted over the device as it is opened anew: what the guest reads meanwhile is the device's all the time, and nothing writes, for
 * the guest's disk stays what it was made, read-only. Repeatable, also after one that was cut short.
 */
export async function growReadOnlySlot(
  client: QmpClient,
  name: SlotName,
  { bytes, overlay }: { readonly bytes: number; readonly overlay: string },
  signal: AbortSignal,
): Promise<void> {
  const { nodes, held } = await slotState(client, name, signal);
  if (held === undefined) throw new TrineError("wrongState", `${name} holds nothing that grows`);
  if (laterNodes(name).some((node) => nodes.has(node))) await goBack(client, name, held, signal);
  const [over, overFile, grown] = laterNodes(name);
  const filename = join(SLOTS_DIR, basename(overlay));
  const add = (options: Readonly<Record<string, unknown>>): Promise<unknown> =>
    client.execute("blockdev-add", options, { signal });
  try {
    await add(deviceNode(grown, held));
    await add({ driver: "file", "node-name": overFile, filename });
    await add({ driver: "qcow2", "node-name": over, file: overFile, backing: grown });
    const writable = [{ ...slotNode(name), "read-only": false, file: over }];
    await client.execute("blockdev-reopen", { options: writable }, { signal });
    await resizeSlot(client, name, bytes, signal);
    await client.execute("blockdev-del", { "node-name": fileNode(name) }, { signal });
  } finally {
    await goBack(client, name, held, signal);
  }
}

/** To the device alone, opened anew where its node has gone. */
async function goBack(
  client: QmpClient,
  name: SlotName,
  held: string,
  signal: AbortSignal,
): Promise<void> {
  const { nodes } = await slotState(client, name, signal);
  const image = fileNode(name);
  if (!nodes.has(image)) {
    await client.execute("blockdev-add", deviceNode(image, held), { signal });
  }
  await reopen(client, name, image, signal);
  await removeNodes(client, laterNodes(name), nodes, signal);
}

function deviceNode(node: string, filename: string): Readonly<Record<string, unknown>> {
  return { driver: "host_device", "node-name": node, filename, "read-only": true };
}

function fileNode(name: SlotName): string {
  return `${name}-file`;
}

function formatNode(name: SlotName): string {
  return `${name}-format`;
}

/** What a read-only slot has while its guest is told a size: the overlay, its file, and the device below. */
function laterNodes(name: SlotName): readonly [string, string, string] {
  return [`${name}-overlay`, `${name}-overlay-file`, `${name}-grown`];
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
  const fileOf = (wanted: string): string | undefined =>
    all.find((node) => node["node-name"] === wanted)?.file;
  const file = fileOf(fileNode(name)) ?? fileOf(laterNodes(name)[2]);
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
  const left = [...laterNodes(name), formatNode(name), fileNode(name)];
  await removeNodes(client, left, nodes, signal);
}

async function removeNodes(
  client: QmpClient,
  names: readonly string[],
  nodes: SlotState["nodes"],
  signal: AbortSignal,
): Promise<void> {
  for (const node of names) {
    if (nodes.has(node)) await client.execute("blockdev-del", { "node-name": node }, { signal });
  }
}
