import { constants, open } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { nocloudSeed, shareHook } from "@trine/cloud-init";
import type { SeedFile } from "@trine/cloud-init";
import { guestNetwork, parseResolvConf } from "@trine/pod-network";
import type { MachineInput } from "./machine-input.ts";
import type { MachineShares } from "./machine-shares.ts";

const MAX_RESOLV_CONF_BYTES = 64 * 1024;

/** Files of the NoCloud seed; undefined when the pod opted out of cloud-init. */
export async function seedFiles(
  input: MachineInput,
  shares: MachineShares | undefined,
): Promise<readonly SeedFile[] | undefined> {
  const { settings, identity, interfaces, bundle } = input;
  if (settings.cloudInit === "off") return undefined;
  const dns = await podDns(bundle.resolvConf);
  return nocloudSeed({
    // A new container is a fresh disk and so a new instance: its first-boot work runs again.
    instanceId: `${identity.podNamespace || identity.namespace}.${identity.name}.${input.task.id.slice(0, 12)}`,
    hostname: hostnameOf(input),
    userData: settings.userData,
    vendorData: shares === undefined ? undefined : shareHook(shares.spec.tag, shares.mounts),
    metaData: settings.metaData,
    sshKeys: settings.sshKeys,
    network:
      interfaces.length === 0 || settings.networkConfig === "off"
        ? undefined
        : guestNetwork(interfaces, dns),
  });
}

export function hostnameOf(input: Pick<MachineInput, "settings" | "bundle" | "identity">): string {
  return input.settings.hostname ?? input.bundle.hostname ?? input.identity.name;
}

export async function podDns(
  resolvConf: string | undefined,
): Promise<{ nameservers: readonly string[]; search: readonly string[] }> {
  if (resolvConf === undefined) return { nameservers: [], search: [] };
  return parseResolvConf(await readSmallFile(resolvConf));
}

/** The file may be a volume of the pod: a pipe would hold one of Node's few file threads for ever. */
async function readSmallFile(path: string): Promise<string> {
  await using handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stats = await handle.stat();
  if (!stats.isFile() || stats.size > MAX_RESOLV_CONF_BYTES) {
    throw new TrineError(
      "invalid",
      `the pod's resolv.conf, ${path}, is not a file of at most ${MAX_RESOLV_CONF_BYTES} bytes`,
    );
  }
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(stats.size), 0, stats.size, 0);
  return buffer.toString("utf8", 0, bytesRead);
}
