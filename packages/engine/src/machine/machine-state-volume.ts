import type { MachineSettings } from "@trine/annotations";
import { TrineError } from "@trine/base";
import { isDirectoryBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { ShimLink } from "@trine/shim-client";
import { mountVolume, volumeAt } from "./disk-volumes.ts";
import type { MachineInput } from "./machine-input.ts";

/** No disk's name begins so. */
const PLACE = "_state";

/** The directory where the machine's firmware and its TPM remember; undefined = nowhere. Repeatable. */
export async function stateDirectory(
  shim: ShimLink,
  { settings, bundle, files }: MachineInput,
): Promise<Beneath | undefined> {
  const { statePath } = settings;
  if (statePath === undefined || !isAnythingKept(settings)) return undefined;
  const volume = volumeAt(bundle.spec, statePath);
  const refuse = (why: string): TrineError =>
    new TrineError("invalid", `trine.dev/state: ${statePath} ${why}`);
  if (volume.readOnly) throw refuse("is on a volume that is read-only");
  const place = await mountVolume(shim, files.podDir, { name: PLACE, readOnly: false }, volume);
  if (!(await isDirectoryBeneath(place))) throw refuse("is no directory of its volume");
  return place;
}

function isAnythingKept({ firmwarePersistent, tpm }: MachineSettings): boolean {
  return firmwarePersistent || tpm === "persistent";
}
