import * as v from "valibot";
import { listOf, text, whole } from "./text.ts";

export const machineRefSchema = v.object({
  /** Of the pod, as Kubernetes has them. */
  namespace: text,
  pod: text,
  uid: text,
});

/** Which machine: the one of a pod, and of that pod only. */
export type MachineRef = v.InferOutput<typeof machineRefSchema>;

const osSchema = v.object({
  id: v.optional(text),
  name: v.optional(text),
  prettyName: v.optional(text),
  version: v.optional(text),
  versionId: v.optional(text),
  kernelRelease: v.optional(text),
  kernelVersion: v.optional(text),
  machine: v.optional(text),
});

const interfaceSchema = v.object({
  /** The pod's interface that the guest's card continues. */
  name: text,
  mac: text,
  /** Without prefix. The guest's own where `fromGuest`, else what it was given. */
  addresses: listOf(text, 64),
  fromGuest: v.boolean(),
  /** What the guest calls it. */
  guestName: v.optional(text),
});

const agentSchema = v.object({
  /** It has answered lately. */
  connected: v.boolean(),
  /** qemu-guest-agent's, where that is what answers. */
  version: v.optional(text),
  os: v.optional(osSchema),
  hostname: v.optional(text),
  timezone: v.optional(v.object({ name: v.optional(text), offsetSeconds: v.number() })),
  /** The guest's file systems stand still. */
  frozen: v.boolean(),
});

/** What a node says of one machine. Everything a guest has a say in is checked and cleaned by the node, and again here. */
export const machineReportSchema = v.object({
  ...machineRefSchema.entries,
  /** containerd's. */
  sandboxId: text,
  phase: v.picklist(["starting", "running", "paused", "stopped", "failed"]),
  /** When it came to that phase, RFC 3339. */
  since: v.pipe(text, v.isoTimestamp()),
  /** Why it is stopped or failed, or paused by its VMM, in words. */
  reason: v.optional(text),
  accelerator: v.picklist(["kvm", "tcg"]),
  cpus: v.object({ sockets: whole, cores: whole, threads: whole }),
  memory: v.object({
    guestBytes: whole,
    /** Measured: what the machine's processes hold on the node beyond the guest's own memory; 0 until it was. */
    overheadBytes: whole,
  }),
  interfaces: listOf(interfaceSchema, 64),
  agent: agentSchema,
  /** Whether the guest's users have the keys and passwords that they are to have; absent where none are asked for. */
  credentials: v.optional(v.object({ synchronized: v.boolean(), message: v.optional(text) })),
  disks: listOf(v.object({ name: text, path: text, bytes: v.optional(whole) }), 256),
  /** The guest's kernel has given up. */
  panic: v.optional(text),
});

export type MachineReport = v.InferOutput<typeof machineReportSchema>;
export type MachinePhase = MachineReport["phase"];
