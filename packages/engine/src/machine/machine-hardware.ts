import { access } from "node:fs/promises";
import { TrineError } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import type { HardwareSpec, MachineSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";
import type { UidPool } from "../uid-pool.ts";
import { hardwareOf } from "./hardware.ts";
import { machineFirmware } from "./machine-firmware.ts";
import type { MachineInput } from "./machine-input.ts";
import { passthroughDevices } from "./machine-passthrough.ts";
import { pinningOf } from "./machine-pinning.ts";
import { stateDirectory } from "./machine-state-volume.ts";
import { machineTpm } from "./machine-tpm.ts";

const VHOST_VSOCK = "/dev/vhost-vsock";

interface Places {
  readonly shim: ShimLink;
  readonly config: EngineConfig;
  readonly uids: UidPool;
  /** A directory in the container's writable layer. */
  readonly layer: string;
}

/** The machine's firmware and its hardware, with what they keep made ready. Repeatable. */
export async function machineHardware(
  { shim, config, uids, layer }: Places,
  input: MachineInput,
  memoryBytes: number,
): Promise<Pick<MachineSpec, "firmware" | "firmwareVarsPath" | "hardware">> {
  const { settings, bundle, files, uid } = input;
  const kept = await stateDirectory(shim, input);
  const variables = settings.firmwarePersistent ? kept : undefined;
  const tpm = await machineTpm(input, { layer, kept });
  const vsockCid = await vsockOf(input, uids);
  const pinning = pinningOf(settings, bundle);
  const devices = await passthroughDevices(shim, files.podDir, { spec: bundle.spec, uid });
  const hardware: HardwareSpec = {
    ...hardwareOf(settings, memoryBytes),
    ...(tpm === undefined ? {} : { tpm }),
    ...(vsockCid === undefined ? {} : { vsockCid }),
    ...(pinning === undefined ? {} : { pinning }),
    ...(devices.length === 0 ? {} : { passthrough: devices }),
  };
  return {
    ...(await machineFirmware(settings, { layer, kept: variables }, config)),
    ...(Object.keys(hardware).length === 0 ? {} : { hardware }),
  };
}

/** A user id is one machine's of the node, as a CID must be. */
export async function vsockOf(
  { settings: { vsock, vsockCid }, uid }: Pick<MachineInput, "settings" | "uid">,
  uids: Pick<UidPool, "covers">,
): Promise<number | undefined> {
  if (!vsock) return undefined;
  if (vsockCid !== undefined && uids.covers(vsockCid)) {
    const why = "is of those that machines without one get: take one outside of machines.uidBase";
    throw new TrineError("invalid", `trine.dev/vsock-cid: ${vsockCid} ${why} and uidCount`);
  }
  try {
    await access(VHOST_VSOCK);
  } catch (cause) {
    const advice = `this node has no ${VHOST_VSOCK}: load the module vhost_vsock`;
    throw new TrineError("wrongState", `trine.dev/vsock: on, but ${advice}`, { cause });
  }
  return vsockCid ?? uid;
}
