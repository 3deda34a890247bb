import { createHash } from "node:crypto";
import type { Firmware, Interface, VirtualMachineInstanceSpec } from "@trine/kube-types";

/** A UUID (version 5 by form) that is the same for the same words. */
function uuidOf(words: string): string {
  const hash = createHash("sha256").update(words).digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString("hex", 0, 16);
  const parts = [
    [0, 8],
    [8, 12],
    [12, 16],
    [16, 20],
    [20, 32],
  ] as const;
  return parts.map(([from, to]) => hex.slice(from, to)).join("-");
}

/** A locally administered address that is the same for the same words. */
function macOf(words: string): string {
  const bytes = createHash("sha256").update(words).digest().subarray(0, 5);
  return ["02", ...Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/**
 * What a guest knows its machine by, where the template does not say it: the same at every start, another for every other
 * machine, a copy of the same name included. Without it an operating system asks for its licence again, and for a new address.
 */
export function withIdentity(
  spec: VirtualMachineInstanceSpec,
  machineUid: string,
): VirtualMachineInstanceSpec {
  const { domain } = spec;
  const { interfaces } = domain.devices;
  const onPod = new Set(
    spec.networks?.flatMap(({ name, pod }) => (pod === undefined ? [] : [name])),
  );
  const named = interfaces?.map((each) =>
    onPod.has(each.name) ? each : withAddress(each, machineUid),
  );
  return {
    ...spec,
    domain: {
      ...domain,
      firmware: withIds(domain.firmware ?? {}, machineUid),
      devices: { ...domain.devices, ...(named !== undefined && { interfaces: named }) },
    },
  };
}

function withIds(firmware: Firmware, machineUid: string): Firmware {
  const { uuid = "", serial = "" } = firmware;
  return {
    ...firmware,
    uuid: uuid === "" ? uuidOf(`firmware ${machineUid}`) : uuid,
    serial: serial === "" ? uuidOf(`serial ${machineUid}`) : serial,
  };
}

/** A function of real hardware keeps the address that its driver gave it; on the pod's network the plugin gives one. */
function withAddress(nic: Interface, machineUid: string): Interface {
  if (nic.sriov !== undefined || (nic.macAddress ?? "") !== "") return nic;
  return { ...nic, macAddress: macOf(`${machineUid} ${nic.name}`) };
}
