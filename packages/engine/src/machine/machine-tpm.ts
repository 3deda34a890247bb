import { rm } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { openBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { HardwareSpec } from "@trine/vmm";
import type { UidPool } from "../uid-pool.ts";
import { requireFile } from "./machine-firmware.ts";
import type { MachineInput } from "./machine-input.ts";

const FILE = "tpm-state";
/** libtpms needs a tenth of it. */
const MAX_BYTES = 1024 * 1024;

/**
 * The file that is a machine's TPM's memory, of the machine's own user; an empty one becomes a new TPM. Repeatable. Kind
 * `conflict` when another machine of the node has it.
 */
export async function machineTpm(
  { settings, uid }: Pick<MachineInput, "settings" | "uid">,
  place: { readonly layer: string; readonly kept: Beneath | undefined },
  uids: Pick<UidPool, "has">,
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
    const { uid: owner } = await handle.stat();
    if (owner !== uid && uids.has(owner)) {
      throw new TrineError("conflict", "trine.dev/tpm: another machine has this TPM's state");
    }
    await handle.chown(uid, uid);
    await handle.chmod(0o600);
  } finally {
    await handle.close();
  }
  return { statePath: join(dir, ...own) };
}
