import { readFile } from "node:fs/promises";
import { nocloudSeed } from "@trine/cloud-init";
import type { SeedFile } from "@trine/cloud-init";
import { guestNetwork, parseResolvConf } from "@trine/pod-network";
import type { MachineInput } from "./machine-input.ts";

/** Files of the NoCloud seed; undefined when the pod opted out of cloud-init. */
export async function seedFiles(input: MachineInput): Promise<readonly SeedFile[] | undefined> {
  const { settings, identity, network, bundle } = input;
  if (settings.cloudInit === "off") return undefined;
  const dns = await podDns(bundle.resolvConf);
  return nocloudSeed({
    // A new container is a fresh disk and so a new instance: its first-boot work runs again.
    instanceId: `${identity.podNamespace || identity.namespace}.${identity.name}.${input.task.id.slice(0, 12)}`,
    hostname: hostnameOf(input),
    userData: settings.userData,
    metaData: settings.metaData,
    sshKeys: settings.sshKeys,
    network:
      network === undefined || !settings.networkConfig
        ? undefined
        : guestNetwork(network, dns).cloudInit,
  });
}

export function hostnameOf(input: Pick<MachineInput, "settings" | "bundle" | "identity">): string {
  return input.settings.hostname ?? input.bundle.hostname ?? input.identity.name;
}

export async function podDns(
  resolvConf: string | undefined,
): Promise<{ nameservers: readonly string[]; search: readonly string[] }> {
  if (resolvConf === undefined) return { nameservers: [], search: [] };
  return parseResolvConf(await readFile(resolvConf, "utf8"));
}
