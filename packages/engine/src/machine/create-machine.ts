import { lstat, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import type { Undo } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import type { MachineSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";
import { guestMemory } from "../guest-memory.ts";
import { requireInterfaces } from "../guest-side.ts";
import { cpusOf, growthOf } from "./hardware.ts";
import { machineDisks } from "./machine-disks.ts";
import { machineHardware } from "./machine-hardware.ts";
import type { MachineInput } from "./machine-input.ts";
import { machineKernel } from "./machine-kernel.ts";
import { PASST_SOCKET } from "./machine-passt.ts";
import { machineShares } from "./machine-shares.ts";
import { makeMachineDirs } from "../pod-files.ts";
import type { UidPool } from "../uid-pool.ts";
import { uuidOf } from "../pod-identity.ts";
import { toldAtBoot } from "./told-at-boot.ts";

/** Engine's own directory in the container's writable layer: counted, limited and deleted with it. */
const LAYER_DIR = ".trine";
/** That the shim carries a guest's connections to ports of containers. */
const GUEST_PORTS = "guest-ports";

/**
 * Makes ready all that the VMM needs (mounted image, overlay, seed, directories) and says what the
 * machine is. Each step may be repeated; `undo` takes back what was done when a later one fails.
 */
export async function createMachine(
  deps: { shim: ShimLink; config: EngineConfig; uids: UidPool; undo: Undo },
  input: MachineInput,
): Promise<MachineSpec> {
  const { shim, config, uids, undo } = deps;
  const { task, bundle, settings, files } = input;
  const memoryBytes = await guestMemory(settings, bundle, {
    defaultBytes: config.machines.defaultMemoryBytes,
    cgroups: input.cgroups,
  });

  const rootfs = join(task.bundle, "rootfs");
  await shim.mount({
    target: rootfs,
    mounts: task.rootfs.map((m) => ({ ...m, options: [...m.options] })),
  });
  undo.defer("unmount the image", () => shim.unmount(rootfs));

  await makeMachineDirs(files, input.uid);
  const layer = await layerDir(rootfs);
  const disks = await machineDisks({ shim, config, undo, rootfs, layer }, input);
  const kernel = await machineKernel({ shim, rootfs, layer }, input);
  const shares = await machineShares({ shim, config, undo }, input);
  const agent = settings.agent ? await readAgent(config.machines.agent) : undefined;
  const ports = settings.agent ? containerPorts(input) : [];
  const told = await toldAtBoot(input, { shares, agent, ports });
  return {
    id: input.identity.sandboxId,
    uuid: settings.uuid ?? uuidOf(input.identity.namespace, input.identity.uid, task.id),
    cpus: cpusOf(settings),
    memoryBytes,
    ...growthOf(settings, memoryBytes),
    ...(await machineHardware({ shim, config, uids, layer }, input, memoryBytes)),
    ...(kernel === undefined ? {} : { kernel }),
    accelerator: config.accelerator,
    ...(settings.cpuModel === undefined ? {} : { cpuModel: settings.cpuModel }),
    disks: [...disks, ...told.disks],
    firmwareFiles: told.firmwareFiles,
    ...shares?.spec,
    nics: nicsOf(input),
    ...(settings.start === "paused" ? { startsPaused: true } : {}),
    display: settings.display,
    guestAgent: settings.guestAgent,
    ...(settings.agent ? { guestLink: true } : {}),
    ...(ports.length === 0 ? {} : { guestPorts: ports }),
    console: settings.console,
  };
}

function nicsOf({ interfaces, links, queues, settings }: MachineInput): MachineSpec["nics"] {
  const { networkModels } = settings;
  requireInterfaces("trine.dev/network-models", Object.keys(networkModels), interfaces);
  return interfaces.map(({ name, mac, mtu }, index) => {
    const tap = links[index];
    const link = tap === undefined ? { socket: PASST_SOCKET } : { tap };
    const model = networkModels[name] ?? "virtio";
    const isPlain = model === "virtio";
    const down = settings.interfaces[name]?.link === "down" ? { isUnplugged: true as const } : {};
    const several = tap === undefined || queues === 1 || !isPlain ? {} : { queues };
    return {
      name: `eth${index}`,
      ...link,
      ...several,
      ...(isPlain ? {} : { model }),
      mac,
      mtu,
      ...down,
    };
  });
}

/** What the pod says is a container's: of the ports' names the machine's is one. */
function containerPorts({ settings: { ports, machine }, shimFeatures }: MachineInput): number[] {
  // An older shim passes over them: at each the guest's connections would be reset, its own services' too.
  if (!shimFeatures.includes(GUEST_PORTS)) return [];
  const others = ports.filter((p) => p.protocol === "tcp" && p.container !== machine);
  return others.map(({ port }) => port);
}

async function readAgent(program: string): Promise<Buffer> {
  try {
    return await readFile(program);
  } catch (cause) {
    const what = `trine.dev/agent: on, but this node has no agent (${messageOf(cause)})`;
    throw new TrineError("wrongState", `${what}: machines.agent says where it is`, { cause });
  }
}

/** `.trine` in the writable layer. An image that brings that name must not lead us out of the layer. */
async function layerDir(rootfs: string): Promise<string> {
  const dir = join(rootfs, LAYER_DIR);
  await mkdir(dir, { mode: 0o700 }).catch((cause: unknown) => {
    if (errnoOf(cause) !== "EEXIST") throw cause;
  });
  if (!(await lstat(dir)).isDirectory()) {
    throw new TrineError("invalid", `the machine image holds a file /${LAYER_DIR}: remove it`);
  }
  return dir;
}
