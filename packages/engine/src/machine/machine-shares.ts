import { readFile, rm } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { Undo } from "@trine/base";
import type { GuestMount } from "@trine/cloud-init";
import type { ShimLink } from "@trine/shim-client";
import type { SharesSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";
import { endChild } from "../end-child.ts";
import { startP9 } from "../p9-server.ts";
import type { PodFiles } from "../pod-files.ts";
import { mountShare, planVolumes } from "../share-mounts.ts";
import { unmountAllIn } from "./disk-volumes.ts";
import type { MachineInput } from "./machine-input.ts";
import { machineMounts } from "./machine-mounts.ts";
import { SHARES_SOCKET, startVirtiofs, virtiofsProgram } from "./virtiofs-server.ts";

/** Key of the server at the pod's shim. */
export const SHARES_KEY = "shares";
/** By which the guest mounts them. */
const SHARES_TAG = "trine";
const LOG_CHARS = 1000;

interface Places {
  readonly shim: ShimLink;
  readonly config: EngineConfig;
  readonly undo: Undo;
}

/** The shares of a machine and where its guest is to have them. */
export interface MachineShares {
  readonly spec: SharesSpec;
  readonly mounts: readonly GuestMount[];
}

/** What the firmware and the TPM keep is not for the guest: it would read its own TPM's secrets. */
function stateOf({ statePath }: MachineInput["settings"]): Parameters<typeof machineMounts>[1] {
  return statePath === undefined ? [] : [{ source: { kind: "file", path: statePath } }];
}

/**
 * Mounts the container's volumes below the pod's share and starts what serves them; undefined when there is nothing to
 * serve. Repeatable. Kind `wrongState` on a node without such a program.
 */
export async function machineShares(
  { shim, config, undo }: Places,
  { bundle, settings, files, uid }: MachineInput,
): Promise<MachineShares | undefined> {
  const { shares: way } = settings;
  if (way === "off") return undefined;
  const mounts = machineMounts(bundle.spec, [...settings.disks, ...stateOf(settings)]);
  if (mounts.length === 0) return undefined;
  const { virtiofsd } = config.machines;
  const program = way === "9p" ? undefined : await virtiofsProgram(virtiofsd, mounts.length);
  const planned = await planVolumes(
    files.shareDir,
    mounts.map(({ share }) => share),
  );
  undo.defer("take the shares apart", () => removeShares(shim, files));
  await mountShare(shim, planned);
  const guest = mounts.map(({ share: { name, readOnly }, target }, index) => {
    return { name, target, readOnly, kind: planned[index]?.kind ?? "directory" };
  });
  if (program === undefined) {
    // Of a Create that was cut off: it may have ended, and no VMM has met it.
    await endChild(shim, SHARES_KEY);
    await startP9(shim, files, { key: SHARES_KEY, program: config.microvms.fileServer });
    return { spec: { way: "9p" }, mounts: guest };
  }
  await startVirtiofs(shim, files, { key: SHARES_KEY, program, uid });
  return { spec: { way: "virtiofs", tag: SHARES_TAG, socket: SHARES_SOCKET }, mounts: guest };
}

/** Ends the server and takes its mounts off. Repeatable. */
export async function removeShares(shim: ShimLink, files: PodFiles): Promise<void> {
  await endChild(shim, SHARES_KEY);
  await unmountAllIn(shim, files.shareDir);
  for (const path of [files.shareLog, files.shareSocket]) await rm(path, { force: true });
}

/** A machine that did not start, with the server's own words where the server has ended. */
export async function withServerWords(
  { shim, files }: { readonly shim: ShimLink; readonly files: PodFiles },
  cause: unknown,
): Promise<unknown> {
  const { children } = await shim.describe();
  if (!children.some(({ key, running }) => key === SHARES_KEY && !running)) return cause;
  const words = (await readFile(files.shareLog, "utf8").catch(() => "")).trim().slice(-LOG_CHARS);
  const what = `${messageOf(cause)}; what serves its volumes has ended: ${words}`;
  return new TrineError(kindOf(cause), what, { cause });
}
