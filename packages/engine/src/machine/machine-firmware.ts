import { constants, copyFile, readFile, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { MachineSettings } from "@trine/annotations";
import { TrineError } from "@trine/base";
import { openBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { MachineSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";

const FILE = "firmware-vars.fd";

/** Where a machine's firmware finds its variables. */
export interface VariablesPlace {
  /** Of the container: gone with it. */
  readonly layer: string;
  /** Of a volume: kept; undefined = the container's. */
  readonly kept: Beneath | undefined;
}

/** The firmware, with a copy of its variables of the machine's own. Repeatable. Kind `wrongState` where the node has none. */
export async function machineFirmware(
  settings: MachineSettings,
  place: VariablesPlace,
  config: EngineConfig,
): Promise<Pick<MachineSpec, "firmware" | "firmwareVarsPath">> {
  const { firmware } = settings;
  if (firmware !== "uefi") return { firmware };
  const template = templateOf(settings, config);
  const { kept, layer } = place;
  const firmwareVarsPath =
    kept === undefined ? await ownCopy(template, layer) : await keptCopy(template, kept);
  return { firmware, firmwareVarsPath };
}

function templateOf({ secureBoot }: MachineSettings, { machines }: EngineConfig): string {
  const { uefi } = machines;
  const template = secureBoot ? uefi?.secureVars : uefi?.vars;
  if (template !== undefined) return template;
  const asked = secureBoot ? "secure-boot: on" : "firmware: uefi";
  const what = secureBoot ? "UEFI firmware for it" : "UEFI firmware";
  const advice = "install the package ovmf";
  throw new TrineError("wrongState", `trine.dev/${asked}, but this node has no ${what}: ${advice}`);
}

async function ownCopy(template: string, layer: string): Promise<string> {
  const path = join(layer, FILE);
  // The image may bring this name as a link to a file of the host: never write through it.
  await rm(path, { recursive: true, force: true });
  await copyFile(template, path, constants.COPYFILE_EXCL);
  return path;
}

/** A file of another size was never written whole: the firmware does not change it. */
async function keptCopy(template: string, { dir, parts }: Beneath): Promise<string> {
  const own = [...parts, FILE];
  const bytes = await readFile(template);
  const handle = await openBeneath({ dir, parts: own }, { write: true, create: true });
  try {
    if ((await requireFile(handle, FILE)) !== bytes.length) await writeWhole(handle, bytes);
  } finally {
    await handle.close();
  }
  return join(dir, ...own);
}

/** The last byte last: a file that has them all is whole. */
async function writeWhole(handle: FileHandle, bytes: Buffer): Promise<void> {
  await handle.truncate(0);
  await handle.write(bytes, 0, bytes.length - 1, 0);
  await handle.sync();
  await handle.write(bytes, bytes.length - 1, 1, bytes.length - 1);
  await handle.sync();
}

/** Bytes of a regular file with one name; kind `invalid` for anything else. */
export async function requireFile(handle: FileHandle, name: string): Promise<number> {
  const { size, nlink } = await handle.stat();
  if ((await handle.stat()).isFile() && nlink === 1) return size;
  throw new TrineError(
    "invalid",
    `trine.dev/state: ${name} there is no regular file with one name`,
  );
}
