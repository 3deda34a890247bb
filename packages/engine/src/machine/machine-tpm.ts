import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import { openBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { HardwareSpec } from "@trine/vmm";
import { TPM_NOTE } from "../pod-files.ts";
import type { PodFiles } from "../pod-files.ts";
import { requireFile } from "./machine-firmware.ts";
import type { MachineInput } from "./machine-input.ts";

const FILE = "tpm-state";
/** libtpms needs a tenth of it. */
const MAX_BYTES = 1024 * 1024;

/** What of a machine's input its TPM is made from. */
interface TpmInput extends Pick<MachineInput, "settings" | "uid"> {
  readonly files: Pick<PodFiles, "podDir">;
}

/**
 * The file that is a machine's TPM's memory, of the machine's own user; an empty one becomes a new TPM. Repeatable. Kind
 * `conflict` when another machine of the node has it.
 */
export async function machineTpm(
  { settings, uid, files }: TpmInput,
  place: { readonly layer: string; readonly kept: Beneath | undefined },
): Promise<HardwareSpec["tpm"]> {
  if (settings.tpm === "off") return undefined;
  const isKept = settings.tpm === "persistent" && place.kept !== undefined;
  const { dir, parts } = isKept ? place.kept : { dir: place.layer, parts: [] };
  // The image may bring this name: what it holds would be a TPM whose secrets its maker knows.
  if (!isKept) await rm(join(dir, FILE), { recursive: true, force: true });
  const own = [...parts, FILE];
  const handle = await openBeneath({ dir, parts: own }, { write: true, create: true });
  try {
    const size = await requireFile(handle, FILE);
    if (size > MAX_BYTES) throw new TrineError("invalid", `${FILE}: ${size} bytes are no TPM's`);
    if (isKept) await claim(handle, files.podDir);
    await handle.chown(uid, uid);
    await handle.chmod(0o600);
  } finally {
    await handle.close();
  }
  return { statePath: join(dir, ...own) };
}

/**
 * Notes in the pod's directory which file its TPM has, and looks whether another pod of the node has noted the same. By
 * what the file is: user ids are given anew, and one file has many paths. The note goes with the machine, or its pod.
 */
async function claim(handle: FileHandle, podDir: string): Promise<void> {
  const { dev, ino } = await handle.stat({ bigint: true });
  const file = `${dev}:${ino}`;
  // Before the look: of two that come at once one at least sees the other.
  await writeFile(join(podDir, TPM_NOTE), file);
  const pods = dirname(podDir);
  const others = (await readdir(pods)).filter((name) => name !== basename(podDir));
  for (const other of others) {
    if ((await noteAt(join(pods, other, TPM_NOTE))) !== file) continue;
    const advice = "let that end first, or give each machine its own trine.dev/state";
    const what = `trine.dev/tpm: another machine has this TPM's state (${join(pods, other)})`;
    throw new TrineError("conflict", `${what}: ${advice}`);
  }
}

/** Undefined when that pod has no such TPM, or is gone. */
async function noteAt(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(cause) ?? "")) return undefined;
    throw cause;
  }
}
