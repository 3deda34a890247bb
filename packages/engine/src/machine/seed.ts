import { constants, open } from "node:fs/promises";
import { TrineError } from "@trine/base";
import {
  AGENT_FILE,
  FORGET_HOOK,
  agentHook,
  configDriveSeed,
  fileHook,
  hostsHook,
  nocloudSeed,
  shareHook,
  vendorDataOf,
} from "@trine/cloud-init";
import type { GuestFile, SeedFile } from "@trine/cloud-init";
import { guestNetwork, parseResolvConf } from "@trine/pod-network";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import { firstBoot } from "./first-boot.ts";
import type { MachineInput } from "./machine-input.ts";
import type { MachineShares } from "./machine-shares.ts";

const MAX_RESOLV_CONF_BYTES = 64 * 1024;

/** A seed's files, and the label by which the guest finds their disk. */
interface Seed {
  readonly volumeLabel: "cidata" | "config-2";
  readonly files: readonly SeedFile[];
}

/** What the guest is given beside what its pod says. */
export interface SeedExtras {
  readonly shares: MachineShares | undefined;
  readonly agent: Uint8Array | undefined;
  /** Of containers beside it, at its localhost. */
  readonly ports: readonly number[];
}

/** A later boot of the same instance keeps the network of its first, unless it is told not to: a pod's may change. */
const NETWORK_AT_BOOT = "#cloud-config\nupdates: {network: {when: [boot]}}\n";
/** What containerd and the image give every container; a machine has its own. */
const NOT_ENVIRONMENT = ["PATH", "HOSTNAME", "HOME", "TERM"];

/**
 * What the machine's seed disk holds; undefined when the pod opted out of cloud-init. `agent` is the program of our agent
 * where the guest is to have it.
 */
export async function machineSeed(
  input: MachineInput,
  { shares, agent, ports }: SeedExtras,
): Promise<Seed | undefined> {
  const { settings, interfaces, bundle, hostname, containersAt } = input;
  const { cloudInit, networkConfig, metaData } = settings;
  if (cloudInit === "off") return undefined;
  const isDrive = cloudInit === "configdrive";
  const volumeLabel = isDrive ? "config-2" : "cidata";
  const dns = await podDns(bundle.resolvConf);
  const { files: given, ...told } = await firstBoot(settings, bundle.spec);
  const looksAgain = isDrive ? FORGET_HOOK : NETWORK_AT_BOOT;
  const hasNetwork = interfaces.length > 0 && networkConfig !== "off";
  const files = fileHook([...environmentFile(bundle.spec), ...given]);
  const seed = (isDrive ? configDriveSeed : nocloudSeed)({
    instanceId: instanceOf(input),
    hostname,
    ...told,
    metaData,
    vendorData: vendorDataOf([
      keepsRoot(settings) ? looksAgain : undefined,
      containersAt === undefined ? undefined : hostsHook(containersAt),
      files,
      ...mountHooks(shares, agent === undefined ? undefined : volumeLabel, ports),
    ]),
    network: hasNetwork ? guestNetwork(interfaces, dns) : undefined,
    networkVersion: networkConfig === "v1" ? 1 : 2,
  });
  return {
    volumeLabel,
    files: agent === undefined ? seed : [...seed, { name: AGENT_FILE, bytes: agent }],
  };
}

/** What mounts the pod's volumes, and what starts the agent: which mounts them itself where it carries them. */
function mountHooks(
  shares: MachineShares | undefined,
  agentOn: Seed["volumeLabel"] | undefined,
  ports: readonly number[],
): (string | undefined)[] {
  const { spec, mounts = [], fileSystems = [] } = shares ?? {};
  const tree = spec?.shares;
  const device = tree?.way === "virtiofs" ? { tag: tree.tag, mounts } : undefined;
  const isMounted = device !== undefined || fileSystems.length > 0;
  return [
    isMounted ? shareHook(device, fileSystems) : undefined,
    agentOn === undefined
      ? undefined
      : agentHook(agentOn, { shares: isMounted ? [] : mounts, ports }),
  ];
}

/**
 * A new container is a fresh disk and so a new instance: its first-boot work runs again. A root that stays is the same
 * instance, whichever pod of its name has it.
 */
function instanceOf({
  identity,
  settings,
  task,
}: Pick<MachineInput, "identity" | "settings" | "task">): string {
  const name = `${identity.podNamespace || identity.namespace}.${identity.name}`;
  return keepsRoot(settings) ? (settings.uuid ?? name) : `${name}.${task.id.slice(0, 12)}`;
}

function keepsRoot({ disks }: MachineInput["settings"]): boolean {
  return disks.some(({ name, source, ephemeral }) => {
    const isVolume = source.kind === "device" || source.kind === "file";
    return name === "root" && isVolume && !ephemeral;
  });
}

/** The container's environment, as Virtlet's guests have it. A value of several lines has no place in such a file. */
function environmentFile(spec: JsonObject): GuestFile[] {
  const lines = list(record(spec["process"])["env"])
    .map(text)
    .filter((line) => {
      const [name = ""] = line.split("=", 1);
      return line.includes("=") && !/[\r\n\0]/.test(line) && !NOT_ENVIRONMENT.includes(name);
    });
  if (lines.length === 0) return [];
  const bytes = Buffer.from(`${lines.join("\n")}\n`, "utf8");
  return [{ path: "/etc/cloud/environment", bytes, mode: 0o600, when: "boot" }];
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
