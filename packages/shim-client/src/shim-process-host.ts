import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError } from "@trine/base";
import { Channel_Kind } from "@trine/proto/shim";
import type { ChannelSchema, DescriptorSchema, SpawnRequestSchema } from "@trine/proto/shim";
import { MACHINE_DIR } from "@trine/vmm";
import type {
  ByteChannel,
  ChannelUse,
  PinnedThread,
  PlannedDescriptor,
  ProcessHost,
  ProcessPlan,
} from "@trine/vmm";
import { HeldChannel } from "./held-channel.ts";
import type { ShimLink } from "./shim-link.ts";

const CHANNEL_KIND: Record<ChannelUse, Channel_Kind> = {
  held: Channel_Kind.HELD,
  console: Channel_Kind.CONSOLE,
  monitor: Channel_Kind.MONITOR,
  guest: Channel_Kind.GUEST,
  freeGuest: Channel_Kind.GUEST,
};

const LOG_TAIL = 4096;

/** What the shim needs to know of a machine beside the VMM's own plan. */
export interface MachinePlace {
  readonly machineDir: string;
  /** The task whose end is the VMM's; empty = none. */
  readonly taskId: string;
  /** The task whose stdio is the console. Default: the same. */
  readonly consoleTaskId?: string;
  readonly uid: number;
  readonly gid: number;
  readonly logPath: string;
  readonly spoolPath: string;
  readonly spoolBytes: number;
  readonly attachPath: string;
  /** Unix socket that makes streams into the guest; needed by a machine with a guest link. */
  readonly guestPath?: string;
  /** Of the pod's localhost, where the guest may connect to over that link. */
  readonly guestPorts?: readonly number[];
  readonly oomScoreAdj: number;
  /** Called when a child has been executed (not when it was there already). */
  readonly onSpawned?: () => void;
}

/** A machine's process host that is the pod's shim. */
export class ShimProcessHost implements ProcessHost {
  readonly machineDir: string;
  readonly #shim: ShimLink;
  readonly #place: MachinePlace;
  readonly #channels = new Map<string, HeldChannel>();

  constructor(shim: ShimLink, place: MachinePlace) {
    this.#shim = shim;
    this.#place = place;
    this.machineDir = place.machineDir;
  }

  async spawn(plan: ProcessPlan): Promise<{ pid: number; already: boolean }> {
    const spawned = await this.#shim.spawn(toSpawnRequest(plan, this.#place));
    if (!spawned.already) this.#place.onSpawned?.();
    return spawned;
  }

  signal(key: string, signal: number): Promise<void> {
    return this.#shim.signal(key, signal);
  }

  pinThreads(key: string, threads: readonly PinnedThread[]): Promise<void> {
    return this.#shim.pinThreads(key, threads);
  }

  sealMemory(name: string): Promise<{ path: string; inode: string }> {
    return this.#shim.sealMemory(name);
  }

  /** The newest of what the VMM printed: why it ended, when it ended at once. */
  async logTail(): Promise<string> {
    try {
      await using handle = await open(this.#place.logPath, "r");
      const { size } = await handle.stat();
      const from = Math.max(0, size - LOG_TAIL);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(LOG_TAIL), 0, LOG_TAIL, from);
      return buffer.toString("utf8", 0, bytesRead);
    } catch {
      return ""; // it is asked for to explain another failure, and may not exist yet
    }
  }

  channel(name: string): ByteChannel {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = new HeldChannel(this.#shim, name);
      this.#channels.set(name, channel);
    }
    return channel;
  }
}

function toSpawnRequest(
  plan: ProcessPlan,
  place: MachinePlace,
): MessageInitShape<typeof SpawnRequestSchema> {
  const { isHelper = false } = plan;
  return {
    key: plan.key,
    argv: [...plan.argv],
    env: [...plan.env],
    descriptors: plan.descriptors.map((descriptor) => toDescriptor(descriptor, place)),
    uid: place.uid,
    gid: place.gid,
    groups: [...(plan.groups ?? [])],
    jail: {
      binds: [
        ...plan.jail.binds,
        { source: place.machineDir, target: MACHINE_DIR, writable: true },
      ].map((bind) => ({ writable: false, device: false, live: false, ...bind })),
      newNetwork: plan.jail.newNetwork,
    },
    logPath: isHelper ? join(dirname(place.logPath), `${plan.key}.log`) : place.logPath,
    taskId: isHelper ? "" : place.taskId,
    maxLockedBytes: BigInt(plan.lockedBytes ?? 0),
    exitRules: plan.exitRules.map((rule) => ({ ...rule })),
    oomScoreAdj: place.oomScoreAdj,
  };
}

function toDescriptor(
  descriptor: PlannedDescriptor,
  place: MachinePlace,
): MessageInitShape<typeof DescriptorSchema> {
  const { number } = descriptor;
  switch (descriptor.kind) {
    case "file":
      return {
        number,
        source: {
          case: "file",
          value: { path: descriptor.path, writable: descriptor.writable },
        },
      };
    case "memory": {
      const { name, bytes } = descriptor;
      return { number, source: { case: "memory", value: { name, bytes: BigInt(bytes) } } };
    }
    case "sealed-memory": {
      const { path, inode, bytes } = descriptor;
      const value = { path, inode: BigInt(inode), bytes: BigInt(bytes) };
      return { number, source: { case: "sealed", value } };
    }
    case "tap":
      return {
        number,
        source: { case: "tap", value: descriptor.tap },
        queue: descriptor.queue ?? 0,
      };
    case "listen":
      // The path is the VMM's; the shim makes the socket where the host sees that directory.
      return {
        number,
        source: {
          case: "listen",
          value: {
            path: descriptor.path.replace(MACHINE_DIR, place.machineDir),
            // Nobody but the machine's user and root comes into the directory.
            mode: descriptor.forMachine === true ? 0o666 : 0o600,
          },
        },
      };
    case "channel":
      return {
        number,
        source: {
          case: "channel",
          value: {
            name: descriptor.name,
            kind: CHANNEL_KIND[descriptor.use],
            taskId: place.taskId,
            ...ofUse(descriptor.use, place),
          },
        },
      };
  }
}

function ofUse(use: ChannelUse, place: MachinePlace): MessageInitShape<typeof ChannelSchema> {
  switch (use) {
    case "console":
      return {
        taskId: place.consoleTaskId ?? place.taskId,
        spoolPath: place.spoolPath,
        spoolBytes: BigInt(place.spoolBytes),
        attachPath: place.attachPath,
      };
    case "guest":
    case "freeGuest":
      if (place.guestPath === undefined) {
        throw new TrineError(
          "invalid",
          `${place.machineDir}: a guest link without a socket for it`,
        );
      }
      return {
        guestPath: place.guestPath,
        guestIsFree: use === "freeGuest",
        guestPorts: [...(place.guestPorts ?? [])],
      };
    case "held":
    case "monitor":
      return {};
  }
}
