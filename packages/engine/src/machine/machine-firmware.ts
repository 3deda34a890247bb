import { constants, copyFile, readFile, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { MachineSettings } from "@trine/annotations";
import { TrineError, kindOf } from "@trine/base";
import { openBeneath, renameBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { MachineSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";

const FILE = "firmware-vars.fd";
/** Apart: variables without keys, or with those that a guest could put in unchecked, make secure boot none. */
const SECURE_FILE = "firmware-vars-secure.fd";

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
  const name = settings.secureBoot ? SECURE_FILE : FILE;
  const firmwareVarsPath =
    kept === undefined ? await ownCopy(template, layer) : await keptCopy(template, name, kept);
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

/** What is there is as the firmware left it, which never changes its size. Kind `conflict` for another's. */
async function keptCopy(template: string, name: string, place: Beneath): Promise<string> {
  const bytes = await readFile(template);
  const size = (await sizeOf(name, place)) ?? (await writeCopy(bytes, name, place));
  if (size === bytes.length) return join(place.dir, ...place.parts, name);
  const what = `trine.dev/state: ${name} there has ${size} bytes, those of this node's firmware ${bytes.length}`;
  const advice = `it is another firmware's: run the machine where that is, or remove the file to begin anew`;
  throw new TrineError("conflict", `${what}: ${advice}`);
}

/** Undefined when it is not there. */
async function sizeOf(name: string, { dir, parts }: Beneath): Promise<number | undefined> {
  try {
    await using handle = await openBeneath({ dir, parts: [...parts, name] });
    return await requireFile(handle, name);
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

/** Under its name only when it is whole. Answers its size. */
async function writeCopy(bytes: Buffer, name: string, { dir, parts }: Beneath): Promise<number> {
  const made = `${name}.new`;
  const how = { write: true, create: true };
  await using handle = await openBeneath({ dir, parts: [...parts, made] }, how);
  await requireFile(handle, made);
  await handle.truncate(0);
  await handle.writeFile(bytes);
  await handle.sync();
  await renameBeneath({ dir, parts }, { from: made, to: name });
  return bytes.length;
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
